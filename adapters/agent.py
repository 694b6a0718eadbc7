"""``run_turn``: the tool loop of one turn, from the user's message to the spoken answer.

It calls the model, runs the tools that the model calls, and calls the model again, over any ``LLMProvider``. The
caller's list of messages stays a valid history whatever happens. ``adapters.tools`` offers and runs the tools.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from adapters.errors import APIError, APITimeoutError, BadRequestError, ConfigError
from adapters.provider import closing, stream_without_end
from adapters.request.messages import TOOL_IMAGES
from adapters.telemetry.spans import TurnSpan
from adapters.tools.round import ToolRound
from adapters.tools.toolbox import AnyTool, CallTool, Toolbox
from adapters.types import (
    AgentEvent,
    LLMResponse,
    ResponseDone,
    TextDelta,
    TokenUsage,
    ToolCallDone,
    ToolResult,
    ToolsRunning,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
    from types import TracebackType
    from typing import Unpack

    from adapters.provider import LLMProvider
    from adapters.types import CallOptions, Message, StreamEvent, ToolSpec

_Event = TypeVar("_Event")

__all__ = ["AgentEvent", "AnyTool", "CallTool", "ToolResult", "ToolsRunning", "run_turn", "tool_specs"]


def tool_specs(tools: Sequence[AnyTool]) -> list[ToolSpec]:
    """Return the definitions that ``run_turn`` sends for tools, which ``prewarm`` of a provider takes.

    Args:
        tools: As for ``run_turn``.

    Raises:
        ConfigError: If a tool cannot be offered, or two have the same name.
    """
    toolbox = Toolbox(tools, _call_nothing, context=None, timeout_s=1.0, max_result_chars=1)
    return toolbox.specs or []


async def _call_nothing(name: str, arguments: dict[str, Any]) -> None:
    """Stand for the function that runs a tool; definitions alone call nothing."""


async def run_turn(  # noqa: PLR0913 - a turn has many limits, all but two of them named
    provider: LLMProvider,
    messages: list[Message],
    tools: Sequence[AnyTool] | None = None,
    call_tool: CallTool | None = None,
    *,
    max_rounds: int = 5,
    context: object = None,
    tool_timeout_s: float = 10.0,
    turn_timeout_s: float | None = None,
    filler_after_s: float | None = None,
    max_result_chars: int = 100_000,
    tool_images: Literal["user", "tool", "none"] = "user",
    **kwargs: Unpack[CallOptions],
) -> AsyncGenerator[AgentEvent, None]:
    """Answer the last message of a conversation, running tools as the model calls them.

    A tool is a function with type hints and a docstring. They become its definition for the model, and the model's
    arguments are validated before the function runs. A function that is not async runs in a thread. The calls of one
    response run concurrently; equal calls run once.

    On barge-in, close the generator (``contextlib.aclosing``) or cancel the task that iterates it: the request is
    closed at once and running tools are cancelled. Tools that ignore cancellation, and threads, are abandoned after a
    moment; only a tool that blocks the event loop can delay this.

    Args:
        provider: The provider.
        messages: The conversation in OpenAI format. All text, calls and results are appended to it,
            also if the turn fails or is interrupted: no call is without a result, and interrupted text is there as far
            as it was yielded.
        tools: Tools that the model may call: functions, ``Tool`` values, the tools of ``mcp_tools``, and definitions
            in OpenAI format, in any mixture.
        call_tool: Runs the tools that are only defined. If it or a function raises, the model gets the reason in one
            line and the turn goes on; ``SystemExit`` and ``KeyboardInterrupt`` end it when all calls have results.
        max_rounds: Number of requests that may call tools. After them, one more request must answer in text.
        context: Any value, for parameters of functions that are annotated ``ToolContext``.
        tool_timeout_s: Time limit of tools without one of their own. The model gets the timeout as the result.
        turn_timeout_s: Time limit of the whole turn, tools included; None for none. ``timeout`` is for each request.
        filler_after_s: Seconds of running tools after which ``ToolsRunning`` is yielded, once per round; None for
            never.
        max_result_chars: Length at which the results of tools are cut.
        tool_images: Where the model sees images that tools return: in a user message behind the results (``user``,
            which all models with vision accept), in the tool message itself (``tool``, for servers that accept parts
            there), or not at all (``none``). The text of the result names them in any case.
        **kwargs: Options of every request of the turn. A ``tool_choice`` that forces a call holds for the first
            request only. With ``response_format`` the text of each request is yielded when it is complete, because it
            is validated and requested once more if it does not match.

    Yields:
        ``TextDelta`` as it arrives, ``ToolCallDone`` and ``ToolResult`` in the model's order, then one
        ``ResponseDone`` for the whole turn: its content is the texts of all rounds, separated by newlines, usage and
        attempts are sums, the times begin with the turn, and it has no calls, because none is left to run.

    Raises:
        APIError: If a request failed, also after some text. Its ``usage`` is that of the requests before it.
        APITimeoutError: If the turn took longer than ``turn_timeout_s``.
        ConfigError: If an argument is invalid or a tool cannot be offered.
    """
    if not isinstance(messages, list):
        raise ConfigError(f"messages must be a list, which run_turn extends; it is a {type(messages).__name__}.")
    toolbox = Toolbox(tools, call_tool, context=context, timeout_s=tool_timeout_s, max_result_chars=max_result_chars)
    turn = _Turn(provider, messages, toolbox, kwargs, tool_images=tool_images, timeout_s=turn_timeout_s)
    del messages, tools, call_tool, context, kwargs  # tracebacks with the values of variables would show them
    with turn:
        while True:
            may_call = turn.rounds < max_rounds
            async with aclosing(turn.answer(may_call=may_call)) as events:
                async for event in events:
                    yield event
                    del event
            if not may_call or not turn.wants_tools:
                break
            async with aclosing(turn.run_tools(filler_after_s)) as results:
                async for result in results:
                    yield result
                    del result
        yield ResponseDone(turn.complete())


class _Turn:
    """The state of a turn: its conversation, tools, responses and clock, none of which ``repr`` shows.

    Use it as a context manager: at its end, also if that is an error, the span and the error get what the turn cost.
    """

    def __init__(
        self,
        provider: LLMProvider,
        messages: list[Message],
        toolbox: Toolbox,
        options: CallOptions,
        *,
        tool_images: str,
        timeout_s: float | None,
    ) -> None:
        self._began_s = time.monotonic()
        self._timeout_s = timeout_s
        self._ends_s = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        self._provider = provider
        self._messages = messages
        self._toolbox = toolbox
        self._options = options
        self._tool_images = tool_images
        self._responses: list[LLMResponse] = []
        self._discarded: list[LLMResponse] = []  # they count in the sums alone
        self._texts: list[str] = []  # of the current response
        self._first_text_s: float | None = None
        self._first_token_s: float | None = None
        self._is_split = False  # whether the server refuses tools and response_format in one request
        self._span = TurnSpan()

    def __enter__(self) -> None:
        self._span.__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(exc, APIError):
            exc.usage = _sum_of([*self._usages, *([exc.usage] if exc.usage is not None else [])])
        if exc is not None and self._responses:
            self._span.progress(self._summary())
        self._span.__exit__(exc_type, exc, traceback)

    @property
    def rounds(self) -> int:
        """Number of responses so far."""
        return len(self._responses)

    @property
    def wants_tools(self) -> bool:
        """Whether the latest response calls tools."""
        return bool(self._responses[-1].tool_calls)

    async def answer(self, *, may_call: bool) -> AsyncGenerator[StreamEvent, None]:
        """Yield text and calls of one response, with a line break before its text if there was text before.

        The text goes into the history, except if tools follow: ``run_tools`` writes it together with calls and results.
        Calls are ignored if they are not allowed; a custom provider may not know how to forbid them.
        """
        started_s = time.monotonic()
        self._texts = []
        calls: list[ToolCallDone] = []
        response: LLMResponse | None = None
        tools_follow = False
        try:
            async with closing(self._limited(self._request(may_call=may_call))) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        if self._needs_line_break():
                            yield TextDelta("\n")
                        self._texts.append(event.text)
                        yield event
                    elif isinstance(event, ResponseDone):
                        response = event.response
                    elif may_call:
                        calls.append(event)
                    del event
            self._add(response, started_s)
            for call in calls:
                yield replace(call, usage=self._usage)
            tools_follow = may_call and self.wants_tools
        finally:
            if self._texts and not tools_follow:
                self._messages.append({"role": "assistant", "content": "".join(self._texts)})

    async def run_tools(self, filler_after_s: float | None) -> AsyncGenerator[ToolResult | ToolsRunning, None]:
        """Run the calls of the latest response and write calls and results into the history, in order."""
        with self._span.current():
            tool_round = ToolRound(self._responses[-1].tool_calls, self._toolbox)
        try:
            async with closing(self._limited(tool_round.events(filler_after_s))) as events:
                async for event in events:
                    yield replace(event, usage=self._usage) if isinstance(event, ToolResult) else event
                    del event
        finally:
            try:
                await tool_round.stop()
            finally:
                self._write(tool_round.results())
                if tool_round.exits:
                    raise tool_round.exits[0]

    def complete(self) -> LLMResponse:
        """Return the response of the whole turn, and end the span."""
        summary = self._summary()
        self._span.complete(summary)
        return summary

    def _request(self, *, may_call: bool) -> AsyncIterator[StreamEvent]:
        options = self._options.copy()
        if not may_call:
            options["tool_choice"] = "none"
        elif self._responses and options.get("tool_choice") not in ("auto", "none"):
            options.pop("tool_choice", None)
        if options.get("response_format") is not None:
            return self._request_complete(options)
        return self._span.opens(self._provider.stream_events(self._messages, self._toolbox.specs, **options))

    async def _request_complete(self, options: CallOptions) -> AsyncGenerator[StreamEvent, None]:
        """Yield a response that matches ``response_format``, once it is complete.

        Some servers refuse tools and ``response_format`` in one request. From them the calls are requested without a
        format, and the text that ends the turn once more with it.
        """
        with self._span.current():
            response = await self._chat(options)
        if response.content:
            yield TextDelta(response.content, response.id)
        for tool_call in response.tool_calls:
            yield ToolCallDone(tool_call, response.id)
        yield ResponseDone(response)

    async def _chat(self, options: CallOptions) -> LLMResponse:
        specs = self._toolbox.specs
        if not specs or options.get("tool_choice") == "none":
            return await self._provider.chat(self._messages, specs, **options)
        if not self._is_split:
            try:
                return await self._provider.chat(self._messages, specs, **options)
            except BadRequestError as error:
                if type(error) is not BadRequestError:  # the conversation is too long, or was moderated
                    raise
                self._is_split = True
        without_format = options.copy()
        del without_format["response_format"]
        response = await self._provider.chat(self._messages, specs, **without_format)
        if response.tool_calls:
            return response
        self._discarded.append(response)
        options["tool_choice"] = "none"
        return await self._provider.chat(self._messages, specs, **options)

    def _limited(self, events: AsyncIterator[_Event]) -> AsyncIterator[_Event]:
        """Return the events, up to the time limit of the turn."""
        return events if self._ends_s is None else self._until(events, self._ends_s)

    async def _until(self, events: AsyncIterator[_Event], ends_s: float) -> AsyncGenerator[_Event, None]:
        async with closing(events):
            while True:
                limit = asyncio.timeout_at(ends_s)
                try:
                    async with limit:
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if not limit.expired():
                        raise
                    break
                yield event
                del event
        raise APITimeoutError(
            f"{self._provider.provider_name} did not finish in time ({self._timeout_s:g} seconds). Please try again.",
            provider=self._provider.provider_name,
            model=self._provider.model,
            retryable=True,
        )

    def _needs_line_break(self) -> bool:
        """Whether the text that comes now is the first of its response, and not of the turn; note the time of that."""
        if self._texts:
            return False
        if self._first_text_s is None:
            self._first_text_s = time.monotonic() - self._began_s
        return any(response.content for response in self._responses)

    def _add(self, response: LLMResponse | None, started_s: float) -> None:
        """Add a complete response to the turn.

        Args:
            response: The response; None if a custom provider ended its stream without one.
            started_s: When it was requested, on the monotonic clock.

        Raises:
            IncompleteResponseError: If there is none.
        """
        if response is None:
            raise stream_without_end(self._provider)
        if not self._responses and response.time_to_first_token_s is not None:
            self._first_token_s = started_s - self._began_s + response.time_to_first_token_s
        self._responses.append(response)

    def _write(self, results: list[ToolResult]) -> None:
        """Write the calls of the latest response and their results into the history."""
        provider, latest = self._provider, self._responses[-1]
        written = [provider.format_tool_call_message(latest.content, latest.tool_calls)]
        images: dict[int, tuple[dict[str, Any], ...]] = {}
        for result in results:
            message = provider.format_tool_result(result.content, result.tool_call.id, result.tool_call.name)
            if result.images and self._tool_images == "tool":
                message = {**message, "content": [{"type": "text", "text": result.content}, *result.images]}
            written.append(message)
            images[id(result.images)] = result.images  # equal calls share them
        parts = [part for parts in images.values() for part in parts]
        if parts and self._tool_images == "user":
            written.append({"role": "user", "content": [{"type": "text", "text": TOOL_IMAGES}, *parts]})
        self._messages += written

    @property
    def _usages(self) -> list[TokenUsage | None]:
        return [response.usage for response in (*self._responses, *self._discarded)]

    @property
    def _usage(self) -> TokenUsage | None:
        """Usage of all requests so far, or None if one of them was not counted."""
        return _sum_of(self._usages)

    def _summary(self) -> LLMResponse:
        """Return the latest response with the content, the sums and the times of the turn."""
        responses = [*self._responses, *self._discarded]

        def estimate(_usage: TokenUsage) -> Decimal | None:
            """Add the costs of the responses, which may be of several models."""
            costs = [response.estimated_cost for response in responses]
            return None if None in costs else sum(filter(None, costs), Decimal())

        attempts = [response.attempts for response in responses if response.attempts is not None]
        return replace(
            self._responses[-1],
            content="\n".join(response.content for response in self._responses if response.content) or None,
            tool_calls=[],
            usage=self._usage,
            time_to_first_text_s=self._first_text_s,
            time_to_first_token_s=self._first_token_s,
            total_s=time.monotonic() - self._began_s,
            wait=self._responses[0].wait,
            attempts=sum(attempts) if len(attempts) == len(responses) else None,
            cost_estimator=estimate,
            dropped=tuple(dict.fromkeys(name for response in responses for name in response.dropped)),
        )


def _sum_of(usages: Iterable[TokenUsage | None]) -> TokenUsage | None:
    """Add usages; the sum is None if one of them is, or if there are none."""
    total: TokenUsage | None = None
    for usage in usages:
        if usage is None:
            return None
        total = usage if total is None else total + usage
    return total
