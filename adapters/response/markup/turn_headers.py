"""The headers of turns: ``<|im_start|>assistant`` and what other chat templates write.

A model whose server does not stop at the end of its turn goes on with the next one: it invents the user's next
message. The header tells whose turn that is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from adapters.response.markup.markers import Marker

_MODEL_ROLES = frozenset({"assistant", "model", "chatbot", "bot", "ai"})
_OTHER_ROLES = frozenset({
    "user", "human", "system", "developer", "tool", "tools", "function", "functions", "ipython", "observation",
    "environment", "tool_response", "documents",
})  # fmt: skip
_ROLES = _MODEL_ROLES | _OTHER_ROLES
_NAME = re.compile(r"[ \t]{0,8}([\w.\-]{0,64})[ \t\r]{0,8}")


@dataclass(frozen=True, slots=True)
class TurnHeader:
    """What a mark opens that may begin a turn.

    Attributes:
        kind: Whose turn it begins; ``none`` if no role follows the mark, ``wait`` if more must be seen.
        end: Where the header ends in the text. The line break behind it is not part of it.
    """

    kind: Literal["model", "other", "none", "wait"]
    end: int


def read_header(text: str, end: int, mark: Marker, *, is_over: bool) -> TurnHeader:
    """Read the header that a mark opens.

    Args:
        text: The text so far.
        end: Where the mark ends in it.
        mark: The mark.
        is_over: Whether nothing can follow the text. Then the header counts as far as it has come.
    """
    if mark.turn_of:
        return TurnHeader(_kind(mark.turn_of), end)
    named = _NAME.match(text, end)
    assert named is not None  # noqa: S101 - it matches the empty string at least
    role, needed = named[1].lower(), _end_of_header(text, named, mark.closers)
    if needed is not None and needed > len(text) and not is_over:
        return TurnHeader("wait", end)
    may_be_role = named.end() < len(text) or any(known.startswith(role) for known in _ROLES)
    if needed is None or not role or not may_be_role:
        return TurnHeader("none", end)
    return TurnHeader(_kind(role), min(needed, len(text)))


def _kind(role: str) -> Literal["model", "other"]:
    return "model" if role in _MODEL_ROLES else "other"


def _end_of_header(text: str, named: re.Match[str], closers: tuple[str, ...]) -> int | None:
    """Return where a header ends, also if that has not come yet; None if the text is no header."""
    behind = named.end()
    if behind == len(text):
        return behind + 1
    if not closers or ("\n" in closers and text[behind] == "\n" and named[1].lower() in _ROLES):
        return named.end(1)
    marks = (closer for closer in closers if closer != "\n")
    return next((behind + len(mark) for mark in marks if mark.startswith(text[behind : behind + len(mark)])), None)
