"""The values that cross the library's border: answers, tool calls, usage and stream events.

Everything here is frozen and slotted, knows nothing of HTTP, and imports nothing of ours. How an answer is read
off the wire lives in ``adapters.transport``; how messages are formatted for the next request in ``adapters.provider``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

Json: TypeAlias = Any
"""JSON of any shape, as a server, a model, an agent or a file wrote it: whoever reads it checks what it is.

``Any`` and not a recursive type, because each reader narrows it with ``isinstance`` and a recursive type would have
all of them cast."""

Message: TypeAlias = dict[str, Any]
"""One chat message in OpenAI format: ``{"role": …, "content": …}``, with ``tool_calls`` or ``tool_call_id``."""

ToolSpec: TypeAlias = dict[str, Any]
"""One tool in OpenAI format: ``{"type": "function", "function": {"name": …, "parameters": <JSON schema>}}``."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model asks for.

    Attributes:
        id: Unique within the answer, never empty; a made one has nine letters or digits (Mistral accepts no other).
        name: Name of the tool, stripped of white space and of ``functions.``.
        arguments: Always an object; ``{}`` if the model's arguments were empty or unreadable.
        error: Why the arguments could not be read, or None. A call with an error should not be run: its
            ``arguments`` are not what the model meant.
        provider_fields: What the provider wants back with this call, such as a thought signature; empty if nothing.
            ``LLMProvider.format_tool_call_message`` writes it. It is plain JSON of the form ``{"message": {…},
            "call": {…}, "function": {…}}``, where a part that is empty is missing: the fields to be added to the
            assistant message, to its entry for this call, and to the ``function`` of that entry. What belongs to the
            whole message (``reasoning_content``, ``reasoning_details``) is kept by the first call of an answer alone.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    error: str | None = None
    provider_fields: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one request, as the server counted them, and their price; None stands for what it did not say.

    Attributes:
        prompt_tokens: Tokens of everything that was sent.
        completion_tokens: Tokens of the answer, reasoning included.
        cached_tokens: How many of ``prompt_tokens`` the server had kept from an earlier request.
        reasoning_tokens: How many of ``completion_tokens`` were reasoning.
        cost: What the provider says that it charges, in its own currency (OpenRouter: credits, which are US dollars).
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """One whole answer.

    Two are equal if they say the same. How they came about does not count: ids, seconds, attempts, and who answered.

    Attributes:
        content: What may be spoken, or None if there is nothing to speak.
        tool_calls: The calls to run, in the model's order; empty if there are none.
        usage: The server's count, or None if it sent none (never zeros in its place).
        reasoning: What the model thought before it answered, never part of ``content``; None if it did not.
        finish_reason: The server's word for why it stopped (``stop``, ``length``, ``tool_calls`` …), or None.
        model: The model that answered, as the server names it, or None.
        refusal: The words in which the model declined, or None if it did not. They are its ``content``, too.
        parsed: The answer in the form of ``response_format``: an instance of its class, or the decoded JSON. None
            if no such form was asked for, or if the model declined or called a tool instead.
        logprobs: OpenAI's entry for each token (``{"token": …, "logprob": …}``), or None if the server sent none.
        native_finish_reason: The word of the provider behind the server (OpenRouter), or None.
        id: The server's name for this answer, or None.
        request_id: The server's name for the request, from a header, for its operator; or None.
        provider: Name of the provider that answered, or None.
        upstream_provider: Who ran the model for the provider (OpenRouter), or None.
        first_text_s: Seconds from the call to the first text, failed tries included; None if there was no text.
        total_s: Seconds from the call to the end of the answer, failed tries included, or None.
        attempts: How many requests that provider was sent for this answer, or None.
        dropped: Parameters that were asked for and not sent, because the server has refused them.
    """

    content: str | None
    tool_calls: list[ToolCall] = field(default_factory=list)
    usage: TokenUsage | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    refusal: str | None = None
    parsed: Any = None
    logprobs: list[dict[str, Any]] | None = field(default=None, repr=False)
    native_finish_reason: str | None = None
    id: str | None = field(default=None, compare=False)
    request_id: str | None = field(default=None, compare=False)
    provider: str | None = field(default=None, compare=False)
    upstream_provider: str | None = field(default=None, compare=False)
    first_text_s: float | None = field(default=None, compare=False)
    total_s: float | None = field(default=None, compare=False)
    attempts: int | None = field(default=None, compare=False)
    dropped: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of text, safe to speak at once.

    Attributes:
        text: Never empty.
        response_id: ``LLMResponse.id`` of the answer that it belongs to, or None; an interrupted answer has no other.
    """

    text: str
    response_id: str | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolCallDone:
    """A call that arrived whole, in a turn that arrived whole.

    Attributes:
        tool_call: The call.
        response_id: ``LLMResponse.id`` of the answer that it belongs to, or None.
    """

    tool_call: ToolCall
    response_id: str | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """The last event of every stream.

    Attributes:
        response: What ``chat()`` would have returned; its content is the concatenation of the ``TextDelta`` texts.
    """

    response: LLMResponse


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back, as the model will read it.

    Attributes:
        tool_call: The call that it answers.
        content: The result, or a sentence that says why there is none.
        failed: Whether the tool raised, took too long, was interrupted, or was not run because its call could not be
            read or does not fit it.
    """

    tool_call: ToolCall
    content: str
    failed: bool


@dataclass(frozen=True, slots=True)
class ToolsRunning:
    """The tools of a round take long: time for a word to the person who waits.

    Attributes:
        names: The tools that still run.
        waited_s: How long they have run.
    """

    names: tuple[str, ...]
    waited_s: float


StreamEvent: TypeAlias = TextDelta | ToolCallDone | ResponseDone
