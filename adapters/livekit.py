"""``LLM``: any provider as the language model of a LiveKit agent (the extra ``livekit``).

The only import of livekit. It translates values, limits and errors and nothing else. The provider alone repeats a
request: with LiveKit's own loop around it, one bad minute of a server would cost a dozen.
"""

from __future__ import annotations

import dataclasses
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Never

from adapters._install import install_command
from adapters.errors import AllProvidersFailedError, APIConnectionError, APIError, APITimeoutError, ConfigError
from adapters.provider import with_extras
from adapters.types import ResponseDone, TextDelta

try:
    from livekit import agents
    from livekit.agents import llm, utils
except ImportError as error:
    text = f"adapters.livekit needs LiveKit Agents. Install it with: {install_command('livekit')}"
    raise ImportError(text) from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.provider import LLMProvider
    from adapters.types import Json, Message, StreamEvent, TokenUsage, ToolCall, ToolSpec

_ARGUMENTS = {"messages": "chat_ctx", "tools": "tools"}  # what a provider takes as such -> what it is called here
_CLIENT_CLOSED_REQUEST = 499  # LiveKit takes this status for an answer that nobody waits for, and ends without error


class LLM(llm.LLM[Never]):  # no events but LiveKit's own
    """A LiveKit language model that asks a provider.

    ::

        session = AgentSession(llm=LLM(create_provider("openrouter", model="…")), …)

    Args:
        provider: Who answers. It is closed with this object.
        strict_tool_schema: Whether tools are sent with OpenAI's strict schemas, as LiveKit's own plug-in sends them:
            servers that know them hold the arguments to the schema. Others may refuse them.
    """

    def __init__(self, provider: LLMProvider, *, strict_tool_schema: bool = False) -> None:
        super().__init__()
        self._provider = provider
        self._strict_tool_schema = strict_tool_schema

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
        """Start one answer.

        Args:
            chat_ctx: The conversation.
            tools: Tools that the model may call; LiveKit runs them.
            conn_options: What differs from LiveKit's default counts: ``timeout`` is the time that each try of the
                provider has until its first useful token, ``max_retry`` how often it tries again. The default leaves
                both to the provider, and so are the waits between tries.
            parallel_tool_calls: Whether the model may call several tools at once.
            tool_choice: "auto", "required", "none" or one function.
            response_format: A class of pydantic or an object in OpenAI format. An answer in another form is an error
                at its end; reading it is up to the agent, for LiveKit knows text alone.
            extra_kwargs: Sampling parameters of this request alone, in OpenAI format.

        Returns:
            The running answer.

        Raises:
            ConfigError: If one of ``extra_kwargs`` cannot be sent.
        """
        kwargs = dict(extra_kwargs or {})
        for name, value in kwargs.items():
            _check_extra(name, value)
        if utils.is_given(parallel_tool_calls) and tools:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        if utils.is_given(tool_choice) and tools and tool_choice != "auto":  # which providers do anyway
            kwargs["tool_choice"] = tool_choice
        kwargs = _limits(conn_options) | kwargs
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

    async def aclose(self) -> None:
        """Stop a running prewarm and close the provider."""
        await super().aclose()
        await self._provider.aclose()

    async def _prewarm_impl(self) -> None:
        await self._provider.prewarm()


class _Stream(llm.LLMStream):
    """One running answer; LiveKit calls ``_run`` in a task of its own and cancels that when the person interrupts."""

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
        super().__init__(owner, chat_ctx=chat_ctx, tools=tools, conn_options=conn_options)

    async def _run(self) -> None:
        started = False
        try:
            # No need to close the stream: this waits nowhere but inside it, so that a cancellation goes through it.
            async for event in self._events():
                self._event_ch.send_nowait(_chunk(self._chunk_id, event))
                started = True
        except APIError as error:
            # Without the cause: LiveKit would append its text to ours, and ours is made to be spoken.
            raise _translated(error, started=started) from None

    def _events(self) -> AsyncIterator[StreamEvent]:
        messages: list[Message] = self.chat_ctx.to_provider_format("openai")[0]
        messages = [with_extras(self._provider, message) for message in messages]
        specs: list[ToolSpec] = llm.ToolContext(self.tools).parse_function_tools("openai", strict=self._strict)
        return self._provider.stream_events(messages, specs or None, **self._kwargs)


def _limits(conn_options: agents.APIConnectOptions) -> dict[str, Any]:
    """What the caller wants otherwise than LiveKit does by itself, whose default would be too short for some models."""
    usual = agents.DEFAULT_API_CONNECT_OPTIONS
    limits: dict[str, Any] = {}
    if conn_options.timeout != usual.timeout:
        limits["first_token_timeout"] = conn_options.timeout
    if conn_options.max_retry != usual.max_retry:
        limits["max_retries"] = conn_options.max_retry
    return limits


def _check_extra(name: str, value: Json) -> None:
    """Refuse what would fail deep inside a request, far from where it was written.

    Raises:
        ConfigError: If it is an argument of the call, or no JSON.
    """
    if name in _ARGUMENTS:
        raise ConfigError(f"{name} is no option of extra_kwargs: it is an argument of chat ({_ARGUMENTS[name]}).")
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        found = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        message = (
            f"{name} in extra_kwargs is no JSON but {found}. Write it in OpenAI format, as a dict or a plain value."
        )
        raise ConfigError(message) from error


def _chunk(made_id: str, event: StreamEvent) -> llm.ChatChunk:
    """The chunk of an event, under the server's own id if it told one: LiveKit puts it into metrics and traces."""
    if isinstance(event, ResponseDone):
        return llm.ChatChunk(id=event.response.id or made_id, usage=_usage(event.response.usage))
    if isinstance(event, TextDelta):
        delta = llm.ChoiceDelta(role="assistant", content=event.text)
    else:
        delta = llm.ChoiceDelta(role="assistant", tool_calls=[_call(event.tool_call)])
    return llm.ChatChunk(id=event.response_id or made_id, delta=delta)


def _call(tool_call: ToolCall) -> llm.FunctionToolCall:
    # A list is no arguments: LiveKit does not run the call and tells the model what it reads there.
    arguments = tool_call.arguments if tool_call.error is None else [tool_call.error]
    return llm.FunctionToolCall(
        name=tool_call.name, arguments=json.dumps(arguments, ensure_ascii=False), call_id=tool_call.id
    )


def _usage(usage: TokenUsage | None) -> llm.CompletionUsage | None:
    if usage is None:
        return None
    return llm.CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        prompt_cached_tokens=usage.cached_tokens or 0,
        reasoning_tokens=usage.reasoning_tokens or 0,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )


def _translated(error: APIError, *, started: bool) -> agents.APIError:
    """Return LiveKit's error for ours; nothing that was started may be asked for again."""
    message = str(error)
    retryable = not started and error.retryable
    if isinstance(error, AllProvidersFailedError):  # no status speaks for several servers
        return agents.APIError(message, retryable=retryable)
    if isinstance(error, APITimeoutError):
        return agents.APITimeoutError(message, retryable=retryable)
    if isinstance(error, APIConnectionError):
        return agents.APIConnectionError(message, retryable=retryable)
    status = error.status_code or HTTPStatus.OK
    if status < HTTPStatus.BAD_REQUEST or status == _CLIENT_CLOSED_REQUEST:
        return agents.APIError(message, retryable=retryable)
    return agents.APIStatusError(message, status_code=status, request_id=error.request_id, retryable=retryable)
