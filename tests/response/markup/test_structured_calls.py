"""Text around tool calls that the server sends as such."""

from __future__ import annotations

import pytest

from adapters.response.markup.filter import MarkupFilter
from tests.property.strategies import TOOLS
from tests.response.markup.filtering import CALL, cut_anywhere


@pytest.mark.parametrize(
    ("before", "behind", "emitted"),
    [
        pytest.param("\n<tool_call", "", "", id="half-a-mark"),
        pytest.param("Hi <", "", "Hi ", id="first-character"),
        pytest.param("Hi\n<tool_call>", "\n</tool_call>", "Hi\n", id="whole-marks"),
        pytest.param('Hi\n<tool_call>{"name": "get_we', "", "Hi\n", id="half-a-call"),
        pytest.param('Hi\n{"name": "get_we', "", "Hi\n", id="half-a-call-without-marks"),
        pytest.param("", "tool_call", "", id="middle-of-a-mark"),
        pytest.param("", ">\n", "", id="end-of-a-mark"),
        pytest.param("", "call", "call", id="word"),
        pytest.param("", "tool_call is done", "tool_call is done", id="words"),
        pytest.param("Hi", " there", "Hi there", id="text"),
        pytest.param("Hi {", "there", "Hi {there", id="bracket"),
        pytest.param("Hi <", "\nthere < 3", "Hi \nthere < 3", id="text-behind-half-a-mark"),
        pytest.param("Hi<|im_end|>\n<|im_start|>user\n", "So?", "Hi", id="behind-the-end"),
    ],
)
def test_text_around_a_structured_call(before: str, behind: str, emitted: str) -> None:
    """The rest of a mark around a structured call is dropped, and text is kept."""
    for first in cut_anywhere(before):
        for last in cut_anywhere(behind):
            markup_filter = MarkupFilter(TOOLS)
            text = "".join(map(markup_filter.feed, first))
            markup_filter.call_arrived()
            text += "".join(map(markup_filter.feed, last)) + markup_filter.finish()
            assert (text, markup_filter.has_unread_call(cut=False)) == (emitted, False)


def test_text_between_two_structured_calls() -> None:
    """What may be the rest of a mark is dropped if another call follows, and kept if text follows."""
    markup_filter = MarkupFilter(TOOLS)
    emitted = []
    for piece in ("Hi", None, "call", None, "tool", "_call", None, "a", "b", None, "tool_call", " it"):
        if piece is None:
            markup_filter.call_arrived()
        else:
            emitted.append(markup_filter.feed(piece))

    assert emitted == ["Hi", "", "", "", "", "ab", "", "tool_call it"]


def test_reasoning_around_a_structured_call() -> None:
    """Open reasoning goes on behind a structured call."""
    open_reasoning, unmarked = MarkupFilter(TOOLS), MarkupFilter(TOOLS, reasoning_first=True)

    for markup_filter, text in ((open_reasoning, "<think>so"), (unmarked, "so")):
        assert markup_filter.feed(text) == ""
        markup_filter.call_arrived()
        assert markup_filter.feed(" it is</think>Hi") == "Hi"
        assert "".join(markup_filter.reasoning) == "so it is"


def test_leaked_call_before_a_structured_call() -> None:
    """A whole call that leaked is kept, although a structured one follows."""
    markup_filter = MarkupFilter(TOOLS)

    assert markup_filter.feed(f"<tool_call>{CALL}") == ""
    markup_filter.call_arrived()
    assert markup_filter.finish() == ""
    assert len(markup_filter.calls(cut=False)) == 1
