"""Answers hidden where none belongs: calls in text, text in calls, and both in an error of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.leaked_calls import read_leaked_calls
from adapters.text_filter import TextFilter
from adapters.tool_calls import CallAssembler
from adapters.wire.chunks import CallFragment

if TYPE_CHECKING:
    from adapters.leaked_calls import LeakedCall
    from adapters.tool_calls import FinishedCall, Tools

_PSEUDO_TOOLS = ("answer", "no_tool", "notool", "reply")  # LocalAI, TGI: a "tool" that means plain text


def finished_calls(leaked: list[LeakedCall], tools: Tools) -> list[FinishedCall]:
    """Make calls of what was found in text."""
    assembler = CallAssembler(tools)
    assembler.feed([CallFragment(None, None, call.name, call.arguments, {}) for call in leaked], whole=True)
    return assembler.finish(cut=False)


def read_generation(written: str, tools: Tools) -> tuple[list[FinishedCall], str]:
    """Read what a model wrote and its server could not (Groq's ``failed_generation``).

    Args:
        written: The model's text.
        tools: The offered tools.

    Returns:
        The calls in it, and the text if it is nothing but text.
    """
    calls = finished_calls(read_leaked_calls(written, tools), tools)
    text_filter = TextFilter(tools)
    text = text_filter.feed(written) + text_filter.finish()
    is_talk = not calls and not text_filter.leaks and not text.startswith(("{", "[", "<"))
    return calls, text if is_talk else ""


def without_pseudo_tools(calls: list[FinishedCall], tools: Tools) -> tuple[list[FinishedCall], str]:
    """Take out calls of tools that nobody offered and that only carry a sentence.

    Returns:
        The other calls, and the sentences.
    """
    real, said = [], []
    for call in calls:
        name, values = call.tool_call.name, list(call.tool_call.arguments.values())
        if name in _PSEUDO_TOOLS and name not in tools and len(values) == 1 and isinstance(values[0], str):
            said.append(values[0])
        else:
            real.append(call)
    return real, " ".join(said)
