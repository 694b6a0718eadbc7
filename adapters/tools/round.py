"""Run the calls of one response concurrently, and return their results in the model's order."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from adapters.tools.running import INTERRUPTED, run_call
from adapters.types import ToolResult, ToolsRunning

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from adapters.tools.toolbox import Toolbox
    from adapters.types import ToolCall


class ToolRound:
    """The running calls of a response. They start when it is created; equal calls of the same tool run once.

    It has no ``repr`` of its own, so that tracebacks with local variables do not show the conversation.

    Args:
        calls: The calls.
        toolbox: How they are run.

    Attributes:
        exits: Exceptions of tools that end the program; to be raised when the history is complete.
    """

    def __init__(self, calls: Sequence[ToolCall], toolbox: Toolbox) -> None:
        self.exits: list[BaseException] = []
        self._calls = calls
        self._tasks: dict[str, asyncio.Task[ToolResult]] = {}
        self._started_s = asyncio.get_running_loop().time()
        for call in calls:
            if _key(call) not in self._tasks:
                running = run_call(call, toolbox.runner(call.name), self.exits)
                self._tasks[_key(call)] = asyncio.create_task(running)

    async def events(self, filler_after_s: float | None) -> AsyncGenerator[ToolResult | ToolsRunning, None]:
        """Yield each result as soon as it and all results before it are ready.

        Args:
            filler_after_s: Seconds after which ``ToolsRunning`` is yielded once if tools are still running; None for
                never.
        """
        for call in self._calls:
            task = self._tasks[_key(call)]
            if filler_after_s is not None:
                left_s = self._started_s + filler_after_s - asyncio.get_running_loop().time()
                await asyncio.wait([task], timeout=max(left_s, 0))
                if not task.done():
                    filler_after_s = None
                    yield self._running()
            await asyncio.wait([task])  # not ``await task``: a tool that cancels itself must not cancel the turn
            yield self._result(call)

    async def stop(self) -> None:
        """Stop what is still running; a tool that does not stop is abandoned."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.wait(self._tasks.values())

    def results(self) -> list[ToolResult]:
        """Return a result for each call; the result of an unfinished one says that it was interrupted."""
        return [self._result(call) for call in self._calls]

    def _result(self, call: ToolCall) -> ToolResult:
        task = self._tasks[_key(call)]
        if not task.done() or task.cancelled():
            return ToolResult(call, INTERRUPTED, failed=True)
        return replace(task.result(), tool_call=call)

    def _running(self) -> ToolsRunning:
        names = (call.name for call in self._calls if not self._tasks[_key(call)].done())
        return ToolsRunning(tuple(dict.fromkeys(names)), asyncio.get_running_loop().time() - self._started_s)


def _key(call: ToolCall) -> str:
    """Return a key that equal calls share; it tells 1, 1.0 and true apart."""
    return json.dumps([call.name, call.error, call.arguments], sort_keys=True, default=repr)
