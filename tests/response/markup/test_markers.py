"""``adapters.response.markup.markers``: the marks as data, finding them, and what stands behind one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.response.markup.markers import (
    END_OF_REASONING,
    FIRST_CHARS,
    LONGEST_CHARS,
    MARKS,
    MarkedRegion,
    Marker,
    mark_at,
    may_become_mark,
)
from tests.property.strategies import cuts, pieces_of

_TOOL_CALL = MARKS["<tool_call>"]
_LLAMA = MARKS["<function="]


@pytest.mark.parametrize("opener", MARKS)
def test_mark_is_found(opener: str) -> None:
    """Every mark is found where it stands, in upper case too, and its beginnings may become it."""
    role = MARKS[opener].role

    assert mark_at(f"ab{opener}cd", 2) == (opener, MARKS[opener])
    assert mark_at(opener.upper(), 0) == (opener.upper(), MARKS[opener])
    assert all(may_become_mark(f"ab{opener[:length]}", 2) for length in range(1, len(opener)))
    assert all(mark_at(opener[:length], 0) is None for length in range(len(opener)))
    assert role in {"reasoning", "call", "noise", "stray_end"}


def test_no_mark_begins_another() -> None:
    """No mark begins another one, or it would depend on the pieces of the text which of the two is seen."""
    assert [(one, two) for one in MARKS for two in MARKS if one != two and two.startswith(one)] == []


def test_marks_are_written_as_they_are_compared() -> None:
    """Marks and closing marks stand in lower case, and begin and end as the rest of the library expects."""
    closers = [closer for mark in MARKS.values() for closer in mark.closers]

    assert [text for text in (*MARKS, *closers) if text != text.lower()] == []
    assert {opener[0] for opener in MARKS} == FIRST_CHARS
    assert max(map(len, MARKS)) == LONGEST_CHARS
    assert all(MARKS[opener].role == "stray_end" for opener in END_OF_REASONING)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a", id="letter"),
        pytest.param("<", id="lone"),
        pytest.param("<third way", id="prose"),
        pytest.param("< think>", id="blank-inside"),
        pytest.param("<th\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}nk>", id="letter-that-grows-in-lower-case"),
        pytest.param("", id="nothing"),
    ],
)
def test_text_that_is_no_mark(text: str) -> None:
    """What is no mark is none."""
    assert mark_at(text, 0) is None


@pytest.mark.parametrize(
    ("text", "may"),
    [
        pytest.param("<", True, id="first-character"),
        pytest.param("<TH", True, id="upper-case"),
        pytest.param("<thx", False, id="other-letter"),
        pytest.param("<think>", False, id="whole"),
        pytest.param("<th and more", False, id="text-goes-on"),
        pytest.param("<" + "t" * LONGEST_CHARS, False, id="longer-than-any"),
    ],
)
def test_beginning_of_a_mark(text: str, *, may: bool) -> None:
    """Only what is at the end and begins a mark may become one."""
    assert may_become_mark(text, 0) is may


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
def test_span(mark: Marker, text: str, body: str, closer: str, rest: str | None) -> None:
    """The first closing mark ends it, wherever the pieces are cut."""
    for at in range(len(text) + 1):
        span = MarkedRegion("<x>", mark)

        first = span.feed(text[:at])
        last = span.feed(text[at:]) if first is None else first + text[at:]

        assert (span.body, span.closer, last) == (body, closer, rest)


@given(st.data(), st.sampled_from(sorted(MARKS)), st.lists(st.sampled_from(["</", "think", ">", "x", " "]), max_size=9))
def test_span_of_any_pieces(data: st.DataObject, opener: str, words: list[str]) -> None:
    """Nothing of the text is lost or made up, and the pieces do not matter."""
    text = "".join([*words, *MARKS[opener].closers[:1], *words])
    whole = MarkedRegion(opener, MARKS[opener])
    rest = whole.feed(text)
    span, left = MarkedRegion(opener, MARKS[opener]), None

    for piece in pieces_of(text, data.draw(cuts(len(text)))):
        left = span.feed(piece) if left is None else left + piece

    assert (span.body, span.closer, left) == (whole.body, whole.closer, rest)
    assert span.body + span.closer + (left or "") == text


@pytest.mark.parametrize(
    ("opener", "text", "is_talk"),
    [
        pytest.param("<tool_call>", "", False, id="nothing-yet"),
        pytest.param("<tool_call>", '\n{"name"', False, id="object"),
        pytest.param("<tool_call>", "[{", False, id="list"),
        pytest.param("<tool_call>", "<function=f>", False, id="tag"),
        pytest.param("<tool_call>", "```json", False, id="fence"),
        pytest.param("<tool_call>", "get_weather\n", False, id="name-on-its-own-line"),
        pytest.param("<tool_call>", "get_weather", False, id="name-so-far"),
        pytest.param("<tool_call>", " is a tag", True, id="words"),
        pytest.param("<tool_call>", "` is a tag", True, id="quoted-mark"),
        pytest.param("<tool_call>", "``", False, id="half-a-fence"),
        pytest.param("<tool_call>", ", which", True, id="comma"),
        pytest.param("<tool_call>", '" is a tag', True, id="mark-in-quotation-marks"),
        pytest.param("<function=", "get_weather>{", False, id="llama"),
        pytest.param("<function=", "get_weather>\n", False, id="qwen-coder"),
        pytest.param("<function=", "get_weather>", False, id="llama-so-far"),
        pytest.param("<function=", "name> is how", True, id="syntax-explained"),
        pytest.param("<function=", "get_weather></function>", False, id="llama-no-arguments"),
        pytest.param("<invoke name=", '"get_weather">\n', False, id="claude"),
        pytest.param("[TOOL_CALLS]", "get_weather[ARGS]", False, id="mistral"),
        pytest.param("[TOOL_CALLS]", " is a token", True, id="mistral-in-words"),
        pytest.param("<|python_tag|>", "import this", False, id="special-token-is-never-talk"),
        pytest.param("<think>", "about it", False, id="reasoning-is-never-talk"),
    ],
)
def test_talk_about_a_mark(opener: str, text: str, *, is_talk: bool) -> None:
    """In a sentence, a mark that a person might write is talk as soon as no call can follow; elsewhere it is not."""
    in_sentence = MarkedRegion(opener, MARKS[opener.lower()], in_sentence=True)
    alone = MarkedRegion(opener, MARKS[opener.lower()])

    in_sentence.feed(text)
    alone.feed(text)

    assert in_sentence.is_talk is is_talk
    assert alone.is_talk is False


@pytest.mark.parametrize(
    ("opener", "text", "word"),
    [
        pytest.param("<tool_call>", " get_time\n", "get_time", id="name"),
        pytest.param("<tool_call>", "", "", id="nothing"),
        pytest.param("<tool_call>", ".", ".", id="full-stop"),
        pytest.param("<tool_call>", "`", "", id="backtick"),
        pytest.param("<tool_call>", '{"name"', None, id="object"),
        pytest.param("<function=", "get_time>", "get_time", id="llama"),
        pytest.param("<|python_tag|>", "get_time", None, id="special-token"),
    ],
)
def test_word_behind_a_mark(opener: str, text: str, word: str | None) -> None:
    """A single word behind a mark in a sentence is told, because it may be a tool's name."""
    span = MarkedRegion(opener, MARKS[opener.lower()], in_sentence=True)

    span.feed(text)

    assert span.only_word == word


@pytest.mark.parametrize(
    ("opener", "text", "has"),
    [
        pytest.param("", "\n<think>so", True, id="reasoning"),
        pytest.param("", "<tool_call>", False, id="call"),
        pytest.param("", "so", False, id="words"),
        pytest.param("<think>", "<think>", False, id="opener-is-known"),
    ],
)
def test_opener_that_was_thought_to_be_missing(opener: str, text: str, *, has: bool) -> None:
    """Where the opening mark is thought to be missing, a text that begins with one has it."""
    span = MarkedRegion(opener, MARKS["<think>"])

    span.feed(text)

    assert span.has_opener_of_its_own is has
