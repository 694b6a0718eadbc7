"""``LLMProvider``: the contract between a voice agent and a language model, with messages in OpenAI format.

Agents call it or subclass it; ``LiteLLMProvider`` and ``FallbackProvider`` implement it. This module does no I/O.
"""

from __future__ import annotations

import gc
import json
import math
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from adapters._arguments import is_whole, read_arguments
from adapters.errors import IncompleteResponseError
from adapters.types import Json, LLMResponse, ResponseDone, TextDelta, ToolCall, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from adapters.tools.mcp_servers import McpServers
    from adapters.types import (
        BaseCallOptions,
        CallOptions,
        Message,
        ParsedT,
        ResponseFormat,
        StreamEvent,
        TokenUsage,
        ToolSpec,
    )

_Item = TypeVar("_Item")


@asynccontextmanager
async def closing(stream: AsyncIterator[_Item]) -> AsyncIterator[AsyncIterator[_Item]]:
    """Close a stream at the end of the block, which ends the request behind it when the consumer stops early.

    Unlike ``contextlib.aclosing``, accept iterators without ``aclose``; the contract allows them.

    Args:
        stream: A stream of ``chat_stream`` or ``stream_events``.

    Yields:
        The same stream.
    """
    try:
        yield stream
    finally:
        if aclose := getattr(stream, "aclose", None):
            await aclose()


def freeze_objects() -> None:
    """Exempt all objects that exist now from garbage collection (``gc.freeze``), less those that are garbage."""
    gc.collect()
    gc.freeze()


def stream_without_end(provider: LLMProvider) -> IncompleteResponseError:
    """The error for a stream of events that ended without ``ResponseDone``."""
    name = provider.provider_name
    text = f"{name} stopped in the middle of its answer. Please try again."
    return IncompleteResponseError(text, provider=name, model=provider.model, retryable=True)


async def whole_answer(events: AsyncIterator[StreamEvent]) -> LLMResponse:
    """Read a stream of events to its end and return the response of its last event."""
    response: LLMResponse | None = None
    async with closing(events) as stream:
        async for event in stream:
            if isinstance(event, ResponseDone):
                response = event.response
    assert response is not None  # noqa: S101 - every stream of events ends with it, or raises
    return response


async def texts_of(events: AsyncIterator[StreamEvent]) -> AsyncGenerator[str, None]:
    """Yield the texts of a stream of events, and close it at the end."""
    async with closing(events) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                yield event.text
            del event  # an error tracker that records variables must not see it


