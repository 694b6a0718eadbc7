"""``Tool`` and ``ToolContext``: a function with options, and the context that a function can be passed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.types import Json, ToolCall

ContextT = TypeVar("ContextT")


class CallError(Exception):
    """A call was not run; the text tells the model why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with options that its signature and docstring do not express. Plain functions need no ``Tool``.

    Attributes:
        function: The function, called with keyword arguments. If it is not async, it runs in a thread.
        name: Name of the tool, of letters, digits, ``_`` and ``-``; None for the name of the function.
        description: Description for the model; None for the docstring of the function.
        parameters: JSON schema of the arguments, for a function that takes them unvalidated (``**arguments``); None
            to derive it from the signature and to validate the arguments.
        timeout_s: Time limit in seconds, ``math.inf`` for none; None for the limit of the turn.
        max_result_chars: Length at which the result is cut; None for the limit of the turn.
    """

    function: Callable[..., Any] = field(repr=False)  # of a partial it would show its arguments, such as a key
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Json] | None = field(default=None, repr=False)
    timeout_s: float | None = None
    max_result_chars: int | None = None


@dataclass(frozen=True, slots=True)
class ToolContext(Generic[ContextT]):
    """The value of a parameter that is annotated with it; the model does not see that parameter.

    Attributes:
        context: The argument ``context`` of ``run_turn``.
        tool_call: The call that is run.
    """

    context: ContextT
    tool_call: ToolCall
