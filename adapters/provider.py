"""``LLMProvider``: the contract that a voice agent consumes, with the OpenAI message format as default.

CAAL and other agents subclass or call this; ``LiteLLMProvider`` and ``FallbackProvider`` implement it. Nothing
here touches the network.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from adapters._arguments import is_whole, read_arguments
from adapters.types import Json, LLMResponse, ResponseDone, TextDelta, ToolCall, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from adapters.types import Message, StreamEvent, TokenUsage, ToolSpec

_Item = TypeVar("_Item")


@asynccontextmanager
async def closing(stream: AsyncIterator[_Item]) -> AsyncIterator[AsyncIterator[_Item]]:
    """Close a stream at the end of the block: only that ends the request behind it when a listener walks away.

    Unlike ``contextlib.aclosing`` it takes iterators that cannot be closed; the contract allows them.

    Args:
        stream: What ``chat_stream`` or ``stream_events`` returned.

    Yields:
        The same stream.
    """
    try:
        yield stream
    finally:
        if aclose := getattr(stream, "aclose", None):
            await aclose()


async def whole_answer(events: AsyncIterator[StreamEvent]) -> LLMResponse:
    """Read a stream of events to its end; returns the answer that its last event holds."""
    response: LLMResponse | None = None
    async with closing(events) as stream:
        async for event in stream:
            if isinstance(event, ResponseDone):
                response = event.response
    assert response is not None  # noqa: S101 - every stream of events ends with it, or raises
    return response


class LLMProvider(ABC):
    """What an agent may ask of any language model.

    Only ``provider_name``, ``model``, ``chat`` and ``chat_stream`` must be written by a subclass; everything else
    has a default that works with them. A subclass notes what it learned of each answer in ``_last_usage`` and
    ``_last_response``.

    Requests may run at the same time. What belongs to one of them stands in its answer: what ``chat`` returned, or
    the ``ResponseDone`` of ``stream_events``. ``last_usage`` and ``last_response`` are those of whichever request
    came last, so they are for agents that ask one question after the other.
    """

    _last_usage: TokenUsage | None = None  # the name is CAAL's: it reads it after chat and after chat_stream
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
        """Usage of the latest request, or None if it has not finished or its server sent none."""
        return self._last_usage

    @property
    def last_response(self) -> LLMResponse | None:
        """Answer to the latest request, or None if it has not finished; ``finish_reason`` after ``chat_stream``."""
        return self._last_response

    @abstractmethod
    async def chat(self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any) -> LLMResponse:
        """Ask once and wait for the whole answer, which may hold tool calls.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call, as the agent wrote them; with them ``tool_choice`` is "auto".
            **kwargs: Sampling parameters of this request alone, such as ``temperature``. ``tool_choice="none"``
                forbids tool calls, as for ``chat_stream``. ``timeout`` and ``max_retries`` mean what they mean in
                OpenAI's SDK; a stream may have ``first_token_timeout`` too. ``response_format`` is the form that the
                answer must have: a class of pydantic, or OpenAI's object (``{"type": "json_schema", …}``).

        Returns:
            The answer. In ``parsed`` stands what ``response_format`` made of it: an instance of the class, or JSON.

        Raises:
            APIError: If the request failed or the answer is empty, cut or garbled.
            BadRequestError: If the server refuses ``response_format``; it is never asked without.
            IncompleteResponseError: If the answer has another form, also when it was asked for once more.
        """

    @abstractmethod
    def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Stream the text of one answer; tool calls are forbidden (``tool_choice`` "none").

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the history mentions. They are sent because some servers check the history against
                them, and they are not called.
            **kwargs: Sampling parameters of this request alone.

        Yields:
            Pieces of text, safe to speak at once.

        Raises:
            APIError: If the request failed, also after some text: what was yielded stays valid.
        """

    async def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and tool calls of one answer, from one request.

        The default asks ``chat`` and emits its parts, so that a provider that cannot do better still works. With
        ``tool_choice`` "none" it asks ``chat_stream``.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call, as the agent wrote them.
            **kwargs: Sampling parameters of this request alone. With ``tool_choice="none"`` tool calls are forbidden,
                as for ``chat_stream``, and there is a ``ResponseDone`` all the same.

        Yields:
            ``TextDelta`` as it comes, then ``ToolCallDone`` for each call, then one ``ResponseDone``.

        Raises:
            APIError: If the request failed, also after some text: what was yielded stays valid.
        """
        if kwargs.get("tool_choice") == "none":
            del kwargs["tool_choice"]
            said = []
            self._last_usage = self._last_response = None  # a subclass that notes nothing has not that of this answer
            stream = self.chat_stream(messages, tools, **kwargs)
            del messages, tools, kwargs  # tracebacks with the values of variables would show them
            async with closing(stream) as texts:
                async for text in texts:
                    said.append(text)
                    yield TextDelta(text)
            known = self.last_response or LLMResponse(None, usage=self.last_usage)
            yield ResponseDone(replace(known, content="".join(said) or None, tool_calls=[]))
            return
        asking = self.chat(messages, tools, **kwargs)
        del messages, tools, kwargs  # as above
        response = await asking
        if response.content:
            yield TextDelta(response.content, response.id)
        for tool_call in response.tool_calls:
            yield ToolCallDone(tool_call, response.id)
        yield ResponseDone(response)

    async def prewarm(self) -> None:  # noqa: B027 - optional: a provider with nothing to load keeps this
        """Load what is slow to load and open the connection, so that the first turn is as fast as the rest.

        A server that cannot be reached is no error yet: it may be there at the first turn. It is told in the log.
        """

    async def _prewarm(self) -> None:
        """Do what ``prewarm`` does, and raise what it only logs: for who has another provider to ask.

        Raises:
            APIError: If the server cannot be reached. A subclass whose ``prewarm`` logs that overrides this too.
        """
        await self.prewarm()

    def _stream_for_group(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        began: Callable[[], None],  # noqa: ARG002 - for those that know it before their first event
        first_token_s: float | None,  # noqa: ARG002 - for those that would give up earlier
    ) -> AsyncIterator[StreamEvent]:
        """Do what ``stream_events`` does, for who has another provider to ask.

        A subclass that can tells when its answer has begun, and does not ask again after a timeout.

        Args:
            messages: The conversation.
            tools: The tools.
            options: The keywords of the call.
            began: To be called when something useful has come, which may be long before the first event.
            first_token_s: Seconds that the caller waits for that. It keeps the time itself; a provider with less
                patience of its own is to have as much.
        """
        return self.stream_events(messages, tools, **options)

    async def aclose(self) -> None:  # noqa: B027 - optional: a provider that holds nothing keeps this
        """Give back connections, and stop a server that this provider started."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def prepare_tools(self, tools: list[ToolSpec]) -> list[ToolSpec]:
        """Return the tools as this provider wants them; unchanged by default.

        A provider calls this itself, once for each request, for the tools that it was given. Who asks a provider, an
        agent or a ``FallbackProvider``, passes them on as they are.
        """
        return tools

    def parse_tool_arguments(self, arguments: Json) -> dict[str, Json]:
        """Read a tool call's arguments in every form that servers use; never raises.

        Args:
            arguments: A JSON string, an object, None, or anything else.

        Returns:
            The arguments as an object; ``{}`` if they are empty or unreadable.
        """
        return read_arguments(arguments)[0]

    def format_tool_result(self, content: str, tool_call_id: str | None, tool_name: str | None = None) -> Message:
        """Build the message that carries a tool's result back to the model.

        Args:
            content: The result as text.
            tool_call_id: ``ToolCall.id`` of the call.
            tool_name: ``ToolCall.name`` of the call (Ollama looks it up by name).

        Returns:
            A message with role ``tool``.
        """
        return {"role": "tool", "tool_call_id": tool_call_id, "name": tool_name, "content": content}

    def format_tool_call_message(self, content: str | None, tool_calls: Sequence[ToolCall]) -> Message:
        """Build the assistant message that says which tools were called.

        Gemini rejects a history whose calls lack their thought signatures, and OpenRouter one without
        ``reasoning_details``: the message holds what is in ``ToolCall.provider_fields``.

        Args:
            content: What the model said beside the calls.
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
            for name, value in fields.get(part, {}).items():
                target.setdefault(name, value)
    return message


def with_extras(provider: LLMProvider, message: Message) -> Message:
    """Put back what must go with the calls of a message, such as thought signatures; frameworks keep little of it.

    Args:
        provider: Who made the calls, and is asked next.
        message: A message in OpenAI format, as an agent's framework wrote it; it is not changed.

    Returns:
        The message as the provider wants it back. Arguments stay as they were written if they can be read: other
        white space would cost the server what it has cached.
    """
    if not (calls := message.get("tool_calls")):
        return message
    tool_calls = [
        ToolCall(call["id"], call["function"]["name"], provider.parse_tool_arguments(call["function"]["arguments"]))
        for call in calls
    ]
    formatted = provider.format_tool_call_message(message.get("content"), tool_calls)
    merged = [
        {**old, **new, "function": _function(old, new)} for old, new in zip(calls, formatted["tool_calls"], strict=True)
    ]
    return {**message, **formatted, "tool_calls": merged}


def _function(old: Json, new: Json) -> Json:
    return old["function"] if is_whole(old["function"]["arguments"]) else new["function"]