class LLMProvider(ABC):
    """The interface of every language model.

    A subclass must implement ``provider_name``, ``model``, ``chat`` and ``chat_stream``; everything else has a default
    that works with them. A subclass stores the latest response in ``_last_usage`` and ``_last_response``.

    Calls may run concurrently. Data of one call is part of its response: the return value of ``chat``, or the
    ``ResponseDone`` of ``stream_events``. ``last_usage`` and ``last_response`` belong to whichever call finished last,
    so they are for agents that make one call after the other.
    """

    mcp_servers: McpServers | None = None
    """The MCP servers of the configuration, set by ``create_provider``; None if it has none. ``prewarm`` or the first
    ``await mcp_servers.tools()`` connects to them, ``aclose`` closes them."""

    _last_usage: TokenUsage | None = None  # CAAL reads it by this name after chat and after chat_stream
    _last_response: LLMResponse | None = None

    @property
    @abstractmethod
    def provider_name(self) -> str:
        """Name of the provider, for logs and for spoken errors."""

    @property
    @abstractmethod
    def model(self) -> str:
        """Name of the model, as the server knows it."""

    @property
    def supports_think(self) -> bool:
        """Whether thinking can be switched on and off (the ``think`` option)."""
        return False

    @property
    def last_usage(self) -> TokenUsage | None:
        """Usage of the latest call, or None if it has not finished or its server reported none."""
        return self._last_usage

    @property
    def last_response(self) -> LLMResponse | None:
        """Response of the latest call, or None if it has not finished; after ``chat_stream`` it has the rest."""
        return self._last_response

    @abstractmethod
    async def chat(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None = None,
        *,
        response_format: ResponseFormat[ParsedT] | None = None,
        **kwargs: Unpack[BaseCallOptions],
    ) -> LLMResponse[ParsedT]:
        """Send one request and return the complete response, which may contain tool calls.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call, in OpenAI format; with them ``tool_choice`` is "auto".
            response_format: Required form of the response: a type, or OpenAI's object (``{"type": "json_schema", …}``).
            **kwargs: Options of this call alone, see ``adapters.types.CallOptions``: ``timeout``, ``max_retries``,
                ``extra_headers`` and ``extra_body`` as in OpenAI's SDK, and sampling parameters such as
                ``temperature``. ``tool_choice="none"`` forbids tool calls. Other keywords become fields of the body.

        Returns:
            The response. Its ``parsed`` holds the content in the form of ``response_format``.

        Raises:
            APIError: If the request failed, or the response is empty, truncated or unreadable.
            BadRequestError: If the server refuses ``response_format``; the request is never sent without it.
            IncompleteResponseError: If the response does not match ``response_format``, also after another request.
            ConfigError: If an argument is invalid, or a keyword looks like a misspelling.
        """

    @abstractmethod
    def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[str]:
        """Stream the text of one response; tool calls are forbidden (``tool_choice`` "none").

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the history mentions. They are sent because some servers check the history against
                them; they are not called.
            **kwargs: Options of this call alone, as for ``chat``.

        Yields:
            Pieces of text, safe to speak at once.

        Raises:
            APIError: If the request failed, also after some text: text that was yielded stays valid.
        """

    async def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and tool calls of one response, from one request.

        The default implementation calls ``chat`` and emits the parts of the response; with ``tool_choice`` "none" it
        calls ``chat_stream``.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call, in OpenAI format.
            **kwargs: Options of this call alone, as for ``chat``. With ``tool_choice="none"`` tool calls are
                forbidden, as in ``chat_stream``.

        Yields:
            ``TextDelta`` as it arrives, then ``ToolCallDone`` for each call, then one ``ResponseDone``.

        Raises:
            APIError: If the request failed, also after some text: text that was yielded stays valid.
        """
        if kwargs.get("tool_choice") == "none":
            del kwargs["tool_choice"]
            spoken = []
            self._last_usage = self._last_response = None  # a subclass that stores none would show an earlier call's
            stream = self.chat_stream(messages, tools, **kwargs)
            del messages, tools, kwargs  # tracebacks with the values of variables would show them
            async with closing(stream) as texts:
                async for text in texts:
                    spoken.append(text)
                    yield TextDelta(text)
            known = self.last_response or LLMResponse(None, usage=self.last_usage)
            yield ResponseDone(replace(known, content="".join(spoken) or None, tool_calls=[]))
            return
        calling = self.chat(messages, tools, **kwargs)
        del messages, tools, kwargs  # as above
        response = await calling
        if response.content:
            yield TextDelta(response.content, response.id)
        for tool_call in response.tool_calls:
            yield ToolCallDone(tool_call, response.id)
        yield ResponseDone(response)

    async def prewarm(
        self,
        messages: list[Message] | None = None,  # noqa: ARG002 - for providers that prefill
        tools: list[ToolSpec] | None = None,  # noqa: ARG002 - as above
        *,
        freeze_gc: bool = False,
        **kwargs: Unpack[CallOptions],  # noqa: ARG002 - as above
    ) -> None:
        """Load slow dependencies and open the connection, so that the first turn is as fast as the others.

        A server that cannot be reached is logged and is not an error: it may be up by the first turn.

        Args:
            messages: The conversation before the first question. A provider may send it ahead, so that the server has
                evaluated it by then.
            tools: The tools of the first question.
            freeze_gc: Whether to exempt all objects that the process has then from garbage collection.
            **kwargs: The options of the first question, as for ``chat``.
        """
        if freeze_gc:
            freeze_objects()

    async def _prewarm(self) -> None:
        """Do what ``prewarm`` does, but raise what it only logs. Used by ``FallbackProvider``.

        Raises:
            APIError: If the server cannot be reached. A subclass whose ``prewarm`` logs that overrides this too.
        """
        await self.prewarm()

    async def _prefill(  # noqa: B027 - optional: a provider without a server's prefix cache keeps this
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        since_s: float = math.inf,
    ) -> None:
        """Do the part of ``prewarm`` that is about messages, if its settings want that unasked.

        ``FallbackProvider`` and the plug-ins use it: a paid service charges for each prompt.

        Args:
            messages: The conversation before the first question.
            tools: The tools of the first question.
            options: Its options.
            since_s: When the prewarm began, on the monotonic clock: a question since then has sent the messages itself.

        Raises:
            ConfigError: If an argument is wrong. A failure of the server is only logged.
        """

    async def _probe(self) -> None:
        """Find out with one cheap request whether the provider is available. Used by ``FallbackProvider``.

        Raises:
            APIError: If it is not.
        """
        await self._prewarm()

    async def _load(self) -> None:  # noqa: B027 - optional: a provider with nothing to load keeps this
        """Load the code that requests need. Used by ``FallbackProvider``, whose clocks start after that."""

    def _check_arguments(  # noqa: B027 - optional: a provider without rules of its own keeps this
        self, messages: list[Message], tools: list[ToolSpec] | None, options: Mapping[str, Any]
    ) -> None:
        """Raise what a call with these arguments would raise at once. Used by ``FallbackProvider``.

        Raises:
            ConfigError: If an argument is wrong.
        """

    def _stream_for_group(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        on_first_token: Callable[[], None],  # noqa: ARG002 - for providers that know it before their first event
        first_token_s: float | None,  # noqa: ARG002 - for providers with a limit of their own
        first_text_s: float | None = None,  # noqa: ARG002 - for providers that can tell text from reasoning
        on_queue: Callable[[bool], None] | None = None,  # noqa: ARG002 - for providers with max_concurrent
    ) -> AsyncIterator[StreamEvent]:
        """Do what ``stream_events`` does, and report progress to a ``FallbackProvider``.

        A provider that overrides this does not repeat a request that timed out: the group asks another provider.

        Args:
            messages: The conversation.
            tools: The tools.
            options: The keyword arguments of the call.
            on_first_token: Is to be called at the first useful token, which may be long before the first event.
            first_token_s: Seconds that the group waits for that token, or None. The group enforces the limit; a
                provider with a shorter limit of its own must extend it to this one.
            first_text_s: Seconds until the first text or tool call, or None for the provider's own limit. The provider
                enforces it.
            on_queue: Is to be called with True when the request waits for others of the same provider, and with False
                when it is sent.
        """
        return self.stream_events(messages, tools, **options)

    def _hedge_after_s(self) -> float | None:
        """Return the 95th percentile of the recent times to first token, for a group's ``hedge_after_s: auto``.

        None if it is not known: then no other provider is asked beside this one.
        """
        return None

    async def aclose(self) -> None:  # noqa: B027 - optional: a provider that holds nothing keeps this
        """Close the connections and the MCP servers, and stop a server that this provider started."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def prepare_tools(self, tools: list[ToolSpec]) -> list[ToolSpec]:
        """Return the tools in the form that this provider needs; unchanged by default.

        The provider calls this itself, once per call. Callers, also a ``FallbackProvider``, pass tools through
        unchanged.
        """
        return tools

    def parse_tool_arguments(self, arguments: Json) -> dict[str, Json]:
        """Parse a tool call's arguments in every form that servers use; never raise.

        Args:
            arguments: A JSON string, an object, None, or anything else.

        Returns:
            The arguments as an object; ``{}`` if they are empty or unreadable.
        """
        return read_arguments(arguments)[0]

    def format_tool_result(self, content: str, tool_call_id: str | None, tool_name: str | None = None) -> Message:
        """Build the message that returns a tool's result to the model.

        Args:
            content: The result as text.
            tool_call_id: ``ToolCall.id`` of the call.
            tool_name: ``ToolCall.name`` of the call (Ollama matches results by name).

        Returns:
            A message with role ``tool``.
        """
        return {"role": "tool", "tool_call_id": tool_call_id, "name": tool_name, "content": content}

    def format_tool_call_message(self, content: str | None, tool_calls: Sequence[ToolCall]) -> Message:
        """Build the assistant message that records tool calls.

        Gemini rejects a history whose calls lack their thought signatures, and OpenRouter one without
        ``reasoning_details``: the message holds what is in ``ToolCall.provider_fields``.

        Args:
            content: The text beside the calls.
            tool_calls: The calls.

        Returns:
            A message with role ``assistant``. Its content is None when there is no text: text-generation-inference
            drops the calls of a message whose content is an empty string.
        """
        message: Message = {
            "role": "assistant",
            "content": content or None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
                }
                for call in tool_calls
            ],
        }
        return add_provider_fields(message, [call.provider_fields for call in tool_calls])


