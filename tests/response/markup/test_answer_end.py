"""The end of an answer: what was held back is text, a call, or noted as a call that cannot be read."""

from __future__ import annotations

import pytest

from adapters.response.markup.filter import MarkupFilter
from tests.property.strategies import TOOLS
from tests.response.markup.filtering import CALL, cut_anywhere


@pytest.mark.parametrize(
    ("text", "emitted"),
    [
        pytest.param("Hi <", "Hi ", id="first-character"),
        pytest.param("Hi<|im_e", "Hi", id="half-a-special-token"),
        pytest.param("Hi\n<thi", "Hi\n", id="half-a-tag"),
        pytest.param("Hi<|im_end|>\n<|im_start|>assis", "Hi", id="half-a-header"),
        pytest.param("Hi<|start_header_id|>assistant<|end_h", "Hi", id="half-the-end-of-a-header"),
        pytest.param("Hi {", "Hi {", id="bracket"),
        pytest.param("Hi there", "Hi there", id="words"),
    ],
)
def test_cut_answer(text: str, emitted: str) -> None:
    """Half a mark is dropped if the answer was cut."""
    for pieces in cut_anywhere(text):
        markup_filter = MarkupFilter(TOOLS)
        assert "".join(map(markup_filter.feed, pieces)) + markup_filter.finish(cut=True) == emitted
        assert not markup_filter.has_unread_call(cut=True)


@pytest.mark.parametrize(
    ("text", "emitted", "calls", "is_unread_when_cut"),
    [
        pytest.param(f"<tool_call>{CALL}</tool_call>", "", 1, False, id="call"),
        pytest.param(f"Hi\n<tool_call>{CALL}", "Hi\n", 1, True, id="call-without-its-end"),
        pytest.param(f"[TOOL_CALLS][{CALL}]", "", 1, False, id="call-that-needs-no-end"),
        pytest.param("Hi\n<tool_call></tool_call>", "Hi\n", 0, False, id="nothing-between-the-marks"),
    ],
)
def test_calls_that_can_be_read(text: str, emitted: str, calls: int, *, is_unread_when_cut: bool) -> None:
    """Calls are returned; those whose end has not come do not count if the answer was cut."""
    markup_filter = MarkupFilter(TOOLS)

    assert markup_filter.feed(text) + markup_filter.finish() == emitted
    assert len(markup_filter.calls(cut=False)) == calls
    assert len(markup_filter.calls(cut=True)) == calls - is_unread_when_cut
    assert not markup_filter.has_unread_call(cut=False)
    assert markup_filter.has_unread_call(cut=True) is is_unread_when_cut


@pytest.mark.parametrize(
    ("text", "emitted"),
    [
        pytest.param('Hi\n<tool_call>{"name": "open_door", "arguments": {}}</tool_call>', "Hi\n", id="other-tool"),
        pytest.param('Hi <tool_call>{"name": "open_door", "arguments": {}}</tool_call>', "Hi ", id="in-a-sentence"),
        pytest.param("Hi\n<tool_call>get weather, Oslo</tool_call>", "Hi\n", id="prose"),
        pytest.param('Hi\n<tool_call>{"name": "get_weather", "argu', "Hi\n", id="cut"),
        pytest.param('Hi\n{"name": "get_weather", "argu', "Hi\n", id="cut-without-marks"),
        pytest.param('<tool_call>{"name": "get_time", "zone": "UTC"}</tool_call>', "", id="keys-beside-the-name"),
        pytest.param("Hi <tool_call>get_time", "Hi ", id="name-of-a-tool"),
    ],
)
def test_passage_without_a_call(text: str, emitted: str) -> None:
    """Markup in which no call can be read is noted, whatever else the answer holds."""
    for pieces in cut_anywhere(text):
        markup_filter = MarkupFilter(TOOLS)
        assert "".join(map(markup_filter.feed, pieces)) + markup_filter.finish() == emitted
        assert markup_filter.has_unread_call(cut=False)


@pytest.mark.parametrize(
    ("text", "emitted"),
    [
        pytest.param(f"[TOOL_CALLS][{CALL}]\nOne moment.", "One moment.", id="mistral"),
        pytest.param('[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"} One moment.', "One moment.", id="mistral-name"),
        pytest.param(f"Hi.\n<tool_call>{CALL}\nOne {{moment}}.", "Hi.\n\nOne {moment}.", id="hermes"),
        pytest.param(f"<tool_call>{CALL}\nOne {{moment.", "One {moment.", id="open-bracket"),
        pytest.param(f"<tool_call>{CALL}}}\n", "", id="litter"),
        pytest.param(f"<|python_tag|>{CALL}; {CALL}\nSo.", "So.", id="two-calls"),
        pytest.param("<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n", "", id="tags"),
        pytest.param(f"[TOOL_CALLS][{CALL}]\n<think>a</think>So.", "So.", id="reasoning"),
    ],
)
def test_text_behind_an_unclosed_call(text: str, emitted: str) -> None:
    """Text behind a call without its closing mark is not taken for a part of the call."""
    for pieces in cut_anywhere(text):
        markup_filter = MarkupFilter(TOOLS)
        assert "".join(map(markup_filter.feed, pieces)) + markup_filter.finish() == emitted
        assert markup_filter.calls(cut=False) or "parameter" in text
