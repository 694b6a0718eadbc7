"""What an examination finds, one value a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Verdict: TypeAlias = Literal["ok", "warning", "failed", "skipped"]
"""``warning``: a conversation works, and could be better. ``failed``: it does not, or not with tools."""

Step: TypeAlias = Literal[
    "key",
    "embedded server",
    "DNS",
    "TCP",
    "TLS",
    "address",
    "key accepted",
    "server",
    "model",
    "answer",
    "usage",
    "tool call",
    "tool_choice none",
    "parameters",
    "first word",
]
"""What is looked at, in this order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step found. No field holds a key or a header.

    Attributes:
        step: What was looked at.
        verdict: How it is.
        detail: What was seen.
        advice: What to do, or "" if there is nothing to do.
        seconds: How long it took, or None if that means nothing.
    """

    step: Step
    verdict: Verdict
    detail: str
    advice: str = ""
    seconds: float | None = None


Tell: TypeAlias = "Callable[[Finding], None]"
"""Takes a finding at the moment it is made."""
