"""The shape of a wire case: what a server does, and what a correct client makes of it.

Data alone: the cases themselves are in ``adapters.testing.cases``, the judge is ``adapters.testing.judge``.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

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
"""Stands for a value that is not looked at."""

Way: TypeAlias = Literal["chat", "chat_stream", "stream_events"]
"""How the client asks; the words are those of ``adapters.provider.LLMProvider``.

``chat`` does not stream; ``chat_stream`` streams text with tools forbidden; ``stream_events`` streams text and calls.
"""

ALL: Final[tuple[Way, ...]] = ("chat", "chat_stream", "stream_events")
STREAMS: Final[tuple[Way, ...]] = ("chat_stream", "stream_events")
CALLING: Final[tuple[Way, ...]] = ("chat", "stream_events")
CHAT: Final[tuple[Way, ...]] = ("chat",)
CHAT_STREAM: Final[tuple[Way, ...]] = ("chat_stream",)
STREAM_EVENTS: Final[tuple[Way, ...]] = ("stream_events",)

KEY: Final = "wire-KEY-0123456789-never-say-this"
"""The key to give to the client under test; no error may repeat it."""

ASK: Final[Sequence[Message]] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is the weather in Oslo?"},
)
"""What is asked unless a case says otherwise."""

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
"""What a case with ``tools=True`` offers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """What a good answer must be. ``ANY`` means that it is not looked at.

    Attributes:
        text: All text, whether it came at once or in pieces.
        calls: Name and arguments of each tool call.
        call_errors: For each call whether ``ToolCall.error`` is set; none is if this is empty.
        usage: Prompt and completion tokens, or None if nothing may be claimed.
        reasoning: What the model thought, without white space around it, or None.
        finish_reason: The server's word.
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
    """What an error must be. ``ANY`` means that it is not looked at.

    Attributes:
        kinds: Name of the class in ``adapters.errors``, or several names of which one must fit; a subclass fits.
        after: The text that must have come before it, no less and no more.
        status_code: HTTP status, from the head or from the body, or None.
        retryable: Whether the same request may succeed later.
        retry_after_s: Seconds, or the least and the most of them, or None.
        says: Words that ``str(error)`` must hold, in any case.
        hides: Words that it must not hold, in any case.
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
    """One situation on the wire.

    Attributes:
        id: The server and its quirk.
        why: What is special about it, in one line.
        steps: What the server plays for the first request, for the second, and so on; the last repeats.
        expect: What a correct client makes of it in its last turn, or in the first that fails.
        ways: How it may be asked for this to hold.
        kind: Kind of provider, as in ``ProviderConfig``.
        tools: Whether ``TOOLS`` are offered.
        messages: The conversation.
        options: Further options of the provider; it tries once unless they say otherwise.
        kwargs: Sampling parameters of the request.
        turns: How often the same is asked, of one provider.
        url: The base URL; ``{base}`` stands for what the server gave.
        requests: How many HTTP requests all turns together may take.
        within_s: Seconds in which all turns together must end.
        saw: A condition on what the server saw.
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

    @property
    def provider_options(self) -> dict[str, Any]:
        """``options``, with the one try that a case has unless it says otherwise."""
        return {"retry": {"attempts": 1}, **self.options}

    def by_way(self) -> list[WireCase]:
        """Return this case once for each of its ways, narrowed to that way."""
        return [replace(self, ways=(way,)) for way in self.ways]


@dataclass(slots=True)
class Outcome:
    """What the client under test made of a case; fill in what it has.

    Attributes:
        text: All text, also what came before an error.
        pieces: The same in pieces, if it came so.
        calls: The tool calls, in order; None if the client does not report any.
        usage: Prompt and completion tokens, or None.
        response: The whole answer, if the client gives one beside its parts.
        error: What was raised, or None.
        took_s: Seconds that it took.
    """

    text: str = ""
    pieces: list[str] = field(default_factory=list)
    calls: list[ToolCall] | None = None
    usage: tuple[int, int] | None = None
    response: LLMResponse | None = None
    error: BaseException | None = None
    took_s: float = 0.0

    def hear(self, piece: str) -> None:
        """Note the next piece of text."""
        self.pieces.append(piece)
        self.text += piece
