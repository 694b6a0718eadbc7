"""``adapters.response.markup.line_context``: what precedes a character on its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.response.markup.line_context import LineContext
from tests.property.strategies import cuts, pieces_of


def _read(pieces: list[str]) -> tuple[str, bool, str]:
    context = LineContext()
    for piece in pieces:
        context.read([piece] if piece else [])
    return context.last, context.has_text, context.code


@pytest.mark.parametrize(
    ("text", "last", "has_text"),
    [
        pytest.param("", "", False, id="nothing"),
        pytest.param("a", "a", True, id="letter"),
        pytest.param("ab c", " c", True, id="words"),
        pytest.param("ab\n  ", "  ", False, id="indented-line"),
        pytest.param("ab\n- ", "- ", True, id="item"),
    ],
)
def test_line(text: str, last: str, *, has_text: bool) -> None:
    """The last characters are known, and whether the line has more than white space."""
    assert _read([text])[:2] == (last, has_text)
    assert _read(list(text))[:2] == (last, has_text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("`", "`", id="code-span"),
        pytest.param("`a` b", "", id="closed-code-span"),
        pytest.param("`a` `b", "`", id="second-code-span"),
        pytest.param("``a ` b", "``", id="longer-run"),
        pytest.param("``a ` b`` c", "", id="closed-longer-run"),
        pytest.param("`a\n", "", id="code-span-ends-with-its-line"),
        pytest.param("```\na", "```", id="fence"),
        pytest.param("```python\na `b", "```", id="backtick-in-a-fence"),
        pytest.param("```\na\n```", "", id="closed-fence"),
        pytest.param("```\na\n  ``` \nb", "", id="indented-end-of-a-fence"),
        pytest.param("```\na ``` b", "```", id="run-in-a-line-of-a-fence"),
        pytest.param("```\n```python\n", "```", id="fence-in-a-fence"),
        pytest.param("````\n```\n", "````", id="shorter-run-in-a-fence"),
        pytest.param("```\n````\n", "", id="longer-end-of-a-fence"),
        pytest.param("a ```b", "```", id="run-of-three-in-a-line"),
        pytest.param("a ```b``` c", "", id="closed-run-of-three"),
        pytest.param("~~~\na", "~~~", id="tildes"),
        pytest.param("~~~\n```\n", "~~~", id="backticks-in-tildes"),
        pytest.param("~~~\na\n~~~", "", id="closed-tildes"),
        pytest.param("a ~~~b", "", id="tildes-in-a-line"),
        pytest.param("a ~~b", "", id="two-tildes"),
        pytest.param("```\na\n```\n`b", "`", id="code-span-behind-a-fence"),
    ],
)
def test_code(text: str, code: str) -> None:
    """The run of backticks that opened the code is known until the code ends."""
    assert _read([text])[2] == code


@given(st.data(), st.lists(st.sampled_from(["`", "``", "```", "~~~", "\n", " ", "a", "- "]), max_size=9))
def test_pieces(data: st.DataObject, words: list[str]) -> None:
    """The context does not depend on the pieces, if no run is cut."""
    text = "x".join(words)
    pieces = pieces_of(text, [place for place in data.draw(cuts(len(text))) if text[place - 1 : place] == "x"])

    assert _read(pieces) == _read([text])


def test_line_that_talks_of_marks() -> None:
    """A note about a line ends with it."""
    context = LineContext()
    context.talks_of_marks = True

    context.read(["a"])
    is_noted = context.talks_of_marks
    context.read(["b\nc"])

    assert (is_noted, context.talks_of_marks) == (True, False)
