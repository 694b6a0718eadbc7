"""The public values: responses, tool calls, token usage, stream events, and the typed keywords of a call.

All values are frozen and slotted. The module knows nothing of HTTP and imports no other module of the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal
    from types import UnionType
    from typing import _SpecialForm

    import typing_extensions

    ParsedT = typing_extensions.TypeVar("ParsedT", default=Any)
    ParsedT_co = typing_extensions.TypeVar("ParsedT_co", default=Any, covariant=True)
else:
    # Only type checkers need the defaults. Loading typing_extensions for them would slow `import adapters` down.
    from typing import TypeVar

    ParsedT = TypeVar("ParsedT")
    ParsedT_co = TypeVar("ParsedT_co", covariant=True)

Json: TypeAlias = Any
"""JSON of any shape, as a server, a model, an agent or a file wrote it. Readers check its type.

``Any`` instead of a recursive type, because each reader narrows it with ``isinstance`` and a recursive type would
require casts everywhere."""

Message: TypeAlias = dict[str, Any]
"""One chat message in OpenAI format: ``{"role": …, "content": …}``, with ``tool_calls`` or ``tool_call_id``."""

ToolSpec: TypeAlias = dict[str, Any]
"""One tool in OpenAI format: ``{"type": "function", "function": {"name": …, "parameters": <JSON schema>}}``."""

ResponseFormat: TypeAlias = "type[ParsedT] | UnionType | _SpecialForm | Mapping[str, Any]"
"""A required form of a response: a pydantic model, a dataclass, a ``TypedDict``, ``list[X]``, a union or a ``Literal``,
or OpenAI's object (``{"type": "json_schema", …}``)."""


class BaseCallOptions(TypedDict, total=False):
    """The keywords of one call but for ``response_format``, which decides the type of the response of ``chat``."""

    timeout: float | None
    max_retries: int | None
    first_token_timeout: float | None
    first_text_timeout: float | None
    allow_empty: bool | None
    extra_headers: Mapping[str, str] | None
    extra_body: Mapping[str, Any] | None
    tool_choice: Literal["auto", "none", "required", "any"] | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    reasoning: Mapping[str, Any] | None
    models: Sequence[str] | None
    user: str | None
    metadata: Mapping[str, Any] | None
    service_tier: str | None
    verbosity: Literal["low", "medium", "high"] | None


class CallOptions(BaseCallOptions, total=False):
    """The keywords of one call, for type checkers and editors.

    The set is closed for type checkers. At run time any other keyword becomes a field of the request's body unless
    its name resembles one of these; code that is type-checked puts a server's own parameters into ``extra_body``.

    Attributes:
        timeout: Seconds for the whole call, all attempts included.
        max_retries: How often a failed request may be sent again.
        first_token_timeout: Seconds that each request has until its first useful token.
        first_text_timeout: Seconds that each request has until its first text or tool call; reasoning does not count.
        allow_empty: Whether a response that ends well with neither text nor calls is one, and no error: the model
            chose to say nothing.
        extra_headers: Headers of this request.
        extra_body: Fields that are written into the body last, over all others.
        response_format: Required form of the response, see ``ResponseFormat``.
    """

    response_format: ResponseFormat[Any] | None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of the model.

    Attributes:
        id: Unique within the response, never empty. Generated ids have nine letters or digits (Mistral accepts no
            other).
        name: Name of the tool, without white space and ``functions.``.
        arguments: Always an object; ``{}`` if the model's arguments were empty or unreadable.
        error: Why the arguments could not be read, or None. A call with an error must not be run: its ``arguments``
            are not what the model meant.
        provider_fields: Fields that the provider needs back with this call, such as a thought signature; empty if none.
            ``LLMProvider.format_tool_call_message`` writes them. Plain JSON of the form ``{"message": {…}, "call": {…},
            "function": {…}}``, without empty parts: fields of the assistant message, of its entry for this call, and
            of the ``function`` of that entry. Fields of the whole message (``reasoning_content``,
            ``reasoning_details``) are kept by the first call of a response alone.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    error: str | None = None
    provider_fields: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one or more requests, as the server counted them, and their price; None if it did not report them.

    Usages can be added, also with ``sum()``. An optional field of a sum is None if it is None in any summand: a sum
    with an unknown part is unknown.

    Attributes:
        prompt_tokens: Tokens of the whole request.
        completion_tokens: Tokens of the response, reasoning included.
        cached_tokens: How many of ``prompt_tokens`` came from the server's prefix cache.
        reasoning_tokens: How many of ``completion_tokens`` were reasoning.
        cost: The price that the provider reports, in its own currency (OpenRouter: credits, which are US dollars).
        cache_write_tokens: How many of ``prompt_tokens`` were written to the server's prompt cache, which some charge.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None
    cache_write_tokens: int | None = None

    def __add__(self, other: TokenUsage) -> TokenUsage:
        if not isinstance(other, TokenUsage):
            return NotImplemented
        return TokenUsage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            _sum(self.cached_tokens, other.cached_tokens),
            _sum(self.reasoning_tokens, other.reasoning_tokens),
            None if self.cost is None or other.cost is None else self.cost + other.cost,
            _sum(self.cache_write_tokens, other.cache_write_tokens),
        )

    def __radd__(self, other: int) -> TokenUsage:
        """Support ``sum()``, which starts with 0."""
        return self if other == 0 else NotImplemented


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


