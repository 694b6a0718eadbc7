"""``LLM``: any provider as the language model of a LiveKit agent (the extra ``livekit``).

The only module that imports livekit. It converts values, limits and errors. Only the provider retries: with LiveKit's
own retry loop around it, one failing server would get a dozen requests for one answer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import weakref
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Never

from adapters._call_ids import make_call_id
from adapters._install import install_command
from adapters.errors import AllProvidersFailedError, APIConnectionError, APIError, APITimeoutError, ConfigError
from adapters.provider import stream_without_end, with_formatted_calls
from adapters.types import ResponseDone, TextDelta

try:
    from livekit import agents
    from livekit.agents import llm, utils
    from livekit.agents.voice.agent_activity import AgentActivity
except ImportError as error:
    text = f"adapters.livekit needs LiveKit Agents. Install it with: {install_command('livekit')}"
    raise ImportError(text) from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from adapters.provider import LLMProvider
    from adapters.types import Json, Message, StreamEvent, TokenUsage, ToolCall, ToolSpec

_ARGUMENTS = {"messages": "chat_ctx", "tools": "tools"}  # a provider's argument -> its name in ``chat``
_CLIENT_CLOSED_REQUEST = 499  # for LiveKit this status is an abandoned request, which ends without an error
_OUR_EXTRA = "adapters"
"""The key of ``FunctionCall.extra`` under which ``ToolCall.provider_fields`` is kept."""
_LIVEKIT_EXTRAS = ("google", "xai")
"""Fields of ``extra_content`` that LiveKit's own plug-ins keep in ``FunctionCall.extra`` under the same keys."""


class LLM(llm.LLM[Never]):  # it emits LiveKit's own events and no others
    """A LiveKit language model that sends its requests through a provider.

    ::

        session = AgentSession(llm=LLM(create_provider("openrouter", model="…")), …)

    Fields that a provider needs back with a tool call (a thought signature, reasoning) are kept in
    ``FunctionCall.extra``. So they survive a handoff to another ``LLM``, and a chat context that is stored.

    When a session starts, and when its agent changes, the provider gets the agent's instructions, history and tools
    ahead of the first question (``LLMProvider.prewarm``), if its server is local or it has ``prefill: true``.

    Args:
        provider: The provider. It is closed with this object.
        strict_tool_schema: Whether tools are sent with OpenAI's strict schemas, as LiveKit's own plug-in sends them.
            Servers that support them hold the arguments to the schema; others may reject them.
        allow_silence: Whether a response without text and calls is a turn in which the agent says nothing. LiveKit
            asks the model for one when a background tool brings what was said already. Otherwise it is an error, which
            the provider retries.
    """

    def __init__(self, provider: LLMProvider, *, strict_tool_schema: bool = False, allow_silence: bool = False) -> None:
        super().__init__()
        self._provider = provider
        self._strict_tool_schema = strict_tool_schema
        self._allow_silence = allow_silence
        self._prefills: weakref.WeakKeyDictionary[agents.AgentSession[Any], asyncio.Task[None]] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def model(self) -> str:
        """Name of the model, for metrics."""
        return self._provider.model

    @property
    def provider(self) -> str:
        """Name of the provider, for metrics."""
        return self._provider.provider_name

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: agents.APIConnectOptions = agents.DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: agents.NotGivenOr[bool] = agents.NOT_GIVEN,
        tool_choice: agents.NotGivenOr[llm.ToolChoice] = agents.NOT_GIVEN,
        response_format: agents.NotGivenOr[type[Any] | dict[str, Any]] = agents.NOT_GIVEN,
        extra_kwargs: agents.NotGivenOr[dict[str, Any]] = agents.NOT_GIVEN,
    ) -> llm.LLMStream:
        """Start one request.

        Args:
            chat_ctx: The conversation.
            tools: Tools that the model may call; LiveKit runs them.
            conn_options: A value that differs from LiveKit's default is obeyed: ``timeout`` is the time until the
                first useful token of each attempt, ``max_retry`` the number of retries. A default value leaves it to
                the provider, as does the wait between attempts.
            parallel_tool_calls: Whether the model may call several tools at once.
            tool_choice: "auto", "required", "none" or one function.
            response_format: A pydantic class or an object in OpenAI format. A response that does not match it is an
                error at its end. The agent parses the text itself, because LiveKit passes on text only.
            extra_kwargs: Sampling parameters of this request, in OpenAI format.

        Returns:
            The stream of the response.

        Raises:
            ConfigError: If one of ``extra_kwargs`` cannot be sent.
        """
        kwargs = dict(extra_kwargs or {})
        for name, value in kwargs.items():
            _check_extra(name, value)
        if utils.is_given(parallel_tool_calls) and tools:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        if utils.is_given(tool_choice) and tools and tool_choice != "auto":  # "auto" is the default of providers
            kwargs["tool_choice"] = tool_choice
        kwargs = _limits(conn_options) | kwargs
        if self._allow_silence:
            kwargs.setdefault("allow_empty", True)
        if utils.is_given(response_format):
            kwargs["response_format"] = response_format
        once = dataclasses.replace(conn_options, max_retry=0)
        return _Stream(
            self,
            self._provider,
            kwargs,
            strict=self._strict_tool_schema,
            chat_ctx=chat_ctx,
            tools=tools or [],
            conn_options=once,
        )

    def on(self, event: Any, callback: Callable[..., Any] | None = None) -> Callable[..., Any]:  # noqa: ANN401 - LiveKit's own names of events
        """Register a callback. If an agent that starts registers its own, its prompt is prefilled.

        LiveKit tells a model of no agent before the first request; this is where it shows.

        Args:
            event: The name of the event.
            callback: Its callback, or None to decorate one.
        """
        activity = getattr(callback, "__self__", None)
        if event == "metrics_collected" and isinstance(activity, AgentActivity):
            if former := self._prefills.pop(activity.session, None):
                former.cancel()  # of the agent before
            self._prefills[activity.session] = asyncio.create_task(self._prefill(activity))
        return super().on(event, callback)

    async def _prefill(self, activity: AgentActivity) -> None:
        with suppress(ConfigError):  # the first question raises it
            messages = _messages(activity.agent.chat_ctx, self._provider)
            specs = _specs(activity.tools, strict=self._strict_tool_schema)
            await self._provider._prefill(messages, specs, {})  # noqa: SLF001 - of the contract, for plug-ins

    async def aclose(self) -> None:
        """Stop a running prewarm or prefill and close the provider."""
        for task in self._prefills.values():
            task.cancel()
        await super().aclose()
        await self._provider.aclose()

    async def _prewarm_impl(self) -> None:
        await self._provider.prewarm()


