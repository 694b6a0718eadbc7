"""One call run to its end, or until its time is up: whatever the tool does, there is a result that the model can read.

Nobody waits long for a tool that does not stop when it is cancelled: it is left to itself, with a line in the log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from adapters.request.messages import text_of
from adapters.telemetry.spans import ToolSpan
from adapters.tools.tool import CallError
from adapters.types import ToolResult

if TYPE_CHECKING:
    from adapters.tools.toolbox import Runner
    from adapters.types import ToolCall

_logger = logging.getLogger(__name__)

INTERRUPTED = "The turn was interrupted before this tool finished; it may or may not have taken effect."

_MAX_FAILURE_CHARS = 300  # the model needs the reason, not a page of it
_CLEANUP_S = 0.05  # what a cancelled tool gets to clear up: a person who interrupts waits for it

_left: set[asyncio.Task[ToolResult]] = set()  # the loop itself would forget them while they run


async def run_call(call: ToolCall, runner: Runner, exits: list[BaseException]) -> ToolResult:
    """Run one call; a failure of the tool becomes a sentence for the model.

    Being cancelled is no failure of the tool: the result says that it was interrupted.

    Args:
        call: What the model asks for.
        runner: How its tool is run.
        exits: Gets what ends the program: raised in a task it would stop the event loop before the history is whole.
    """
    if call.error is not None:
        return ToolResult(call, f"The tool {call.name} was not run: {call.error}", failed=True)
    task = asyncio.create_task(_attempt(call, runner, exits))
    try:
        await asyncio.wait([task], timeout=runner.timeout_s)  # unlike ``wait_for`` it does not wait for the clean-up
        in_time = task.done()
        if not in_time:
            await _stop(task, call)
    except asyncio.CancelledError:
        await _stop(task, call)
        in_time = True
    if in_time:
        return _result_of(call, task)
    told = f"The tool {call.name} took longer than {runner.timeout_s:g} seconds and was given up"
    return ToolResult(call, f"{told}; it may or may not have taken effect.", failed=True)


async def _attempt(call: ToolCall, runner: Runner, exits: list[BaseException]) -> ToolResult:
    try:
        with ToolSpan(call) as tool:
            content = tool.returns(text_of(await runner.run(call)))
    except asyncio.CancelledError:
        raise
    except CallError as error:
        return ToolResult(call, f"The tool {call.name} was not run: {error}"[:_MAX_FAILURE_CHARS], failed=True)
    except BaseException as error:  # whatever a tool raises, its call needs a result
        _logger.info("The tool %s failed", call.name, exc_info=True)  # a warning would be printed by default
        return ToolResult(call, _told(call.name, error, exits)[:_MAX_FAILURE_CHARS], failed=True)
    return ToolResult(call, content, failed=False)


def _told(name: str, error: BaseException, exits: list[BaseException]) -> str:
    """Tell the model what a tool raised, and keep what ends the program."""
    raised = [error]
    try:
        reason = " ".join(str(error).split()) or type(error).__name__
        told = f"The tool {name} failed: {reason}"
    except BaseException as worse:  # noqa: BLE001 - even the text of an error may raise another
        raised.append(worse)
        told = f"The tool {name} failed."
    exits += [each for each in raised if isinstance(each, SystemExit | KeyboardInterrupt)]
    return told


async def _stop(task: asyncio.Task[ToolResult], call: ToolCall) -> None:
    """Cancel a tool and give it a moment to clear up."""
    task.cancel()
    _left.add(task)
    task.add_done_callback(_left.discard)
    await asyncio.wait([task], timeout=_CLEANUP_S)
    if not task.done():
        _logger.warning("The tool %s does not stop when it is cancelled; it is left to itself", call.name)


def _result_of(call: ToolCall, task: asyncio.Task[ToolResult]) -> ToolResult:
    """Return what the task found; a task without a result was interrupted."""
    if not task.done() or task.cancelled():
        return ToolResult(call, INTERRUPTED, failed=True)
    return task.result()
