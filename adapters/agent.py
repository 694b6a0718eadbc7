"""``run_turn``: the tool loop of one turn, from the person's question to the spoken answer.

It asks the model, runs the tools that the model calls, and asks again, over any ``LLMProvider``, and keeps the
caller's list of messages a valid history whatever happens. What a tool does is the caller's affair; how one request
is made is the provider's.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from adapters.provider import closing
from adapters.request.messages import text_of
from adapters.telemetry import Tool, Turn
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage, ToolCall, ToolCallDone

if TYPE_CHECKING:
    from adapters.provider import LLMProvider
    from adapters.types import Message, StreamEvent, ToolSpec

_logger = logging.getLogger(__name__)

_INTERRUPTED = "The turn was interrupted before this tool finished; it may or may not have taken effect."
_MAX_FAILURE_CHARS = 300  # the model needs the reason, not a page of it


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back, as the model will read it.

    Attributes:
        tool_call: The call that it answers.
        content: The result, or a sentence that says why there is none.
        failed: Whether the tool raised, was interrupted, or was not run because its call could not be read.
    """

    tool_call: ToolCall
    content: str
    failed: bool


AgentEvent: TypeAlias = TextDelta | ToolCallDone | ToolResult | ResponseDone

CallTool: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Runs the tool of this name with these arguments; a result that is not a string goes to the model as JSON."""


async def run_turn(
    provider: LLMProvider,
    messages: list[Message],
    tools: list[ToolSpec] | None,
    call_tool: CallTool,
    *,
    max_rounds: int = 5,
    **kwargs: Any,
) -> AsyncGenerator[AgentEvent, None]:
    """Answer the last message of a conversation, running tools as the model asks for them.

    The calls of one round run at the same time. A person who interrupts is served by closing the generator
    (``contextlib.aclosing``) or cancelling the task that iterates it: the request is closed at once and running tools
    are cancelled.

    Args:
        provider: Who answers.
        messages: The conversation in OpenAI format. It is extended with everything that was said, called and found,
            also if the turn fails or is stopped halfway: no call is without a result, and an unfinished text is
            there as far as it was yielded.
        tools: Tools that the model may call.
        call_tool: Runs one tool. If it raises, the model is told so in one line and the turn goes on; ``SystemExit``
            and ``KeyboardInterrupt`` end it, when all calls have their results.
        max_rounds: Requests that may call tools. One that may not follows them, so that there is an answer.
        **kwargs: Sampling parameters of every request of this turn.

    Yields:
        ``TextDelta`` as it comes, ``ToolCallDone`` and ``ToolResult`` in the model's order, then one ``ResponseDone``
        for the whole turn: its content is the texts of all rounds, parted by newlines, its usage is their sum (None
        if the server did not count one of them), and it holds no calls, for none is left to run.

    Raises:
        APIError: If a request failed, also after some text.
    """
    responses: list[LLMResponse] = []
    with Turn() as turn:
        while True:
            is_last = len(responses) == max_rounds
            options = kwargs | {"tool_choice": "none"} if is_last else kwargs
            stream = turn.opens(provider.stream_events(messages, tools, **options))
            lead = "\n" if any(response.content for response in responses) else ""
            async with aclosing(_stream_answer(stream, messages, lead, may_call=not is_last)) as events:
                async for event in events:
                    if isinstance(event, ResponseDone):
                        responses.append(event.response)
                    else:
                        yield event
            if is_last or not responses[-1].tool_calls:
                break
            async with aclosing(_run_tools(provider, responses[-1], messages, call_tool, turn)) as results:
                async for result in results:
                    yield result
        turn.answers(whole := _whole_turn(responses))
        yield ResponseDone(whole)


async def _stream_answer(
    stream: AsyncIterator[StreamEvent], messages: list[Message], lead: str, *, may_call: bool
) -> AsyncGenerator[StreamEvent, None]:
    """Pass one answer on, ``lead`` before its first text, and write what was said into the history.

    A whole answer with calls is left to ``_run_tools``, which writes it together with the results. Where there may be
    none, a provider of an agent's own that calls all the same is not heeded.
    """
    said: list[str] = []
    event: StreamEvent | None = None
    tools_follow = False
    try:
        async with closing(stream) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    if lead and not said:
                        yield TextDelta(lead)
                    said.append(event.text)
                if may_call or not isinstance(event, ToolCallDone):
                    yield event
        tools_follow = may_call and isinstance(event, ResponseDone) and bool(event.response.tool_calls)
    finally:
        if said and not tools_follow:
            messages.append({"role": "assistant", "content": "".join(said)})


async def _run_tools(
    provider: LLMProvider, response: LLMResponse, messages: list[Message], call_tool: CallTool, turn: Turn
) -> AsyncGenerator[ToolResult, None]:
    """Run the calls of an answer at the same time and write calls and results into the history, in order."""
    calls = response.tool_calls
    exits: list[BaseException] = []
    with turn.current():
        tasks = [asyncio.create_task(_run_tool(call, call_tool, exits)) for call in calls]
    try:
        for call, task in zip(calls, tasks, strict=True):
            await asyncio.wait([task])  # not ``await task``: a tool that cancels itself must not cancel the turn
            yield _result_of(call, task)
    finally:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.wait(tasks)  # no tool outlives the turn
        finally:
            results = [_result_of(call, task).content for call, task in zip(calls, tasks, strict=True)]
            messages += [
                provider.format_tool_call_message(response.content, calls),
                *(
                    provider.format_tool_result(content, call.id, call.name)
                    for call, content in zip(calls, results, strict=True)
                ),
            ]
            if exits:
                raise exits[0]


async def _run_tool(call: ToolCall, call_tool: CallTool, exits: list[BaseException]) -> ToolResult:
    """Run one call; a failure of the tool becomes a sentence for the model.

    What ends the program is kept in ``exits``: raised in a task it would stop the event loop before the history is
    whole.
    """
    if call.error is not None:
        return ToolResult(call, f"The tool {call.name} was not run: {call.error}", failed=True)
    try:
        with Tool(call) as tool:
            # A copy, because the history repeats the arguments as the model wrote them.
            content = tool.returns(text_of(await call_tool(call.name, copy.deepcopy(call.arguments))))
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # whatever a tool raises, its call needs a result
        _logger.info("The tool %s failed", call.name, exc_info=True)  # a warning would be printed by default
        if isinstance(error, SystemExit | KeyboardInterrupt):
            exits.append(error)
        reason = " ".join(str(error).split()) or type(error).__name__
        return ToolResult(call, f"The tool {call.name} failed: {reason}"[:_MAX_FAILURE_CHARS], failed=True)
    return ToolResult(call, content, failed=False)


def _result_of(call: ToolCall, task: asyncio.Task[ToolResult]) -> ToolResult:
    """Return what the task found; a task without a result was interrupted."""
    if not task.done() or task.cancelled():
        return ToolResult(call, _INTERRUPTED, failed=True)
    if task.exception() is not None:  # the tool raised what cannot even be told: its text raises something else
        return ToolResult(call, f"The tool {call.name} failed.", failed=True)
    return task.result()


def _whole_turn(responses: list[LLMResponse]) -> LLMResponse:
    """Sum the rounds of a turn up in the last of them."""
    usages = [response.usage for response in responses if response.usage is not None]
    usage = TokenUsage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
    )
    return replace(
        responses[-1],
        content="\n".join(response.content for response in responses if response.content) or None,
        tool_calls=[],
        usage=usage if len(usages) == len(responses) else None,
    )
