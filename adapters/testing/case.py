"""``WireCase``: what a server sends, and what a correct client makes of it.

``adapters.testing.cases`` holds the cases, ``adapters.testing.judge`` compares.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from adapters.testing.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adapters.testing.server import Seen, Step
    from adapters.types import LLMResponse, Message, ToolCall, ToolSpec


class _Anything:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "ANY"


ANY: Final[Any] = _Anything()
"""A value that is not compared."""

Way: TypeAlias = Literal["chat", "chat_stream", "stream_events"]
"""Which method of ``adapters.provider.LLMProvider`` sends the request.

``chat`` does not stream, ``chat_stream`` streams text while tools are forbidden, ``stream_events`` streams text and
tool calls.
"""

ALL: Final[tuple[Way, ...]] = ("chat", "chat_stream", "stream_events")
STREAMS: Final[tuple[Way, ...]] = ("chat_stream", "stream_events")
CALLING: Final[tuple[Way, ...]] = ("chat", "stream_events")
CHAT: Final[tuple[Way, ...]] = ("chat",)
CHAT_STREAM: Final[tuple[Way, ...]] = ("chat_stream",)
STREAM_EVENTS: Final[tuple[Way, ...]] = ("stream_events",)

KEY: Final = "wire-KEY-0123456789-never-say-this"
"""API key for the client under test; no error may repeat it."""

ASK: Final[Sequence[Message]] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is the weather in Oslo?"},
)
"""The default conversation of a case."""

TOOLS: Final[Sequence[ToolSpec]] = (
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "lights_off",
            "description": "Switch all lights off.",
            "parameters": {"type": "object", "properties": {}},
        },
    },
)
"""The tools of a case with ``tools=True``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A required response. ``ANY`` is not compared.

    Attributes:
        text: The whole text, whether it arrives at once or in pieces.
        calls: Name and arguments of each tool call.
        call_errors: For each call, whether ``ToolCall.error`` is set; empty if it is set for none.
        usage: Prompt and completion tokens, or None if no usage may be reported.
        reasoning: Reasoning without surrounding white space, or None.
        finish_reason: The server's finish reason.
        holds: A further condition on the outcome.
    """

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    call_errors: tuple[bool, ...] = ()
    usage: tuple[int, int] | None = ANY
    reasoning: str | None = ANY
    finish_reason: str | None = ANY
    holds: Callable[[Outcome], object] = bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A required error. ``ANY`` is not compared.

    Attributes:
        kinds: Name of a class in ``adapters.errors``, or several names of which one must match; a subclass matches.
        after: The exact text that must arrive before the error.
        status_code: HTTP status, from the response or from the body, or None.
        retryable: Whether the same request may succeed later.
        retry_after_s: Seconds, or their minimum and maximum, or None.
        says: Words that ``str(error)`` must contain, in any case.
        hides: Words that it must not contain, in any case.
        holds: A further condition on the error.
    """

    kinds: str | tuple[str, ...]
    _: KW_ONLY
    after: str = ""
    status_code: int | None = ANY
    retryable: bool = ANY
    retry_after_s: float | tuple[float, float] | None = ANY
    says: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    holds: Callable[[Any], object] = bool


@dataclass(frozen=True, slots=True)
class WireCase:
    """One behaviour of a server.

    Attributes:
        id: The server and its quirk.
        why: What is special about it, in one line.
        steps: What the server plays for the first request, for the second, and so on; the last step repeats.
        expect: What a correct client makes of it in the last turn, or in the first turn that fails.
        ways: The methods for which this holds.
        kind: Kind of provider, as in ``ProviderConfig``.
        tools: Whether ``TOOLS`` are offered.
        messages: The conversation.
        options: Further options of the provider, which by default sends one request per turn.
        kwargs: Sampling parameters of the request.
        turns: How often the conversation is sent, through one provider.
        url: The base URL; ``{base}`` is replaced by the server's.
        requests: The maximum number of HTTP requests of all turns; requests for the list of models do not count.
        within_s: The maximum duration of all turns in seconds.
        saw: A condition on what the server received.
    """

    id: str
    why: str
    steps: Sequence[Step]
    expect: Success | Failure
    _: KW_ONLY
    ways: tuple[Way, ...] = ALL
    kind: str = "openai_compatible"
    tools: bool = False
    messages: Sequence[Message] = ASK
    options: Mapping[str, Any] = field(default_factory=dict)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    turns: int = 1
    url: str = "{base}"
    requests: int = 1
    within_s: float = 5.0
    saw: Callable[[Seen], object] | None = None

    def __post_init__(self) -> None:
        """Turn each script into an ``Answer``, which a request for the list of models does not use up."""
        steps = tuple(step if isinstance(step, Answer) else Answer(step, step) for step in self.steps)
        object.__setattr__(self, "steps", steps)

    @property
    def provider_options(self) -> dict[str, Any]:
        """The ``options``, with one attempt unless they say otherwise."""
        return {"retry": {"attempts": 1}, **self.options}

    def by_way(self) -> list[WireCase]:
        """Return this case once for each of its ways, restricted to that way."""
        return [replace(self, ways=(way,)) for way in self.ways]


@dataclass(slots=True)
class Outcome:
    """The result of the client under test; set what the client reports.

    Attributes:
        text: The whole text, also the text before an error.
        pieces: The same text in pieces, if it arrived in pieces.
        calls: The tool calls, in order; None if the client reports none.
        usage: Prompt and completion tokens, or None.
        response: The whole response, if the client returns one beside its parts.
        error: The exception that was raised, or None.
        took_s: Duration in seconds.
    """

    text: str = ""
    pieces: list[str] = field(default_factory=list)
    calls: list[ToolCall] | None = None
    usage: tuple[int, int] | None = None
    response: LLMResponse | None = None
    error: BaseException | None = None
    took_s: float = 0.0

    def add_text(self, piece: str) -> None:
        """Add the next piece of text."""
        self.pieces.append(piece)
        self.text += piece
