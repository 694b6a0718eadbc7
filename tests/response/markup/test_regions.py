"""``adapters.response.markup.regions``: the text behind a mark, where it ends, and whether it can be a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.response.markup.markers import MARKS, Marker
from adapters.response.markup.regions import MarkedRegion
from tests.property.strategies import TOOLS, cuts, pieces_of

_TOOL_CALL = MARKS["<tool_call>"]
_LLAMA = MARKS["<function="]


@pytest.mark.parametrize(
    ("mark", "text", "body", "closer", "rest"),
    [
        pytest.param(MARKS["<think>"], "a</think>b", "a", "</think>", "b", id="reasoning"),
        pytest.param(MARKS["<think>"], "a</THINK>İ", "a", "</THINK>", "İ", id="upper-case-and-a-letter-that-grows"),
        pytest.param(_LLAMA, "f>{}<function>b</function>", "f>{}", "<function>", "b</function>", id="first-of-two"),
        pytest.param(MARKS["<|python_tag|>"], "x<|eom_id|>", "x", "<|eom_id|>", "", id="special-token"),
        pytest.param(_TOOL_CALL, "a</tool_cal", "a</tool_cal", "", None, id="half-a-closing-mark"),
        pytest.param(MARKS["[tool_calls]"], "a[tool_calls]b", "a[tool_calls]b", "", None, id="lasts-to-the-end"),
    ],
)
def test_closing_mark(mark: Marker, text: str, body: str, closer: str, rest: str | None) -> None:
    """The first closing mark ends it, wherever the pieces are cut."""
    for at in range(len(text) + 1):
        region = MarkedRegion("<x>", mark)

        first = region.feed(text[:at])
        last = region.feed(text[at:]) if first is None else first + text[at:]

        assert (region.body, region.closer, last) == (body, closer, rest)


@given(st.data(), st.sampled_from(sorted(MARKS)), st.lists(st.sampled_from(["</", "think", ">", "x", " "]), max_size=9))
def test_any_pieces(data: st.DataObject, opener: str, words: list[str]) -> None:
    """Nothing of the text is lost or made up, and the pieces do not matter."""
    text = "".join([*words, *MARKS[opener].closers[:1], *words])
    whole = MarkedRegion(opener, MARKS[opener])
    rest = whole.feed(text)
    region, left = MarkedRegion(opener, MARKS[opener]), None

    for piece in pieces_of(text, data.draw(cuts(len(text)))):
        left = region.feed(piece) if left is None else left + piece

    assert (region.body, region.closer, left) == (whole.body, whole.closer, rest)
    assert region.body + region.closer + (left or "") == text


@pytest.mark.parametrize(
    ("opener", "body"),
    [
        pytest.param("<tool_call>", '{"name": "play", "arguments": {"title": "a</tool_call>b"}}', id="json"),
        pytest.param("<function=", 'play>{"title": "</function></function>"}', id="twice"),
        pytest.param("<tool_call>", "{'title': '</tool_call>'}", id="python"),
        pytest.param("<|python_tag|>", 'play(title="<|eom_id|>")', id="expression"),
        pytest.param("<tool_call>", '{"title": "a\\"</tool_call>"}', id="escaped-quote"),
        pytest.param("<tool_call>", "<function=play><parameter=title>It's</parameter></function>", id="tags"),
        pytest.param("<tool_call>", "it's", id="words"),
        pytest.param("<tool_call>", '{"a": 1} it\'s', id="words-behind-the-object"),
    ],
)
def test_closing_mark_in_a_string(opener: str, body: str) -> None:
    """A closing mark in a string of the arguments closes nothing; an apostrophe in other text means nothing."""
    mark = MARKS[opener]
    text = f"{body}{mark.closers[0]} rest"

    for at in range(len(text) + 1):
        region = MarkedRegion(opener, mark)
        first = region.feed(text[:at])
        rest = region.feed(text[at:]) if first is None else first + text[at:]
        assert (region.body, region.closer, rest) == (body, mark.closers[0], " rest")


@pytest.mark.parametrize(
    ("opener", "text", "in_sentence", "at_line_start"),
    [
        pytest.param("<tool_call>", "", False, False, id="nothing-yet"),
        pytest.param("<tool_call>", '\n{"name"', False, False, id="object"),
        pytest.param("<tool_call>", "[{", False, False, id="list"),
        pytest.param("<tool_call>", "<function=f>", False, False, id="tag"),
        pytest.param("<tool_call>", "```json", False, False, id="fence"),
        pytest.param("<tool_call>", "get_weather\n", False, False, id="name-on-its-own-line"),
        pytest.param("<tool_call>", "get_weather", False, False, id="name-so-far"),
        pytest.param("<tool_call>", " is a tag", True, True, id="words"),
        pytest.param("<tool_call>", "get weather, Oslo", True, False, id="words-directly-behind"),
        pytest.param("<tool_call>", "\nget the weather", True, False, id="words-on-the-next-line"),
        pytest.param("<tool_call>", "` is a tag", True, False, id="backtick"),
        pytest.param("<tool_call>", "``", False, False, id="half-a-fence"),
        pytest.param("<tool_call>", ", which", True, True, id="comma"),
        pytest.param("<tool_call>", '" is a tag', True, False, id="quotation-mark"),
        pytest.param("<function=", "get_weather>{", False, False, id="llama"),
        pytest.param("<function=", "get_weather>\n", False, False, id="qwen-coder"),
        pytest.param("<function=", "get_weather>", False, False, id="llama-so-far"),
        pytest.param("<function=", "name> is how", True, True, id="syntax-explained"),
        pytest.param("<function=", "get_weather>Oslo, please", True, False, id="llama-with-words"),
        pytest.param("<function=", "get_weather></function>", False, False, id="llama-no-arguments"),
        pytest.param("<function(", "get_weather){", False, False, id="name-in-parentheses"),
        pytest.param("<invoke name=", '"get_weather">\n', False, False, id="claude"),
        pytest.param("[TOOL_CALLS]", "get_weather[ARGS]", False, False, id="mistral"),
        pytest.param("[TOOL_CALLS]", " is a token", True, True, id="mistral-in-words"),
        pytest.param("<|python_tag|>", "import this", False, False, id="special-token-and-code"),
        pytest.param("<|python_tag|>", " is a token", True, True, id="special-token-in-words"),
        pytest.param("<think>", " about it", False, False, id="reasoning"),
    ],
)
def test_mark_that_is_a_word(opener: str, text: str, *, in_sentence: bool, at_line_start: bool) -> None:
    """A mark is a word as soon as no call can follow it; at the start of a line a sentence must follow."""
    mark = MARKS[opener.lower()]
    regions = [MarkedRegion(opener, mark, in_sentence=True), MarkedRegion(opener, mark)]

    for region in regions:
        region.feed(text)

    assert [region.is_none for region in regions] == [in_sentence, at_line_start]


@pytest.mark.parametrize(
    ("opener", "text", "has"),
    [
        pytest.param("<tool_call>", " get_time\n", False, id="name-of-a-tool"),
        pytest.param("<tool_call>", " it", True, id="word"),
        pytest.param("<tool_call>", "", True, id="nothing"),
        pytest.param("<tool_call>", ".", True, id="full-stop"),
        pytest.param("<tool_call>", "`", True, id="backtick"),
        pytest.param("<tool_call>", '{"name"', False, id="object"),
        pytest.param("<function=", "get_time>", False, id="llama"),
    ],
)
def test_word_behind_a_mark(opener: str, text: str, *, has: bool) -> None:
    """A single word behind a mark is no call, unless it names a tool."""
    region = MarkedRegion(opener, MARKS[opener])

    region.feed(text)

    assert region.has_at_most_a_word(TOOLS) is has


@pytest.mark.parametrize(
    ("opener", "text", "is_none"),
    [
        pytest.param("", "\n<think>so", True, id="reasoning"),
        pytest.param("", "<tool_call>", False, id="call"),
        pytest.param("", "so", False, id="words"),
        pytest.param("<think>", "<think>", False, id="opener-is-known"),
    ],
)
def test_reasoning_that_has_an_opening_mark(opener: str, text: str, *, is_none: bool) -> None:
    """Reasoning without an opening mark is none if it begins with one."""
    region = MarkedRegion(opener, MARKS["<think>"])

    region.feed(text)

    assert region.is_none is is_none
