"""Run one call to its end or to its time limit. There always is a result that the model can read.

A tool that ignores its cancellation is abandoned after a moment, with a line in the log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from adapters.telemetry.spans import ToolSpan
from adapters.tools.tool import CallError
from adapters.types import ToolResult

if TYPE_CHECKING:
    from adapters.tools.toolbox import Runner
    from adapters.types import ToolCall

_logger = logging.getLogger(__name__)

INTERRUPTED = "The turn was interrupted before this tool finished; it may or may not have taken effect."

_MAX_FAILURE_CHARS = 300  # the model needs the reason, not a page of it
_MAX_REASONS = 5  # of an exception group
_CLEANUP_S = 0.05  # for a cancelled tool: an interrupting person waits for it

_abandoned: set[asyncio.Task[ToolResult]] = set()  # the loop itself keeps no reference to a task


async def run_call(call: ToolCall, runner: Runner, exits: list[BaseException]) -> ToolResult:
    """Run one call; a failure of the tool becomes a sentence for the model.

    If the task is cancelled, the result says that the tool was interrupted.

    Args:
        call: The model's call.
        runner: How its tool is run.
        exits: Collects exceptions that end the program. Raised in a task, they would stop the event loop before the
            history is complete.
    """
    if call.error is not None:
        return _not_run(call, call.error)
    task = asyncio.create_task(_attempt(call, runner, exits))
    try:
        await asyncio.wait([task], timeout=runner.timeout_s)  # unlike ``wait_for`` it does not wait for the clean-up
        is_late = not task.done()
        if is_late:
            await _stop(task, call)
    except asyncio.CancelledError:
        await _stop(task, call)
        is_late = False
    if task.done() and not task.cancelled() and isinstance(error := task.exception(), CallError):
        return _not_run(call, str(error))
    if is_late:
        text = f"The tool {call.name} timed out after {runner.timeout_s:g} seconds; its effect is unknown."
        return ToolResult(call, text, failed=True)
    if not task.done() or task.cancelled():
        return ToolResult(call, INTERRUPTED, failed=True)
    return task.result()


def _not_run(call: ToolCall, reason: str) -> ToolResult:
    return ToolResult(call, f"The tool {call.name} was not run: {reason}"[:_MAX_FAILURE_CHARS], failed=True)


async def _attempt(call: ToolCall, runner: Runner, exits: list[BaseException]) -> ToolResult:
    """Run a call.

    Raises:
        CallError: If it was not run.
    """
    try:
        with ToolSpan(call) as span:
            output = await runner.run(call)
            span.returns(output.text)
    except (asyncio.CancelledError, CallError):
        raise
    except BaseException as error:  # whatever a tool raises, its call needs a result
        _logger.info("The tool %s failed", call.name, exc_info=True)  # Python prints warnings by default
        return ToolResult(call, _describe(call.name, error, exits)[:_MAX_FAILURE_CHARS], failed=True)
    return ToolResult(call, output.text, failed=False, images=output.images)


def _describe(name: str, error: BaseException, exits: list[BaseException]) -> str:
    """Describe the exception of a tool for the model, and collect those that end the program."""
    leaves = _leaves(error)
    try:
        reasons = [_reason(leaf, with_kind=leaf is not error) for leaf in leaves[:_MAX_REASONS]]
        text = f"The tool {name} failed: {'; '.join(reasons)}"
    except BaseException as worse:  # noqa: BLE001 - even the text of an error may raise another
        leaves.append(worse)
        text = f"The tool {name} failed."
    exits += [leaf for leaf in leaves if isinstance(leaf, SystemExit | KeyboardInterrupt)]
    return text


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the exceptions inside a group, of any depth; any other exception alone."""
    leaves: list[BaseException] = []
    pending = [error]
    while pending:
        current = pending.pop()
        if isinstance(current, BaseExceptionGroup):
            pending += reversed(current.exceptions)
        else:
            leaves.append(current)
    return leaves


def _reason(error: BaseException, *, with_kind: bool) -> str:
    text, kind = " ".join(str(error).split()), type(error).__name__
    return f"{kind}: {text}" if with_kind and text else text or kind


async def _stop(task: asyncio.Task[ToolResult], call: ToolCall) -> None:
    """Cancel a tool and give it a moment to clean up."""
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(_forget)
    await asyncio.wait([task], timeout=_CLEANUP_S)
    if not task.done():
        _logger.warning("The tool %s ignores its cancellation; it is abandoned", call.name)


def _forget(task: asyncio.Task[ToolResult]) -> None:
    """Drop the last reference to a task, and retrieve its exception so that asyncio does not log it."""
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()