@dataclass(frozen=True, slots=True)
class FallbackReason:
    """Why a provider of a ``FallbackProvider`` was passed over.

    Attributes:
        provider: Name of the provider.
        error: Name of the class of its error, or None if it had none and another provider was faster.
        in_cooldown: Whether that error is one of an earlier call, so that the provider was not asked at all.
    """

    provider: str
    error: str | None
    in_cooldown: bool = False


@dataclass(frozen=True, slots=True)
class WaitTimes:
    """What the wait for one response was made of, in seconds; None where something does not apply or is unknown.

    The times to something run from the call, failed attempts included, and belong to the request that was answered.

    Attributes:
        loading_s: Until the first request could leave: LiteLLM was loaded, or an embedded server started.
        queue_s: Waiting for a free slot; None without ``max_concurrent``.
        connect_s: Opening the connection; None if an open one was used.
        time_to_head_s: Until the head of the response.
        time_to_first_token_s: Until the first useful token: text, reasoning, or a part of a tool call.
        time_to_first_text_s: Until the first text; None if there was none.
        reasoning_s: From the first reasoning to the first text or tool call; None without reasoning before it.
    """

    loading_s: float | None = None
    queue_s: float | None = None
    connect_s: float | None = None
    time_to_head_s: float | None = None
    time_to_first_token_s: float | None = None
    time_to_first_text_s: float | None = None
    reasoning_s: float | None = None

    def __str__(self) -> str:
        """Return the parts that took a millisecond in words: ``connection 3 ms, head 120 ms, first token 1.4 s``."""
        parts = [(name, getattr(self, field)) for name, field in _PARTS_OF_WAIT]
        return ", ".join(f"{name} {_duration(seconds)}" for name, seconds in parts if round(seconds or 0.0, 3))


