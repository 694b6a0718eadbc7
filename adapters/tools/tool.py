"""``Tool`` and ``ToolContext``: what an agent writes about a tool, and what a tool may be told about its call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.types import Json, ToolCall

ContextT = TypeVar("ContextT")


class CallError(Exception):
    """A call fits no tool and was not run; the text tells the model what to write instead."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with what its signature and docstring cannot say; a function with nothing to add needs none.

    Attributes:
        function: What is run, with the arguments by name: async, or not, and then in a thread.
        name: What the model calls it, in letters, digits, ``_`` and ``-``; None for the function's own name.
        description: What the model is told about it; None for the function's docstring.
        parameters: JSON schema of the arguments, for a function that takes them as the model wrote them
            (``**arguments``); None to read it from the signature, and to validate them.
        timeout_s: How long it may take, ``math.inf`` for as long as it wants; None for what the turn says.
    """

    function: Callable[..., Any]
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Json] | None = field(default=None, repr=False)
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class ToolContext(Generic[ContextT]):
    """What a function is handed that has a parameter annotated with it; the model does not see that parameter.

    Attributes:
        context: What ``run_turn`` was given as ``context``.
        tool_call: The call that is run.
    """

    context: ContextT
    tool_call: ToolCall
