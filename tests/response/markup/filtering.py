"""Filtering a text in pieces, for the tests of the markup filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.response.markup.filter import MarkupFilter
from tests.property.strategies import TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterable

CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'


def filtered(
    pieces: Iterable[str], tools: dict[str, dict[str, Any]] = TOOLS, *, reasoning_first: bool = False
) -> tuple[str, str, list[tuple[str, bool]]]:
    """Filter a text that comes in pieces; return the text, the reasoning, and each passage with whether it is whole."""
    markup_filter = MarkupFilter(tools, reasoning_first=reasoning_first)
    text = "".join([markup_filter.feed(piece) for piece in pieces]) + markup_filter.finish()
    passages = [(passage.text, passage.is_whole) for passage in markup_filter.passages]
    return text, "".join(markup_filter.reasoning), passages


def cut_anywhere(text: str) -> list[list[str]]:
    """Cut a text in two at every place, into single characters, and not at all."""
    return [[text], list(text), *([text[:at], text[at:]] for at in range(1, len(text)))]