def add_provider_fields(message: Message, provider_fields: Iterable[Mapping[str, Json]]) -> Message:
    """Add provider fields to an assistant message; a field that is there already is kept.

    Args:
        message: An assistant message with calls; it is changed.
        provider_fields: ``ToolCall.provider_fields`` of each of its calls.

    Returns:
        The same message.
    """
    for call, fields in zip(message["tool_calls"], provider_fields, strict=True):
        for target, part in ((message, "message"), (call, "call"), (call["function"], "function")):
            if isinstance(values := fields.get(part), dict):  # a store may have changed it
                for name, value in values.items():
                    target.setdefault(name, value)
    return message


def with_formatted_calls(
    provider: LLMProvider, message: Message, provider_fields: Sequence[Mapping[str, Json]] | None = None
) -> Message:
    """Write the calls of a message that a framework made as the provider formats them.

    Args:
        provider: The provider that is asked next.
        message: A message in OpenAI format; it is not changed.
        provider_fields: ``ToolCall.provider_fields`` of each call, if the framework has kept them.

    Returns:
        The formatted message; the same one if it has no calls, or anything else among them. Arguments stay as they
        were written if they can be read: other white space would cost the server what it has cached.
    """
    calls = message.get("tool_calls")
    if not calls or not all(_is_call(call) for call in calls):
        return message
    tool_calls = [
        ToolCall(
            call.get("id") or "",
            call["function"]["name"],
            provider.parse_tool_arguments(call["function"].get("arguments")),
            provider_fields=fields,
        )
        for call, fields in zip(calls, provider_fields or [{}] * len(calls), strict=True)
    ]
    formatted = provider.format_tool_call_message(message.get("content"), tool_calls)
    merged = [
        {**old, **new, "function": _merged_function(old["function"], new["function"])}
        for old, new in zip(calls, formatted["tool_calls"], strict=True)
    ]
    return {**message, **formatted, "tool_calls": merged}


def _merged_function(old: dict[str, Json], new: dict[str, Json]) -> dict[str, Json]:
    arguments = old.get("arguments")
    return {**old, **new, "arguments": arguments if is_whole(arguments) else new["arguments"]}


def _is_call(call: Json) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)
