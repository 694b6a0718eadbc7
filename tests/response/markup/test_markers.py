"""``adapters.response.markup.markers``: the marks as data, and finding them."""

from __future__ import annotations

import pytest

from adapters.response.markup.markers import (
    END_OF_REASONING,
    FIRST_CHARS,
    LONGEST_CHARS,
    MARKS,
    is_part_of_call_mark,
    is_special_token,
    mark_at,
    may_become_mark,
)


@pytest.mark.parametrize("opener", MARKS)
def test_mark_is_found(opener: str) -> None:
    """Every mark is found at its place, in upper case too, and its beginnings may become it."""
    assert mark_at(f"ab{opener}cd", 2) == (opener, MARKS[opener])
    assert mark_at(opener.upper(), 0) == (opener.upper(), MARKS[opener])
    assert all(may_become_mark(f"ab{opener[:length]}", 2) for length in range(1, len(opener)))
    assert all(mark_at(opener[:length], 0) is None for length in range(len(opener)))


def test_no_mark_begins_another() -> None:
    """No mark begins another one, or it would depend on the pieces of the text which of the two is seen."""
    assert [(one, two) for one in MARKS for two in MARKS if one != two and two.startswith(one)] == []


def test_marks_are_written_as_they_are_compared() -> None:
    """Marks and closing marks are in lower case, and the constants derived from them fit."""
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
    """Text that is not exactly a mark is none."""
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
    """Only the end of a text can become a mark."""
    assert may_become_mark(text, 0) is may


@pytest.mark.parametrize(
    ("opener", "is_special"),
    [
        pytest.param("<|im_end|>", True, id="chatml"),
        pytest.param("<\N{FULLWIDTH VERTICAL LINE}user\N{FULLWIDTH VERTICAL LINE}>", True, id="deepseek"),
        pytest.param("<channel|>", True, id="gemma"),
        pytest.param("[|user|]", True, id="exaone"),
        pytest.param("<tool_call>", False, id="tag"),
        pytest.param("</s>", False, id="closing-tag"),
        pytest.param("[TOOL_CALLS]", False, id="word-in-brackets"),
    ],
)
def test_special_token(opener: str, *, is_special: bool) -> None:
    """Special tokens differ from the tags and words that a person may write."""
    assert is_special_token(opener) is is_special


@pytest.mark.parametrize(
    ("text", "is_part"),
    [
        *(
            (text, True)
            for text in ("<", "\n<tool_call", "tool_call", " TOOL_CALL>\n", "</", "", "\n", "[TOOL_", "call|>")
        ),
        *((text, False) for text in ("Hi", "<think", "tool_call is", "tool_call>\n{", ">\n<", "the tool_call")),
    ],
)
def test_part_of_the_mark_of_a_call(text: str, *, is_part: bool) -> None:
    """A part of one mark of a call is found, with white space around it; text that is more than that is none."""
    assert is_part_of_call_mark(text) is is_part
