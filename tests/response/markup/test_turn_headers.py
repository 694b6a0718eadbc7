"""``adapters.response.markup.turn_headers``: whose turn a header begins, in each chat template."""

from __future__ import annotations

import pytest

from adapters.response.markup.markers import MARKS, mark_at
from adapters.response.markup.turn_headers import TurnHeader, read_header

_HEADERS = {
    "<|im_start|>{}\n": 1,
    "<|im_start|>{}<|im_sep|>": 0,
    "<start_of_turn>{}\n": 1,
    "<start_of_turn> {} \r\n": 3,
    "<|turn>{}\n": 1,
    "<|start_header_id|>{}<|end_header_id|>": 0,
    "<|header_start|>{}<|header_end|>": 0,
    "<|start_of_role|>{}<|end_of_role|>": 0,
    "<|im_user|>{}<|im_middle|>": 0,
    "<|start|>{}<|message|>": 11,
    "<|start|>{} to=user": 8,
}
"""Each form of a header, and how many characters of it are not a part of it."""


def _read(text: str, *, is_over: bool = False) -> TurnHeader:
    marked = mark_at(text, 0)
    assert marked is not None
    opener, mark = marked
    return read_header(text, len(opener), mark, is_over=is_over)


@pytest.mark.parametrize("form", _HEADERS)
@pytest.mark.parametrize(
    ("role", "is_model"),
    [("assistant", True), ("Model", True), ("user", False), ("system", False), ("tool", False), ("ipython", False)],
)
def test_header(form: str, role: str, *, is_model: bool) -> None:
    """A header names the role of the turn; wherever it is cut, more is waited for."""
    text = form.format(role)
    end = len(text) - _HEADERS[form]

    assert _read(f"{text}Hi") == TurnHeader("model" if is_model else "other", end)
    opener, _ = mark_at(text, 0) or ("", None)
    assert {_read(text[:length]).kind for length in range(len(opener), end)} == {"wait"}


@pytest.mark.parametrize("opener", [opener for opener, mark in MARKS.items() if mark.turn_of])
def test_header_with_its_role(opener: str) -> None:
    """A mark that names the role itself is the whole header."""
    is_model = MARKS[opener].turn_of == "assistant"

    assert _read(opener) == TurnHeader("model" if is_model else "other", len(opener))


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>Hello\n",
        "<|im_start|>assistant Hello",
        "<|im_start|>\n",
        "<start_of_turn>somebody\n",
        "<|start_header_id|><|end_header_id|>",
        "<|start_header_id|>user said",
        "<|start|><|message|>",
        "<|im_start|>" + "x" * 100,
    ],
)
def test_mark_without_a_role(text: str) -> None:
    """A mark that no role follows is no header."""
    assert _read(text).kind == "none"


@pytest.mark.parametrize(
    ("text", "kind", "end"),
    [
        pytest.param("<|im_start|>", "none", 12, id="mark-alone"),
        pytest.param("<|im_start|>user", "other", 16, id="role"),
        pytest.param("<|im_start|>assi", "other", 16, id="half-a-role"),
        pytest.param("<|im_start|>Hello", "none", 12, id="word"),
        pytest.param("<|start_header_id|>assistant<|end_h", "model", 35, id="half-a-mark"),
    ],
)
def test_end_of_the_answer(text: str, kind: str, end: int) -> None:
    """A header that the answer ends in counts as far as it has come."""
    header = _read(text, is_over=True)

    assert (header.kind, header.end) == (kind, end)
