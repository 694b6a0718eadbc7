"""The result of one step of an examination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Verdict: TypeAlias = Literal["passed", "warning", "failed", "skipped"]
"""``warning``: a conversation works but could be better. ``failed``: it does not work, or not with tools."""

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
    "response",
    "usage",
    "tool call",
    "tool_choice none",
    "parameters",
    "streaming",
    "first text",
    "prefix cache",
]
"""The steps, in order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one step. No field holds a key or a header.

    Attributes:
        step: The step.
        verdict: Its verdict.
        detail: What was observed.
        advice: How to fix it, or "" if there is nothing to do.
        seconds: Duration of the step, or None where a duration means nothing.
    """

    step: Step
    verdict: Verdict
    detail: str
    advice: str = ""
    seconds: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the step passed without a warning."""
        return self.verdict == "passed"


Report: TypeAlias = "Callable[[Finding], None]"
"""Receives each finding as soon as it is made."""
