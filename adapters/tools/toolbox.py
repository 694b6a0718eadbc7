"""The tools of a turn: their definitions for the model, and how each of them is run.

Functions and ``Tool`` values run themselves; definitions in OpenAI format are run by the agent's own ``call_tool``.
Time limits and failures are handled in ``adapters.tools.running``.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from adapters.config.problems import suggest
from adapters.errors import ConfigError
from adapters.provider import closing
from adapters.request.schemas import without_needless_nulls
from adapters.tools.results import ToolOutput, needs_thread, read_result
from adapters.tools.threads import call_in_thread
from adapters.tools.tool import CallError, Tool, ToolContext

if TYPE_CHECKING:
    from adapters.types import Json, ToolCall, ToolSpec

AnyTool: TypeAlias = "Callable[..., Any] | Tool | ToolSpec"
"""A function, a ``Tool``, or a definition in OpenAI format, which needs ``call_tool``."""

CallTool: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Runs the tool with this name and these arguments; a result that is not a string goes to the model as JSON."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Runner:
    """How one tool is run.

    Attributes:
        run: Runs it for a call.
        timeout_s: Its time limit.
    """

    run: Callable[[ToolCall], Awaitable[ToolOutput]]
    timeout_s: float


class Toolbox:
    """The tools of a turn.

    Args:
        tools: The argument ``tools`` of ``run_turn``; None for no tools.
        call_tool: Runs the tools that are only defined.
        context: The value for parameters that are annotated ``ToolContext``.
        timeout_s: Time limit of tools without one of their own.
        max_result_chars: Length at which the results of tools without a limit of their own are cut.

    Attributes:
        specs: The definitions for the model, in OpenAI format; None for no tools.

    Raises:
        ConfigError: If a tool cannot be offered, or two have the same name.
    """

    def __init__(
        self,
        tools: Sequence[AnyTool] | None,
        call_tool: CallTool | None,
        *,
        context: object,
        timeout_s: float,
        max_result_chars: int,
    ) -> None:
        self._call_tool = call_tool
        self._context = context
        self._timeout_s = timeout_s
        self._max_result_chars = max_result_chars
        self._runners: dict[str, Runner] = {}
        self.specs: list[ToolSpec] | None = None if tools is None else [self._add(tool) for tool in tools]
        for name in self._runners:
            if [_name_in(spec) for spec in self.specs or ()].count(name) > 1:
                raise ConfigError(f"Two tools are called {name}; write Tool(function, name=…) for one of them.")

    def runner(self, name: str) -> Runner:
        """Return how the tool with this name is run; ``call_tool`` also gets the names that were not offered."""
        known = self._runners.get(name)
        if known is not None:
            return known
        return Runner(self._run_missing if self._call_tool is None else self._run_definition, self._timeout_s)

    def _add(self, tool: AnyTool) -> ToolSpec:
        """Return the definition of a tool, and remember how it is run."""
        if isinstance(tool, Tool):
            return self._add_tool(tool)
        if callable(tool):
            return self._add_tool(Tool(tool))
        if not isinstance(tool, dict):
            raise ConfigError(
                f"A {type(tool).__name__} is no tool: write functions, Tool values or OpenAI definitions."
            )
        if self._call_tool is None:
            raise ConfigError(f"The tool {_name_in(tool)} is only defined: give the function, or call_tool to run it.")
        return tool

    def _add_tool(self, tool: Tool) -> ToolSpec:
        name = tool.name or str(getattr(tool.function, "__name__", ""))
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot be the name of a tool; write Tool(function, name=…) with letters, digits, _ and -."
            )
        from adapters.tools.signature import read_signature

        signature = read_signature(tool.function, name) if tool.parameters is None else None
        schema = signature.schema if signature is not None else tool.parameters or {}
        description = tool.description
        if description is None and signature is not None:
            description = signature.description
        max_chars = self._max_result_chars if tool.max_result_chars is None else tool.max_result_chars

        async def run(call: ToolCall) -> ToolOutput:
            in_order: list[Any] = []
            by_name = copy.deepcopy(call.arguments)  # the history repeats them as the model wrote them
            if signature is not None:
                in_order, by_name = signature.bind(by_name, ToolContext(self._context, call))
            else:
                by_name = without_needless_nulls(by_name, schema)
            if inspect.iscoroutinefunction(tool.function) or inspect.isasyncgenfunction(tool.function):
                result = tool.function(*in_order, **by_name)
            else:
                result = await call_in_thread(name, _call_and_read, tool.function, in_order, by_name, max_chars)
            return await _read(result, name, max_chars)

        self._runners[name] = Runner(run, self._timeout_s if tool.timeout_s is None else tool.timeout_s)
        described = {"description": description} if description else {}
        return {"type": "function", "function": {"name": name, **described, "parameters": schema}}

    async def _run_definition(self, call: ToolCall) -> ToolOutput:
        assert self._call_tool is not None  # noqa: S101 - checked by ``runner``
        # A copy, because the history repeats the arguments as the model wrote them.
        result = self._call_tool(call.name, copy.deepcopy(call.arguments))
        return await _read(result, call.name, self._max_result_chars)

    async def _run_missing(self, call: ToolCall) -> ToolOutput:
        hint = suggest(call.name, self._runners) if self._runners else "there is none at all"
        raise CallError(f"there is no such tool; {hint}")


def _call_and_read(
    function: Callable[..., Any], in_order: list[Any], by_name: dict[str, Any], max_chars: int
) -> object:
    """Call a function and convert its result, in a thread; an asynchronous result is left to the event loop."""
    result = function(*in_order, **by_name)
    return result if isinstance(result, Awaitable | AsyncIterable) else read_result(result, max_chars)


async def _read(result: object, name: str, max_chars: int) -> ToolOutput:
    """Wait for the result of a tool, if it is asynchronous, and convert it."""
    if isinstance(result, Awaitable):
        result = await result
    if isinstance(result, AsyncIterable):
        result = await _items_of(result, max_chars)
    if isinstance(result, ToolOutput):
        return result
    if needs_thread(result):
        return await call_in_thread(name, read_result, result, max_chars)
    return read_result(result, max_chars)


async def _items_of(items: AsyncIterable[Any], max_chars: int) -> list[Any]:
    """Read an asynchronous iterator; an endless one as far as the text may be long."""
    read: list[Any] = []
    async with closing(aiter(items)) as iterator:
        async for item in iterator:
            read.append(item)
            if len(read) > max_chars:
                break
    return read


def _name_in(spec: ToolSpec) -> Json:
    function = spec.get("function")
    return function.get("name") if isinstance(function, dict) else None
