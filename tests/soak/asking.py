"""One question is asked, and what came of it is judged against its plan."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio

from adapters import (
    AdapterError,
    FallbackProvider,
    LLMProvider,
    ResponseDone,
    TextDelta,
    ToolCallDone,
    create_provider,
)
from adapters.agent import run_turn
from adapters.provider import closing
from tests.soak.plans import FAILING, KINDS, TOOL, kind_of, numbers_in, question, words_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Literal

    from adapters import LLMResponse
    from adapters.config.options import RetryOptions, TimeoutOptions
    from tests.soak.plans import Asked, End, Kind

    Verdict = Literal["good", "lost", "mixed", "unexpected"]

_CANCEL_AFTER_MS = 7  # at most; from before the request leaves until the middle of the answer
_CLOSE_AFTER_MS = 200  # at most; until after the answer
_PATIENT: RetryOptions = {"attempts": 100, "initial_wait_s": 0.05, "max_wait_s": 0.2, "deadline_s": 60.0}
_QUICK: RetryOptions = {"attempts": 3, "initial_wait_s": 0.02, "max_wait_s": 0.2, "deadline_s": 60.0}
_CALM = {"connect_s": 30.0, "first_token_s": 60.0, "stall_s": 60.0, "total_s": 120.0}  # a busy machine is no fault
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "Look a number up.",
            "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
        },
    }
]


def providers_for(steady: int, restarting: int, proxy: int) -> dict[Asked, Callable[[], LLMProvider]]:
    """Return how to get a provider: one a name is shared by all event loops, and ``closing`` is made for each call.

    Args:
        steady: Port of the server that is always there.
        restarting: Port of the one that comes and goes.
        proxy: Port of the proxy that cuts.
    """

    def at(port: int, retry: RetryOptions, model: str = "m", **timeouts: float) -> LLMProvider:
        base_url = f"http://127.0.0.1:{port}/v1"
        within = cast("TimeoutOptions", {**_CALM, **timeouts})
        return create_provider("openai_compatible", model=model, base_url=base_url, retry=retry, timeouts=within)

    once: RetryOptions = {"attempts": 1}
    group = [at(steady, once, FAILING), at(restarting, once), at(steady, _QUICK)]
    shared: dict[Asked, LLMProvider] = {
        "one": at(steady, _QUICK),
        "hasty": at(steady, once, stall_s=0.4),
        "patient": at(restarting, _PATIENT),
        "proxied": at(proxy, _QUICK),
        "group": FallbackProvider(group, cooldown_s=0.1),
        "hedged": FallbackProvider([at(steady, once), at(steady, once)], hedge_after_s=0.005),
    }

    def own_group() -> LLMProvider:
        # Its first member is in cooldown almost at once, and is probed when the group is closed.
        members = [at(steady, once, FAILING), at(steady, once), at(steady, once)]
        return FallbackProvider(members, cooldown_s=0.001, hedge_after_s=0.005)

    return {"closing": own_group, **{name: partial(_same, provider) for name, provider in shared.items()}}


def _same(provider: LLMProvider) -> LLMProvider:
    return provider


@dataclass(slots=True)
class Outcome:
    """What came of one question.

    Attributes:
        number: Which question.
        text: What was said.
        numbers: Whose arguments of tools and whose counts came.
        error: What was raised, or None.
        left: Whether the load went away itself.
        first_text_s: Seconds until the first text, or None if there was none.
    """

    number: int
    text: str = ""
    numbers: set[int] = field(default_factory=set)
    error: BaseException | None = None
    left: bool = False
    first_text_s: float | None = None

    @property
    def end(self) -> End:
        """How it ended."""
        if self.left:
            return "left"
        if self.error is None:
            return "whole"
        return "broken" if self.text else "failed"

    @property
    def verdict(self) -> Verdict:
        """Whether that is what the plan says."""
        kind, words = kind_of(self.number), words_of(self.number)
        if (self.numbers | numbers_in(self.text)) - {self.number}:
            return "mixed"
        if self.error is not None and not isinstance(self.error, AdapterError):
            return "unexpected"
        is_true = self.text == words if self.end == "whole" else words.startswith(self.text)
        return "good" if is_true and self.end in kind.ends else "lost"

    def __str__(self) -> str:
        kind = kind_of(self.number)
        error = "" if self.error is None else f", {type(self.error).__name__}: {self.error}"
        return f"{self.number} ({kind.name}, {kind.way}) ended {self.end}: {self.text!r}{error}"


async def ask(providers: dict[Asked, Callable[[], LLMProvider]], number: int) -> Outcome:
    """Ask question ``number`` as its plan says."""
    kind, outcome, scope = kind_of(number), Outcome(number), anyio.CancelScope()
    provider = providers[kind.asked]()
    asking = asyncio.create_task(_asked_within(scope, provider, kind, outcome))
    if kind.way.startswith("cancel"):
        await asyncio.wait([asking], timeout=number % _CANCEL_AFTER_MS / 1000)
        await _leave(asking, scope, number // len(KINDS) % 3, outcome)
    elif kind.asked == "closing":
        await asyncio.wait([asking], timeout=number * 7 % _CLOSE_AFTER_MS / 1000)
        await provider.aclose()
    await asyncio.wait([asking])
    if not asking.cancelled():
        outcome.error = asking.exception()
    return outcome


async def _leave(asking: asyncio.Task[None], scope: anyio.CancelScope, how: int, outcome: Outcome) -> None:
    """Cancel a call: once, twice, or through a scope, which cancels it again at each wait."""
    if how == 0:
        outcome.left = asking.cancel()
    elif how == 1:
        outcome.left = asking.cancel()
        await asyncio.sleep(0)
        asking.cancel()
    elif not asking.done():
        outcome.left = True
        scope.cancel()


async def _asked_within(scope: anyio.CancelScope, provider: LLMProvider, kind: Kind, outcome: Outcome) -> None:
    with scope:
        await _asked(provider, kind, outcome)


async def _asked(provider: LLMProvider, kind: Kind, outcome: Outcome) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": question(outcome.number)}]
    options: dict[str, Any] = {} if kind.timeout_s is None else {"timeout": kind.timeout_s}
    if kind.way in {"plain", "cancel plain"}:
        _note(outcome, await provider.chat(messages, **options))
        return
    began_s = time.perf_counter()
    async with closing(_texts(provider, kind, messages, options, outcome)) as texts:
        async for text in texts:
            if outcome.first_text_s is None:
                outcome.first_text_s = time.perf_counter() - began_s
            outcome.text += text
            if kind.way == "leave":
                outcome.left = True
                break


async def _texts(
    provider: LLMProvider, kind: Kind, messages: list[dict[str, Any]], options: dict[str, Any], outcome: Outcome
) -> AsyncIterator[str]:
    """Stream the text of an answer; what else it tells is noted in the outcome."""

    async def look_up(_: str, arguments: dict[str, Any]) -> str:
        outcome.numbers.add(arguments["number"])
        return "found"

    if kind.way in {"turn", "cancel turn"}:
        stream: AsyncIterator[Any] = run_turn(provider, messages, _TOOLS, look_up, **options)
    elif kind.way == "events":
        stream = provider.stream_events(messages, **options)
    else:
        stream = provider.chat_stream(messages, **options)
    async with closing(stream) as events:
        async for event in events:
            text = event if isinstance(event, str) else _text_of(event, kind, outcome)
            if text:
                yield text


def _text_of(event: object, kind: Kind, outcome: Outcome) -> str:
    """The text of an event; whose call or count it is, is noted in the outcome."""
    if isinstance(event, TextDelta):
        return event.text
    if isinstance(event, ToolCallDone):
        outcome.numbers.add(event.tool_call.arguments["number"])
    elif isinstance(event, ResponseDone) and kind.way == "events":
        _note(outcome, event.response, with_text=False)
    return ""


def _note(outcome: Outcome, response: LLMResponse, *, with_text: bool = True) -> None:
    if with_text:
        outcome.text = response.content or ""
    is_closing = kind_of(outcome.number).asked == "closing"  # the close may come between the last word and the usage
    if response.usage is not None or not is_closing:
        outcome.numbers.add(response.usage.prompt_tokens if response.usage is not None else -1)