_PARTS_OF_WAIT = (
    *(("loading", "loading_s"), ("queue", "queue_s"), ("connection", "connect_s"), ("head", "time_to_head_s")),
    *(("first token", "time_to_first_token_s"), ("reasoning", "reasoning_s"), ("first text", "time_to_first_text_s")),
)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class LLMResponse(Generic[ParsedT_co]):
    """One complete response.

    Two responses are equal if they have the same content; ids, times, attempts and the provider do not count.

    Attributes:
        content: Text that may be spoken, or None if there is none.
        tool_calls: The calls to run, in the model's order; empty if there are none.
        usage: The server's count, or None if it sent none (never zeros instead).
        reasoning: The model's reasoning before the answer, never part of ``content``; None if there is none.
        finish_reason: The server's word for the end of the response (``stop``, ``length``, ``tool_calls`` …), or None.
        model: The model that answered, as the server names it, or None.
        refusal: The words in which the model declined, or None if it did not. They are its ``content``, too.
        parsed: The content as ``response_format`` requires it: a value of that type, or the decoded JSON. None without
            ``response_format``, and if the model declined or called a tool instead.
        logprobs: OpenAI's entry for each token (``{"token": …, "logprob": …}``), or None if the server sent none.
        native_finish_reason: The finish reason of the provider behind the server (OpenRouter), or None.
        id: The server's id of this response, or None.
        request_id: The server's id of the request, from a header, for its operator; or None.
        provider: Name of the provider that answered, or None.
        upstream_provider: The provider that ran the model for this one (OpenRouter), or None.
        time_to_first_text_s: Seconds from the call to the first text, failed attempts included; None without text.
        time_to_first_token_s: Seconds from the call to the first useful token (text, reasoning, or part of a tool
            call) of the request that was answered, failed attempts included; None if unknown.
        wait: These times and the other parts of the wait, or None if they are unknown.
        hedge_after_s: Seconds after which the ``FallbackProvider`` of this call would have asked its next provider
            beside the first, as set or measured; None if it would not.
        total_s: Seconds from the call to the end of the response, failed attempts included, or None.
        attempts: How many requests were sent to that provider for this response, or None.
        dropped: Requested parameters that were not sent, because the server does not accept them.
        fallback_from: The providers of a ``FallbackProvider`` that were passed over for ``provider``, and why; empty
            if the preferred one answered.
        images: The images that the model made, as content parts in OpenAI format (``{"type": "image_url", "image_url":
            {"url": …}}``, often a data URL), as they may be sent back.
        cost_estimator: Computes ``estimated_cost`` from ``usage``, or None if the prices are unknown.
    """

    content: str | None
    tool_calls: list[ToolCall] = field(default_factory=list)
    usage: TokenUsage | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    refusal: str | None = None
    parsed: ParsedT_co | None = None
    logprobs: list[dict[str, Any]] | None = field(default=None, repr=False)
    native_finish_reason: str | None = None
    id: str | None = field(default=None, compare=False)
    request_id: str | None = field(default=None, compare=False)
    provider: str | None = field(default=None, compare=False)
    upstream_provider: str | None = field(default=None, compare=False)
    time_to_first_text_s: float | None = field(default=None, compare=False)
    time_to_first_token_s: float | None = field(default=None, compare=False)
    total_s: float | None = field(default=None, compare=False)
    wait: WaitTimes | None = field(default=None, compare=False)
    hedge_after_s: float | None = field(default=None, compare=False)
    attempts: int | None = field(default=None, compare=False)
    dropped: tuple[str, ...] = field(default=(), compare=False)
    fallback_from: tuple[FallbackReason, ...] = field(default=(), compare=False)
    images: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    cost_estimator: Callable[[TokenUsage], Decimal | None] | None = field(default=None, compare=False, repr=False)

    @property
    def estimated_cost(self) -> Decimal | None:
        """Cost in US dollars by LiteLLM's price list, or None if the prices of this server or model are unknown.

        It is computed on access and needs ``usage``. What the server itself reports is ``usage.cost``.
        """
        return self.cost_estimator(self.usage) if self.cost_estimator is not None and self.usage is not None else None

    @property
    def first_text_s(self) -> float | None:
        """The former name of ``time_to_first_text_s``."""
        return self.time_to_first_text_s


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of text, safe to speak at once.

    Attributes:
        text: Never empty.
        response_id: ``LLMResponse.id`` of its response, or None; an interrupted response has no other place for it.
        usage: The tokens so far, if the server counts them with the text (Gemini, xAI), or None; an interrupted
            response has no other place for them.
    """

    text: str
    response_id: str | None = field(default=None, compare=False, repr=False)
    usage: TokenUsage | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolCallDone:
    """A complete call of a complete response.

    Attributes:
        tool_call: The call.
        response_id: ``LLMResponse.id`` of its response, or None.
        usage: From ``run_turn``: usage of all requests of the turn so far, or None if it is not known.
    """

    tool_call: ToolCall
    response_id: str | None = field(default=None, compare=False, repr=False)
    usage: TokenUsage | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """The last event of every stream.

    Attributes:
        response: What ``chat()`` would have returned; its content is the concatenation of the ``TextDelta`` texts.
    """

    response: LLMResponse


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call, as the model will read it.

    Attributes:
        tool_call: The call.
        content: The result, or a sentence that says why there is none.
        failed: Whether the tool raised, timed out or was interrupted, or was not run because its call could not be
            read or does not fit it.
        images: The images that the tool returned, as content parts in OpenAI format; ``content`` names them.
        usage: Usage of all requests of the turn so far, or None if it is not known.
    """

    tool_call: ToolCall
    content: str
    failed: bool
    images: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    usage: TokenUsage | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolsRunning:
    """The tools of a round are taking long: the agent can say a filler phrase now.

    Attributes:
        names: The tools that are still running.
        waited_s: Seconds since they were started.
    """

    names: tuple[str, ...]
    waited_s: float


StreamEvent: TypeAlias = TextDelta | ToolCallDone | ResponseDone
"""An event of ``stream_events``."""

AgentEvent: TypeAlias = TextDelta | ToolCallDone | ToolsRunning | ToolResult | ResponseDone
"""An event of ``run_turn``."""
