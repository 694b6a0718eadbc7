"""The tools of a turn, however they were written: what the model is told of them, and how each is run.

Functions and ``Tool`` values run themselves; OpenAI definitions are run by the agent's own dispatcher. How long a run
may take, and what becomes of it, is the business of ``running``.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from adapters.config.problems import suggest
from adapters.errors import ConfigError
from adapters.tools.threads import call_in_thread
from adapters.tools.tool import CallError, Tool, ToolContext

if TYPE_CHECKING:
    from adapters.types import Json, ToolCall, ToolSpec

AnyTool: TypeAlias = "Callable[..., Any] | Tool | ToolSpec"
"""A function, a ``Tool``, or a definition in OpenAI format, which needs a dispatcher."""

CallTool: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Runs the tool of this name with these arguments; a result that is not a string goes to the model as JSON."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Runner:
    """How one tool is run.

    Attributes:
        run: Runs it for a call and returns what it found.
        timeout_s: How long that may take.
    """

    run: Callable[[ToolCall], Awaitable[Json]]
    timeout_s: float


class Toolbox:
    """The tools of a turn.

    Args:
        tools: What was given to ``run_turn``; None for no tools.
        call_tool: The dispatcher, for tools that are only defined.
        context: For functions that ask for it.
        timeout_s: How long a tool may take that says nothing else.

    Attributes:
        specs: What the model is told, in OpenAI format; None for no tools.

    Raises:
        ConfigError: If a tool cannot be offered, or two have the same name.
    """

    def __init__(
        self, tools: Sequence[AnyTool] | None, call_tool: CallTool | None, *, context: object, timeout_s: float
    ) -> None:
        self._call_tool = call_tool
        self._context = context
        self._timeout_s = timeout_s
        self._runners: dict[str, Runner] = {}
        self.specs: list[ToolSpec] | None = None if tools is None else [self._spec(tool) for tool in tools]
        for name in self._runners:
            if [_name_in(spec) for spec in self.specs or ()].count(name) > 1:
                raise ConfigError(f"Two tools are called {name}; write Tool(function, name=…) for one of them.")

    def runner(self, name: str) -> Runner:
        """Return how the tool of this name is run; that of a tool that is not there says so.

        A dispatcher is asked for names that nobody offered too: it may know better.
        """
        known = self._runners.get(name)
        if known is not None:
            return known
        return Runner(self._missing if self._call_tool is None else self._dispatched, self._timeout_s)

    def _spec(self, tool: AnyTool) -> ToolSpec:
        """Return what the model is told of a tool, and keep how it is run."""
        if isinstance(tool, Tool):
            return self._of_tool(tool)
        if callable(tool):
            return self._of_tool(Tool(tool))
        if not isinstance(tool, dict):
            raise ConfigError(
                f"A {type(tool).__name__} is no tool: write functions, Tool values or OpenAI definitions."
            )
        if self._call_tool is None:
            raise ConfigError(f"The tool {_name_in(tool)} is only defined: give the function, or call_tool to run it.")
        return tool

    def _of_tool(self, tool: Tool) -> ToolSpec:
        name = tool.name or str(getattr(tool.function, "__name__", ""))
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot be the name of a tool; write Tool(function, name=…) with letters, digits, _ and -."
            )
        from adapters.tools.signature import read_signature, told

        signature = read_signature(tool.function, name) if tool.parameters is None else None
        schema = tool.parameters if signature is None else signature.schema
        description = tool.description
        if description is None and signature is not None:
            description = signature.description

        async def run(call: ToolCall) -> Json:
            in_order: list[Any] = []
            by_name = copy.deepcopy(call.arguments)  # the history repeats them as the model wrote them
            if signature is not None:
                in_order, by_name = signature.bind(by_name, ToolContext(self._context, call))
            return told(await _call(tool.function, in_order, by_name))

        self._runners[name] = Runner(run, self._timeout_s if tool.timeout_s is None else tool.timeout_s)
        about = {"description": description} if description else {}
        return {"type": "function", "function": {"name": name, **about, "parameters": schema}}

    async def _dispatched(self, call: ToolCall) -> Json:
        assert self._call_tool is not None  # noqa: S101 - the method ``runner`` looked
        # A copy, because the history repeats the arguments as the model wrote them.
        return await self._call_tool(call.name, copy.deepcopy(call.arguments))

    async def _missing(self, call: ToolCall) -> Json:
        hint = suggest(call.name, self._runners) if self._runners else "there is none at all"
        raise CallError(f"there is no such tool; {hint}")


async def _call(function: Callable[..., Any], in_order: list[Any], by_name: dict[str, Any]) -> object:
    if inspect.iscoroutinefunction(function):
        return await function(*in_order, **by_name)
    result = await call_in_thread(function, *in_order, **by_name)
    return await result if inspect.isawaitable(result) else result  # an object whose call is async, for example


def _name_in(spec: ToolSpec) -> Json:
    function = spec.get("function")
    return function.get("name") if isinstance(function, dict) else None
