"""``adapters._unicode``: texts that can be encoded, whatever a server or an agent cut in two."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._unicode import encodable, encodable_json

_HALF, _REPLACED = "cut \ud83d", "cut \ufffd"

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain", "plain", id="ascii"),
        pytest.param("grün 😀", "grün 😀", id="characters"),
        pytest.param(_HALF, _REPLACED, id="half"),
        pytest.param("\ud83d\ude00", "😀", id="two-halves"),
        pytest.param("\ude00\ud83d", "\ufffd\ufffd", id="in-the-wrong-order"),
    ],
)
def test_encodable(text: str, expected: str) -> None:
    """Halves that follow each other are joined, others replaced; any other text is the same object."""
    assert encodable(text) == expected
    assert (encodable(text) is text) == (text == expected)


@given(_values)
def test_encodable_json(value: Any) -> None:
    """A JSON value can be encoded afterwards, and is the same object if it could be before."""
    repaired = encodable_json(value)

    written = json.dumps(repaired, ensure_ascii=False)
    assert written.encode()
    assert (repaired is value) == (written == json.dumps(value, ensure_ascii=False))


def test_values_in_any_place() -> None:
    """Keys, items and fields are repaired."""
    assert encodable_json({_HALF: [1, {"a": _HALF}], "b": None}) == {_REPLACED: [1, {"a": _REPLACED}], "b": None}


def test_value_that_contains_itself() -> None:
    """A value that no JSON can be made of comes back as it is."""
    knot: dict[str, Any] = {}
    knot["self"] = knot

    assert encodable_json(knot) is knot
