"""``adapters.response.snapshots``: repeated text of a server and of a model are distinguished."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.response.snapshots import SnapshotReader
from tests.property.strategies import cuts, pieces_of

_LONG = "The light in the kitchen is on, and the one in the hall is not. "


def _read(pieces: list[str]) -> list[str]:
    """Read pieces; return what was new in each, and at the end."""
    kept: list[str] = []
    reader = SnapshotReader(kept)
    new = [*map(reader.feed, pieces), reader.finish()]
    assert "".join(kept) == "".join(new)
    return new


@pytest.mark.parametrize(
    ("pieces", "new"),
    [
        pytest.param([], [""], id="nothing"),
        pytest.param(["Hi ", "there"], ["Hi ", "there", ""], id="increments"),
        pytest.param(["Hi", "Hi you", "Hi you."], ["Hi", "", " you.", ""], id="cumulative"),
        pytest.param(["I am", "I am here"], ["I am", " here", ""], id="words-without-white-space-behind"),
        pytest.param(["I am ", "I am here"], ["I am ", "", "I am here"], id="words-with-white-space-behind"),
        pytest.param([_LONG, _LONG], [_LONG, "", ""], id="long-and-the-same"),
        pytest.param([_LONG, f"{_LONG}So."], [_LONG, "So.", ""], id="long-and-more"),
        pytest.param(["Hi", "Hi you", "Hi you", "Hi you."], ["Hi", "", " you", ".", ""], id="nothing-new-between"),
        pytest.param(["Hi", "Hi you", "!"], ["Hi", "", "Hi you!", ""], id="held-back-and-released"),
        pytest.param(["ha", "ha", "ha"], ["ha", "ha", "ha", ""], id="the-same-again"),
        pytest.param(["Hi", "Hi you", "Hi you.", " Bye"], ["Hi", "", " you.", " Bye", ""], id="increments-at-the-end"),
    ],
)
def test_new_text(pieces: list[str], new: list[str]) -> None:
    """A piece that begins with all text so far is new only in its rest, once that is certain."""
    assert _read(pieces) == new


@given(st.data(), st.text("abc .", min_size=3, max_size=200))
def test_cumulative_pieces(data: st.DataObject, text: str) -> None:
    """Three or more pieces that grow are one text, wherever they end."""
    pieces = list(accumulate(piece for piece in pieces_of(text, data.draw(cuts(len(text)))) if piece))
    assume(len(pieces) > 2)
    assert all(len(first) < len(second) for first, second in pairwise(pieces))

    assert "".join(_read(pieces)) == text


@given(st.data(), st.text("abc .", max_size=200))
def test_increments(data: st.DataObject, text: str) -> None:
    """Pieces that do not begin like the text are all new, wherever they end."""
    text = f"Q{text}"

    assert "".join(_read(pieces_of(text, data.draw(cuts(len(text)))))) == text
