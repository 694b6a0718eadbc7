"""``adapters._call_ids``: ids that every server accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._call_ids import derive_call_id, is_short_id, make_call_id


def test_made_ids() -> None:
    """A thousand made ids have the form that Mistral demands, and no two are equal."""
    made = [make_call_id() for _ in range(1000)]

    assert all(len(call_id) == 9 and call_id.isascii() and call_id.isalnum() for call_id in made)
    assert len(set(made)) == 1000


@given(st.text(st.characters()))
def test_derived_id(source: str) -> None:
    """The same text gives the same short id."""
    derived = derive_call_id(source, taken=())

    assert is_short_id(derived)
    assert derive_call_id(source, taken=()) == derived


def test_derived_id_in_another_process() -> None:
    """A derived id does not depend on the process, so that recordings and prefix caches of another run still match."""
    assert derive_call_id("call_1", taken=()) == "HHxOXUZex"


def test_derived_id_that_is_taken() -> None:
    """The same text gives another id if the first one is taken."""
    taken: set[str] = set()
    for _ in range(50):
        taken.add(derive_call_id("call_1", taken))

    assert len(taken) == 50


@pytest.mark.parametrize(
    ("call_id", "expected"),
    [
        pytest.param("abcDEF123", True, id="nine letters and digits"),
        pytest.param("abcDEF12", False, id="eight"),
        pytest.param("abcDEF1234", False, id="ten"),
        pytest.param("abc_EF123", False, id="underscore"),
        pytest.param("abcDEF12é", False, id="not ASCII"),
        pytest.param("abcDEF123\n", False, id="newline at the end"),
    ],
)
def test_short_id(call_id: str, expected: bool) -> None:
    """Only nine ASCII letters or digits are a short id."""
    assert is_short_id(call_id) is expected
