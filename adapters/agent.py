"""``run_turn``: the tool loop of one turn, from the person's question to the spoken answer.

It asks the model, runs the tools that the model calls, and asks again, over any ``LLMProvider``, and keeps the
caller's list of messages a valid history whatever happens. How tools are offered and run is the business of
``adapters.tools``; how one request is made is the provider's.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from adapters.provider import closing, stream_without_end
from adapters.telemetry import spans
from adapters.tools.round import ToolRound
from adapters.tools.toolbox import AnyTool, CallTool, Toolbox
from adapters.types import AgentEvent, ResponseDone, TextDelta, TokenUsage, ToolResult, ToolsRunning

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from typing import Unpack

    from adapters.provider import LLMProvider
    from adapters.types import CallOptions, LLMResponse, Message, StreamEvent

__all__ = ["AgentEvent", "AnyTool", "CallTool", "ToolResult", "ToolsRunning", "run_turn"]


async def run_turn(
    provider: LLMProvider,
    messages: list[Message],
    tools: Sequence[AnyTool] | None = None,
    call_tool: CallTool | None = None,
    *,
    max_rounds: int = 5,
    context: object = None,
    tool_timeout_s: float = 10.0,
    filler_after_s: float | None = None,
    **kwargs: Unpack[CallOptions],
) -> AsyncGenerator[AgentEvent, None]:
    """Answer the last message of a conversation, running tools as the model asks for them.

    A tool is a function with type hints and a docstring: they tell the model what to write, and what it wrote is
    validated before the function runs. A function that is not async runs in a thread. The calls of one round run at
    the same time, those that ask the same of the same tool once.

    A person who interrupts is served by closing the generator (``contextlib.aclosing``) or cancelling the task that
    iterates it: the request is closed at once and running tools are cancelled. One that does not stop is left to
    itself after a moment, as every thread is; only a tool that keeps the event loop for itself can hold this up.

    Args:
        provider: Who answers.
        messages: The conversation in OpenAI format. It is extended with everything that was said, called and found,
            also if the turn fails or is stopped halfway: no call is without a result, and an unfinished text is
            there as far as it was yielded.
        tools: Tools that the model may call: functions, ``Tool`` values, what ``mcp_tools`` found, and definitions in
            OpenAI format, in any mixture.
        call_tool: Runs the tools that are only defined. If it or a function raises, the model is told so in one line
            and the turn goes on; ``SystemExit`` and ``KeyboardInterrupt`` end it, when all calls have their results.
        max_rounds: Requests that may call tools. One that may not follows them, so that there is an answer.
        context: Anything; functions with a parameter that is annotated ``ToolContext`` are handed it.
        tool_timeout_s: How long a tool may take that says nothing else. Then the model is told so, and goes on.
        filler_after_s: How long tools may run until ``ToolsRunning`` says so, once a round; None for never.
        **kwargs: Sampling parameters of every request of this turn. A ``tool_choice`` that demands a call holds for
            the first alone, or there would never be an answer.

    Yields:
        ``TextDelta`` as it comes, ``ToolCallDone`` and ``ToolResult`` in the model's order, then one ``ResponseDone``
        for the whole turn: its content is the texts of all rounds, parted by newlines, its usage is their sum (None
        if the server did not count one of them), and it holds no calls, for none is left to run.

    Raises:
        APIError: If a request failed, also after some text.
        ConfigError: If a tool cannot be offered.
    """
    toolbox = Toolbox(tools, call_tool, context=context, timeout_s=tool_timeout_s)
    turn = _Turn(provider, messages, toolbox, kwargs)
    del messages, tools, call_tool, context, kwargs  # tracebacks with the values of variables would show them
    with turn.span:
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
        turn.span.complete(whole := turn.summary())
        yield ResponseDone(whole)


class _Turn:
    """What a turn has come to: its conversation, its tools and its answers, none of which ``repr`` shows."""

    def __init__(self, provider: LLMProvider, messages: list[Message], toolbox: Toolbox, options: CallOptions) -> None:
        self._provider = provider
        self._messages = messages
        self._toolbox = toolbox
        self._options = options
        self._responses: list[LLMResponse] = []
        self._said: list[str] = []  # in the current answer
        self.span = spans.TurnSpan()

    @property
    def rounds(self) -> int:
        """How many answers are there."""
        return len(self._responses)

    @property
    def wants_tools(self) -> bool:
        """Whether the latest answer calls tools."""
        return bool(self._responses[-1].tool_calls)

    async def answer(self, *, may_call: bool) -> AsyncGenerator[StreamEvent, None]:
        """Pass one answer on but for its end, a line break before its first text if something was said before.

        What was said goes into the history; a whole answer with calls is left to ``run_tools``, which writes it
        together with the results. Where there may be none, a provider of an agent's own that calls all the same is not
        heeded.
        """
        lead = any(response.content for response in self._responses)
        self._said = []
        rounds = self.rounds
        tools_follow = False
        try:
            async with closing(self._ask(may_call=may_call)) as events:
                async for event in events:
                    if isinstance(event, ResponseDone):
                        self._responses.append(event.response)
                        tools_follow = may_call and self.wants_tools
                    elif isinstance(event, TextDelta):
                        if lead and not self._said:
                            yield TextDelta("\n")
                        self._said.append(event.text)
                        yield event
                    elif may_call:
                        yield event
                    del event
            if self.rounds == rounds:
                raise stream_without_end(self._provider)
        finally:
            if self._said and not tools_follow:
                self._messages.append({"role": "assistant", "content": "".join(self._said)})

    def _ask(self, *, may_call: bool) -> AsyncIterator[StreamEvent]:
        options = self._options.copy()
        if not may_call:
            options["tool_choice"] = "none"
        elif self._responses and options.get("tool_choice") not in ("auto", "none"):
            options.pop("tool_choice", None)
        return self.span.opens(self._provider.stream_events(self._messages, self._toolbox.specs, **options))

    async def run_tools(self, filler_after_s: float | None) -> AsyncGenerator[ToolResult | ToolsRunning, None]:
        """Run the calls of the latest answer and write calls and results into the history, in order."""
        with self.span.current():
            tool_round = ToolRound(self._responses[-1].tool_calls, self._toolbox)
        try:
            async with aclosing(tool_round.events(filler_after_s)) as events:
                async for event in events:
                    yield event
                    del event
        finally:
            try:
                await tool_round.stop()
            finally:
                self._write(tool_round.results())
                if tool_round.exits:
                    raise tool_round.exits[0]

    def _write(self, results: list[ToolResult]) -> None:
        provider, latest = self._provider, self._responses[-1]
        self._messages += [
            provider.format_tool_call_message(latest.content, latest.tool_calls),
            *(provider.format_tool_result(each.content, each.tool_call.id, each.tool_call.name) for each in results),
        ]

    def summary(self) -> LLMResponse:
        """Sum the rounds up in the last of them."""
        usages = [response.usage for response in self._responses if response.usage is not None]
        usage = TokenUsage(
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
        )
        return replace(
            self._responses[-1],
            content="\n".join(response.content for response in self._responses if response.content) or None,
            tool_calls=[],
            usage=usage if len(usages) == len(self._responses) else None,
        )