class _Stream(llm.LLMStream):
    """One request and its response; LiveKit runs ``_run`` as a task and cancels it when the user interrupts."""

    def __init__(
        self,
        owner: LLM,
        provider: LLMProvider,
        kwargs: dict[str, Any],
        *,
        strict: bool,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        conn_options: agents.APIConnectOptions,
    ) -> None:
        self._provider = provider
        self._kwargs = kwargs
        self._strict = strict
        self._chunk_id = utils.shortuuid("chatcmpl_")
        # LiveKit drops all but the latest of several calls with one id, and some servers use the same ids in each turn.
        self._taken_ids = {item.call_id for item in chat_ctx.items if isinstance(item, llm.FunctionCall)}
        super().__init__(owner, chat_ctx=chat_ctx, tools=tools, conn_options=conn_options)

    async def _run(self) -> None:
        started = is_complete = False
        try:
            # Closing the stream is not needed: the only wait is inside it, so a cancellation passes through it.
            async for event in self._events():
                self._event_ch.send_nowait(self._chunk(event))
                started, is_complete = True, isinstance(event, ResponseDone)
            if not is_complete:
                raise stream_without_end(self._provider)
        except APIError as error:
            # Without the cause, whose text LiveKit would append to a message that is meant to be spoken.
            raise _convert_error(error, started=started) from None

    def _events(self) -> AsyncIterator[StreamEvent]:
        messages, specs = _messages(self.chat_ctx, self._provider), _specs(self.tools, strict=self._strict)
        return self._provider.stream_events(messages, specs, **self._kwargs)

    def _chunk(self, event: StreamEvent) -> llm.ChatChunk:
        """Convert an event; the id is the server's own if there is one, for LiveKit's metrics and traces."""
        if isinstance(event, ResponseDone):
            return llm.ChatChunk(id=event.response.id or self._chunk_id, usage=_usage(event.response.usage))
        chunk_id = event.response_id or self._chunk_id
        if isinstance(event, TextDelta):
            delta = llm.ChoiceDelta(role="assistant", content=event.text)
            return llm.ChatChunk(id=chunk_id, delta=delta, usage=_usage(event.usage))
        delta = llm.ChoiceDelta(role="assistant", tool_calls=[self._call(event.tool_call)])
        return llm.ChatChunk(id=chunk_id, delta=delta)

    def _call(self, tool_call: ToolCall) -> llm.FunctionToolCall:
        # Arguments that are a list make LiveKit refuse the call and send the list to the model as the reason.
        arguments = tool_call.arguments if tool_call.error is None else [tool_call.error]
        return llm.FunctionToolCall(
            name=tool_call.name,
            arguments=json.dumps(arguments, ensure_ascii=False),
            call_id=make_call_id() if tool_call.id in self._taken_ids else tool_call.id,
            extra=_extra(tool_call.provider_fields),
        )


