"""``LiteLLMProvider``: the one adapter. It builds one request, has LiteLLM send it, and shapes the answer.

``chat``, ``chat_stream`` and ``stream_events`` are one flow: ask, read chunk by chunk, close the answer. What a
body means is read in ``wire`` and ``answer``, what a server does not take is remembered in ``request``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from adapters import telemetry
from adapters.answer.answer import Answer, CallInsteadOfText
from adapters.attempt import attempt
from adapters.call import Call
from adapters.errors import APIError, IncompleteResponseError, kind_of
from adapters.models import find_model
from adapters.provider import LLMProvider, whole_answer
from adapters.request.build import build_request
from adapters.request.extras import Extras
from adapters.request.learned import Learned
from adapters.request.question import question_of
from adapters.request.response_format import Misshapen
from adapters.retry import with_retries
from adapters.types import ResponseDone, TextDelta
from adapters.wire.connection import Connection
from adapters.wire.deadlines import Deadlines
from adapters.wire.errors import failures
from adapters.wire.errors.upstream import UpstreamError
from adapters.wire.rehearsal import ROUNDS, Rehearsal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from adapters.config import ProviderConfig, RetryConfig
    from adapters.local import LocalServer
    from adapters.request.question import Question
    from adapters.types import LLMResponse, Message, StreamEvent, ToolCall, ToolSpec

logger = logging.getLogger(__name__)


class LiteLLMProvider(LLMProvider):
    """Any provider that speaks OpenAI's chat completions, through LiteLLM.

    Args:
        config: The provider, with its secrets looked up (``create_provider`` does that).
        server: The embedded server of kind ``local``; it is started by the first request and stopped by ``aclose``.
    """

    def __init__(self, config: ProviderConfig, *, server: LocalServer | None = None) -> None:
        self._config = config
        self._connection = Connection(config, server)
        self._learned = Learned(config.name)
        self._extras = Extras()
        self._is_rehearsed = False
        if config.prewarm:
            self._connection.begin_loading()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.provider_name!r}, model={self.model!r})"

    @property
    def provider_name(self) -> str:
        """Name of the provider: its row in the configuration, or its kind."""
        return self._config.name

    @property
    def model(self) -> str:
        """Name of the model, as the server knows it."""
        return self._config.model

    @property
    def supports_think(self) -> bool:
        """Whether thinking can be switched on and off."""
        return self._config.kind == "ollama"

    @property
    def think(self) -> bool | None:
        """Whether the model thinks before it answers; None leaves it to the model."""
        return self._config.think

    @property
    def temperature(self) -> float | None:
        """Sampling temperature, or None if the server decides."""
        return self._config.temperature

    @property
    def num_ctx(self) -> int | None:
        """Wanted context window in tokens (Ollama), or None."""
        return self._config.num_ctx

    async def chat(self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any) -> LLMResponse:
        """Ask once and wait for the whole answer; see ``LLMProvider.chat``."""
        call = Call(self._question(messages, tools, kwargs, stream=False))
        del messages, tools, kwargs  # tracebacks with the values of variables would show them
        try:
            return await whole_answer(self._events(call))
        except IncompleteResponseError as error:
            if not self._may_reshape(call, error):
                raise
            logger.info("%s: the answer has another form; asked once more", self.provider_name)
        return await whole_answer(self._events(call))

    async def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Stream the text of one answer, without calls; see ``LLMProvider.chat_stream``."""
        call = Call(self._question(messages, tools, {**kwargs, "tool_choice": "none"}, stream=True))
        del messages, tools, kwargs  # as in ``chat``
        async with aclosing(self._events(call)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event.text

    def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and calls of one answer, from one request; see ``LLMProvider.stream_events``."""
        return self._events(Call(self._question(messages, tools, kwargs, stream=True)))

    def _events_in_group(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        began: Callable[[], None],
        first_token_s: float | None,
    ) -> AsyncIterator[StreamEvent]:
        if (first_token_s or 0.0) > self._config.timeouts.first_token_s:
            options = {**options, "first_token_timeout": first_token_s}
        return self._events(Call(self._question(messages, tools, dict(options), stream=True), on_useful=began))

    async def prewarm(self) -> None:
        """Load LiteLLM and open the connection; a server that cannot be reached is only logged."""
        try:
            await self._prewarm()
        except APIError as error:
            logger.warning("%s: warming up failed (%s).", self.provider_name, kind_of(error))

    async def _prewarm(self) -> None:
        await asyncio.to_thread(telemetry.load)
        listed = await self._connection.prewarm()
        if self._config.kind == "openrouter" and not self._config.models:
            self._learn_model(listed)
        if self._is_rehearsed:
            return
        try:
            await self._rehearse()
        except APIError as error:
            logger.info("The rehearsal failed; the first request will tell more: %s", error)
        self._is_rehearsed = True

    def _learn_model(self, listed: bytes) -> None:
        """Read what OpenRouter says of the model: what it heeds, and whether it is there and can call tools at all."""
        model, meant = find_model(listed, self.model)
        if model is None:
            if meant:
                logger.warning("%s does not list %s. Was %s meant?", self.provider_name, self.model, " or ".join(meant))
            return
        if model.supports_tools is False:
            logger.warning("%s: %s cannot call tools.", self.provider_name, self.model)
        if model.supported_parameters is not None:
            self._learned.learn_parameters(model.supported_parameters)

    async def _rehearse(self) -> None:
        """Have another one like this go through all of an answer but the network and the telemetry."""
        other = LiteLLMProvider(self._config)
        other._connection = Rehearsal(self._config)
        question: list[Message] = [{"role": "user", "content": "-"}]
        with telemetry.unheard():
            for _ in range(ROUNDS):
                await whole_answer(other.stream_events(question, max_retries=0))
                await other.chat(question, max_retries=0)

    async def aclose(self) -> None:
        """Close the connections of this event loop and stop the embedded server."""
        await self._connection.aclose()

    def format_tool_call_message(self, content: str | None, tool_calls: Sequence[ToolCall]) -> Message:
        """Build the assistant message of these calls, with what the provider wants back beside them.

        Gemini rejects a conversation whose calls come back without their thought signature, and OpenRouter one
        without ``reasoning_details``.
        """
        return self._extras.attach(super().format_tool_call_message(content, tool_calls))

    def _question(
        self, messages: list[Message], tools: list[ToolSpec] | None, options: dict[str, Any], *, stream: bool
    ) -> Question:
        """Read the caller's arguments; ``tool_choice`` "none" among the options asks for text alone."""
        choice: Literal["auto", "none"] = "auto"
        if options.get("tool_choice") == "none":
            choice = "none"
            options = {name: value for name, value in options.items() if name != "tool_choice"}
        prepared = self.prepare_tools(tools or [])
        return question_of(messages, prepared, tool_choice=choice, stream=stream, options=options)

    def _may_reshape(self, call: Call, error: IncompleteResponseError) -> bool:
        """Whether another answer may have the form that this one has not; who wants no retries gets none."""
        return isinstance(error.__cause__, Misshapen) and error.retryable and self._policy_for(call).attempts > 1

    async def _events(self, call: Call) -> AsyncGenerator[StreamEvent, None]:
        """One answer; a try that fails before its first event is repeated if the policy allows it."""
        self._last_usage = self._last_response = None
        call.begin()
        with telemetry.Chat(self._config.kind, self._connection.origin, streams=call.question.stream) as chat:
            with chat.current():
                first, events, answer = await with_retries(
                    self._policy_for(call), partial(self._begin, call, chat), after_timeouts=call.on_useful is None
                )
            chat.begins()
            async with aclosing(events):
                yield self._noted(first, answer, call, chat)
                async for event in events:
                    yield self._noted(event, answer, call, chat)

    def _policy_for(self, call: Call) -> RetryConfig:
        """The retries of one call: none begins, and none is waited for, once the time for the whole call is over."""
        policy, question = self._config.retry, call.question
        total_s = self._config.timeouts.total_s if question.timeout_s is None else question.timeout_s
        update: dict[str, float] = {}
        if total_s < policy.deadline_s:
            update["deadline_s"] = total_s
        if question.max_retries is not None:
            update["attempts"] = question.max_retries + 1
        return policy.model_copy(update=update) if update else policy

    async def _begin(
        self, call: Call, chat: telemetry.Chat, number: int
    ) -> tuple[StreamEvent, AsyncGenerator[StreamEvent, None], Answer]:
        """Ask until the first event is there; what the server refuses by name is left out and asked again.

        Args:
            call: What is asked, and since when.
            chat: Is told of each request.
            number: Which try it is, from 1.
        """
        question = call.question
        request = build_request(question, self._config, self._learned)
        timeouts = self._config.timeouts
        if question.first_token_s is not None:
            timeouts = timeouts.model_copy(update={"first_token_s": question.first_token_s})
        while True:
            chat.tries(request.messages, request.body)
            answer = self._new_answer(question)
            deadlines = Deadlines(
                timeouts,
                streamed=question.stream,
                total_s=question.timeout_s,
                began_s=call.began_s,
                retry_s=self._config.retry.deadline_s if number > 1 else None,
                on_useful=call.on_useful,
            )
            call.sends(request)
            events = attempt(self._connection, request, answer, deadlines)
            error: APIError
            try:
                return call.answers(await anext(events)), events, answer
            except CallInsteadOfText:
                self._learned.learn_from_call()
                error = failures.incomplete(failures.NO_CALL, self._connection.origin)
            except APIError as failed:
                if isinstance(failed.__cause__, UpstreamError):
                    self._learned.learn_from_refusal(failed.__cause__, request)
                error = failed
            refused, request = request, build_request(question, self._config, self._learned)
            if request == refused:
                raise error

    def _new_answer(self, question: Question) -> Answer:
        return Answer(
            self._connection.origin,
            question.schemas,
            wants_text=question.wants_text,
            reasoning_first=self._learned.reasoning_first,
            most_calls=self._config.limits.calls,
            most_reasoning_chars=self._config.limits.reasoning_chars,
        )

    def _noted(self, event: StreamEvent, answer: Answer, call: Call, chat: telemetry.Chat) -> StreamEvent:
        """Remember what the last event brings: the answer, its usage, and what the provider wants back.

        Raises:
            IncompleteResponseError: If the whole answer has not the form that was asked for.
        """
        if not isinstance(event, ResponseDone):
            return event
        outcome = answer.outcome
        assert outcome is not None  # noqa: S101 - the answer made the event of it
        self._learned.learn_reasoning(first=outcome.began_with_reasoning)
        self._extras.remember(event.response.tool_calls, outcome.extras, outcome.echo)
        self._last_usage = event.response.usage
        try:
            self._last_response = call.completed(event.response)
        except Misshapen as error:
            raise failures.misshapen(self._connection.origin, cut=answer.is_cut) from error
        chat.answers(self._last_response)
        return ResponseDone(self._last_response)