def _specs(tools: Sequence[llm.Tool | llm.Toolset], *, strict: bool) -> list[ToolSpec] | None:
    """The definitions of tools in OpenAI format, or None if there are none."""
    return llm.ToolContext(tools).parse_function_tools("openai", strict=strict) or None


def _messages(chat_ctx: llm.ChatContext, provider: LLMProvider) -> list[Message]:
    """The conversation in OpenAI format, with the provider fields of its calls."""
    kept = {
        (item.call_id, item.name, item.arguments): item.extra.get(_OUR_EXTRA)
        for item in chat_ctx.items
        if isinstance(item, llm.FunctionCall)
    }
    messages: list[Message] = []
    for message in chat_ctx.to_provider_format("openai")[0]:
        fields = [
            kept.get((call["id"], call["function"]["name"], call["function"]["arguments"]))
            for call in message.get("tool_calls", [])
        ]
        messages.append(
            with_formatted_calls(provider, message, [part if isinstance(part, dict) else {} for part in fields])
        )
    return messages


def _extra(provider_fields: Mapping[str, Json]) -> dict[str, Any] | None:
    """What LiveKit keeps beside a call: our fields, and those that its own plug-ins look for."""
    if not provider_fields:
        return None
    content = provider_fields.get("call", {}).get("extra_content")
    known = {key: content[key] for key in _LIVEKIT_EXTRAS if key in content} if isinstance(content, dict) else {}
    return {**known, _OUR_EXTRA: provider_fields}


def _limits(conn_options: agents.APIConnectOptions) -> dict[str, Any]:
    """The limits that the caller changed: LiveKit's defaults are too short for some models."""
    defaults = agents.DEFAULT_API_CONNECT_OPTIONS
    limits: dict[str, Any] = {}
    if conn_options.timeout != defaults.timeout:
        limits["first_token_timeout"] = conn_options.timeout
    if conn_options.max_retry != defaults.max_retry:
        limits["max_retries"] = conn_options.max_retry
    return limits


def _check_extra(name: str, value: Json) -> None:
    """Reject a value here that would fail later, inside the request.

    Raises:
        ConfigError: If it is an argument of ``chat``, or not JSON.
    """
    if name in _ARGUMENTS:
        raise ConfigError(f"{name} is not an option of extra_kwargs: it is an argument of chat ({_ARGUMENTS[name]}).")
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        found = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        advice = "Write it in OpenAI format, as a dict or a plain value."
        raise ConfigError(f"{name} in extra_kwargs is {found}, which is not JSON. {advice}") from error


def _usage(usage: TokenUsage | None) -> llm.CompletionUsage | None:
    if usage is None:
        return None
    return llm.CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        prompt_cached_tokens=usage.cached_tokens or 0,
        cache_creation_tokens=usage.cache_write_tokens or 0,
        reasoning_tokens=usage.reasoning_tokens or 0,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )


def _convert_error(error: APIError, *, started: bool) -> agents.APIError:
    """Return LiveKit's error for ours; a response that has started is not retryable."""
    message = str(error)
    retryable = not started and error.retryable
    if isinstance(error, AllProvidersFailedError):  # several servers have no common status
        return agents.APIError(message, retryable=retryable)
    if isinstance(error, APITimeoutError):
        return agents.APITimeoutError(message, retryable=retryable)
    if isinstance(error, APIConnectionError):
        return agents.APIConnectionError(message, retryable=retryable)
    status = error.status_code or HTTPStatus.OK
    if status < HTTPStatus.BAD_REQUEST or status == _CLIENT_CLOSED_REQUEST:
        return agents.APIError(message, retryable=retryable)
    return agents.APIStatusError(message, status_code=status, request_id=error.request_id, retryable=retryable)
