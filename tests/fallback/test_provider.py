"""``adapters.fallback``: several providers behind the contract of one.

It is pure composition, so the providers here are scripted ones without a wire; who is asked beside whom is seen by
real servers, in ``test_hedging.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.agent import run_turn
from adapters.errors import (
    AllProvidersFailedError,
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContextWindowExceededError,
    IncompleteResponseError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.provider import LLMProvider
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage, ToolCall, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from adapters.types import Message, StreamEvent, ToolSpec

_MESSAGES: list[Message] = [{"role": "user", "content": "How warm is it?"}]
_TOOLS: list[ToolSpec] = [{"type": "function", "function": {"name": "weather"}}]


class Scripted(LLMProvider):
    """Plays one script after the other, each a list of texts, calls and at most one error at its end.

    A script that is missing is the answer "Hello from <name>." Everything it is asked is noted.
    """

    def __init__(
        self, name: str, *scripts: Sequence[str | ToolCall | Exception], closing: Exception | None = None
    ) -> None:
        self._name = name
        self._scripts = list(scripts)
        self._closing = closing
        self.asked: list[tuple[Any, ...]] = []
        self.prewarmed = self.closed = self.stopped = False

    @property
    def provider_name(self) -> str:
        """The name that was given."""
        return self._name

    @property
    def model(self) -> str:
        """A model of that name."""
        return f"model of {self._name}"

    @property
    def supports_think(self) -> bool:
        """Only a provider named thinker."""
        return self._name == "thinker"

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Play a script to its end."""
        async for event in self.stream_events(messages, tools, **kwargs):
            if isinstance(event, ResponseDone):
                return event.response
        raise AssertionError("a stream ends with ResponseDone")  # pragma: no cover - it always does

    async def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Play the texts of a script."""
        async for event in self.stream_events(messages, tools, **kwargs):
            if isinstance(event, TextDelta):
                yield event.text

    async def stream_events(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[StreamEvent]:
        """Play a script."""
        self.asked.append((messages, tools, kwargs))
        script = self._scripts.pop(0) if self._scripts else [f"Hello from {self._name}."]
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                yield TextDelta(step) if isinstance(step, str) else ToolCallDone(step)
            self._last_usage = TokenUsage(len(self._name), 1)
            texts = [step for step in script if isinstance(step, str)]
            calls = [step for step in script if isinstance(step, ToolCall)]
            self._last_response = LLMResponse("".join(texts) or None, calls, self._last_usage)
            yield ResponseDone(self._last_response)
        finally:
            self.stopped = True

    async def prewarm(self) -> None:
        """Note it, then fail if the next script is a single error."""
        self.prewarmed = True
        if self._scripts and isinstance(self._scripts[0][0], Exception):
            raise self._scripts[0][0]

    async def aclose(self) -> None:
        """Note it, then fail if told to."""
        self.closed = True
        if self._closing:
            raise self._closing

    def prepare_tools(self, tools: list[ToolSpec]) -> list[ToolSpec]:
        """Mark the tools as prepared by this provider."""
        return [{**tool, "for": self._name} for tool in tools]


def _error(kind: type[APIError] = APIConnectionError, *, retry_after_s: float | None = None) -> APIError:
    return kind(f"{kind.__name__}.", provider="a", model="m", retry_after_s=retry_after_s)


async def _texts(provider: LLMProvider) -> list[str]:
    return [text async for text in provider.chat_stream(_MESSAGES)]


async def _events(provider: LLMProvider) -> list[StreamEvent]:
    return [event async for event in provider.stream_events(_MESSAGES)]


async def test_the_first_provider_answers_while_it_can() -> None:
    """Nobody but the preferred provider is asked, and the request reaches it as it was made."""
    first, second = Scripted("first"), Scripted("second")

    response = await FallbackProvider([first, second]).chat(_MESSAGES, temperature=0)

    assert response.content == "Hello from first."
    assert first.asked == [(_MESSAGES, None, {"temperature": 0})]
    assert second.asked == []


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=kind.__name__)
        for kind in (
            APITimeoutError,
            AuthenticationError,
            BadRequestError,
            ContextWindowExceededError,
            IncompleteResponseError,
            InternalServerError,
            NotFoundError,
        )
    ],
)
async def test_any_api_error_moves_on_to_the_next(kind: type[APIError]) -> None:
    """Whatever went wrong at one provider, the next one is asked: whole, as text, and as events."""
    provider = FallbackProvider([Scripted("first", *[[_error(kind)]] * 3), Scripted("second")])

    assert (await provider.chat(_MESSAGES)).content == "Hello from second."
    assert await _texts(provider) == ["Hello from second."]
    assert (await _events(provider))[0] == TextDelta("Hello from second.")


async def test_nothing_moves_on_once_text_was_yielded() -> None:
    """An error after the first text is raised as it is, and the next provider is not asked."""
    broken = _error(IncompleteResponseError)
    second = Scripted("second")
    texts = FallbackProvider([Scripted("first", ["It is", broken]), second]).chat_stream(_MESSAGES)

    assert await anext(texts) == "It is"
    with pytest.raises(IncompleteResponseError) as caught:
        await anext(texts)

    assert caught.value is broken
    assert second.asked == []


@pytest.mark.parametrize("error", [ConfigError("No key."), TypeError("a bug")], ids=["configuration", "bug"])
async def test_other_errors_are_raised_at_once(error: Exception) -> None:
    """A bad configuration and an error of the program are not hidden behind the next provider."""
    second = Scripted("second")
    provider = FallbackProvider([Scripted("first", [error], [error]), second])

    with pytest.raises(type(error)) as caught:
        await provider.chat(_MESSAGES)
    with pytest.raises(type(error)):
        await _events(provider)

    assert caught.value is error
    assert second.asked == []


async def test_all_failed_tells_every_error() -> None:
    """When nobody answers, the error holds all errors in order and says the last one aloud."""
    errors = [_error(AuthenticationError), _error(APITimeoutError)]
    provider = FallbackProvider([Scripted("first", *[[errors[0]]] * 2), Scripted("second", *[[errors[1]]] * 2)])

    with pytest.raises(AllProvidersFailedError) as chatted:
        await provider.chat(_MESSAGES)
    with pytest.raises(AllProvidersFailedError) as streamed:
        await _texts(provider)

    assert chatted.value.errors == streamed.value.errors == tuple(errors)
    assert str(chatted.value) == "No language model could answer. APITimeoutError."
    assert chatted.value.__cause__ is streamed.value.__cause__ is errors[1]


@pytest.mark.parametrize(
    ("error", "asked_first"),
    [
        pytest.param(_error(APIConnectionError), "second", id="no connection"),
        pytest.param(_error(APITimeoutError), "second", id="timeout"),
        pytest.param(_error(RateLimitError), "second", id="too many requests"),
        pytest.param(_error(RateLimitError, retry_after_s=60), "second", id="too many requests for a minute"),
        pytest.param(_error(RateLimitError, retry_after_s=0), "second", id="too many requests for no time"),
        pytest.param(_error(AuthenticationError), "second", id="wrong key"),
        pytest.param(_error(InternalServerError), "second", id="server failed"),
        pytest.param(_error(BadRequestError), "first", id="request refused"),
        pytest.param(_error(ContextWindowExceededError), "first", id="request too long"),
        pytest.param(_error(IncompleteResponseError), "first", id="garbled answer"),
    ],
)
async def test_a_provider_that_failed_rests(error: APIError, asked_first: str) -> None:
    """The turn after a provider's own failure asks the others first; a refused request is not its own failure."""
    provider = FallbackProvider([Scripted("first", [error]), Scripted("second")])
    await provider.chat(_MESSAGES)

    response = await provider.chat(_MESSAGES)

    assert response.content == f"Hello from {asked_first}."


async def test_a_resting_provider_is_asked_last_and_is_back_when_it_answers() -> None:
    """A resting provider still answers when the others fail, and then stands in its old place again."""
    first = Scripted("first", [_error()])
    second = Scripted("second", ["One."], [_error(BadRequestError)])
    provider = FallbackProvider([first, second])

    assert await _texts(provider) == ["One."]
    assert await _texts(provider) == ["Hello from first."]
    assert await _texts(provider) == ["Hello from first."]
    assert len(second.asked) == 2


async def test_when_all_rest_their_order_decides() -> None:
    """With nobody fresh the preferred provider is asked first again."""
    provider = FallbackProvider([Scripted("first", [_error()]), Scripted("second", [_error()])])
    with pytest.raises(AllProvidersFailedError):
        await provider.chat(_MESSAGES)

    assert (await provider.chat(_MESSAGES)).content == "Hello from first."


async def test_no_rest_without_a_cooldown() -> None:
    """With a cooldown of zero seconds every turn asks the preferred provider first."""
    provider = FallbackProvider([Scripted("first", [_error()]), Scripted("second")], cooldown_s=0)
    await provider.chat(_MESSAGES)

    assert (await provider.chat(_MESSAGES)).content == "Hello from first."


async def test_a_failure_in_the_middle_makes_the_provider_rest() -> None:
    """A connection that broke after some text is not tried first in the next turn."""
    provider = FallbackProvider([Scripted("first", ["It is", _error()]), Scripted("second")])
    with pytest.raises(APIConnectionError):
        await _texts(provider)

    assert await _texts(provider) == ["Hello from second."]


async def test_it_speaks_for_whoever_answered_last() -> None:
    """Name, model, usage and thinking are those of the provider that answered last, at first of the preferred one."""
    provider = FallbackProvider([Scripted("first", [_error()]), Scripted("thinker")])
    assert (provider.provider_name, provider.model) == ("first", "model of first")
    assert provider.supports_think is False
    assert provider.last_usage is None

    await provider.chat(_MESSAGES)

    assert (provider.provider_name, provider.model) == ("thinker", "model of thinker")
    assert provider.supports_think is True
    assert provider._last_usage == provider.last_usage == TokenUsage(7, 1)


async def test_usage_is_known_with_the_last_event() -> None:
    """A listener that stops at ``ResponseDone`` finds this answer and its usage."""
    provider = FallbackProvider([Scripted("first")])

    async for event in provider.stream_events(_MESSAGES):
        if isinstance(event, ResponseDone):
            break

    assert provider.last_usage == TokenUsage(5, 1)
    assert provider.last_response == LLMResponse("Hello from first.", usage=TokenUsage(5, 1))


async def test_the_answer_is_known_after_each_way_to_ask() -> None:
    """The answer that was given, or that its provider noted behind a stream of text, is kept until the next request."""
    provider = FallbackProvider([Scripted("first", *[["Hi."]] * 3)])
    answer = LLMResponse("Hi.", usage=TokenUsage(5, 1))

    assert await provider.chat(_MESSAGES) == provider.last_response == answer
    assert await _texts(provider) == ["Hi."]
    assert provider.last_response == answer
    assert (await _events(provider))[-1] == ResponseDone(provider.last_response)


async def test_after_a_failure_the_answer_before_is_forgotten() -> None:
    """Nobody takes the usage of an older answer for that of a request that failed."""
    provider = FallbackProvider([Scripted("first", ["Hi."], [_error(BadRequestError)])])
    await provider.chat(_MESSAGES)

    with pytest.raises(AllProvidersFailedError):
        await provider.chat(_MESSAGES)

    assert (provider.last_response, provider.last_usage) == (None, None)


async def test_concurrent_turns_keep_their_own_usage() -> None:
    """What belongs to an answer stands in it, whoever else asks the same providers meanwhile."""
    provider = FallbackProvider([Scripted("first", ["One."], [_error(BadRequestError)]), Scripted("second")])
    early: Any = provider.stream_events(_MESSAGES)
    await anext(early)

    late = await provider.chat(_MESSAGES)

    assert [event async for event in early] == [ResponseDone(LLMResponse("One.", usage=TokenUsage(5, 1)))]
    assert late == LLMResponse("Hello from second.", usage=TokenUsage(6, 1))
    assert provider.provider_name == "first"  # which moved last


async def test_leaving_closes_the_stream_below_at_once() -> None:
    """A person who interrupts ends the request: closing the stream closes the provider's own."""
    first = Scripted("first", ["It ", "is"])
    stream: Any = FallbackProvider([first]).stream_events(_MESSAGES)
    await anext(stream)
    assert not first.stopped

    await stream.aclose()

    assert first.stopped


@pytest.mark.parametrize("way", ["chat", "chat_stream", "stream_events"])
async def test_tools_are_left_to_the_provider_that_asks(way: str) -> None:
    """Every provider gets the tools as the agent wrote them: whoever sends a request prepares them for it."""
    first, second = Scripted("first", [_error()]), Scripted("second")
    provider = FallbackProvider([first, second])

    asked = getattr(provider, way)(_MESSAGES, _TOOLS)
    await asked if way == "chat" else [each async for each in asked]

    assert [tools for _, tools, _ in first.asked + second.asked] == [_TOOLS, _TOOLS]


def _group(name: str, *errors: APIError | None) -> FallbackProvider:
    """A group whose providers fail once each with these errors, or answer."""
    return FallbackProvider([Scripted(f"{name} {at}", *[[error]] if error else []) for at, error in enumerate(errors)])


@pytest.mark.parametrize("way", ["chat", "chat_stream", "stream_events"])
async def test_a_group_may_be_one_of_a_group(way: str) -> None:
    """When each of an inner group failed, the outer one asks its next provider."""
    inner = _group("inner", _error(APITimeoutError), _error(BadRequestError))
    provider = FallbackProvider([inner, Scripted("second")])

    asked = getattr(provider, way)(_MESSAGES)
    await asked if way == "chat" else [each async for each in asked]

    assert provider.provider_name == "second"


async def test_all_failed_in_all_groups_is_said_once() -> None:
    """The error of groups in a group is one sentence of its own and the last provider's."""
    with pytest.raises(AllProvidersFailedError) as caught:
        await FallbackProvider([_group("a", _error()), _group("b", _error(RateLimitError))]).chat(_MESSAGES)

    assert str(caught.value) == "No language model could answer. RateLimitError."


@pytest.mark.parametrize(
    ("errors", "asked_first"),
    [
        pytest.param([_error(APITimeoutError), _error(AuthenticationError)], "second", id="all are down"),
        pytest.param([_error(APITimeoutError), _error(BadRequestError)], "inner 1", id="one refused the request"),
    ],
)
async def test_a_group_rests_if_all_of_it_do(errors: list[APIError], asked_first: str) -> None:
    """A group of which one is there is asked first again: it refused the request, not all requests."""
    provider = FallbackProvider([_group("inner", *errors), Scripted("second")])
    await provider.chat(_MESSAGES)

    assert (await provider.chat(_MESSAGES)).content == f"Hello from {asked_first}."


async def test_prewarm_reaches_all_and_an_unreachable_one_rests() -> None:
    """All providers are prewarmed; one that fails is no error yet, but the first turn asks another one first."""
    first, second = Scripted("first", [_error()]), Scripted("second")
    provider = FallbackProvider([first, second])

    await provider.prewarm()

    assert first.prewarmed
    assert second.prewarmed
    assert (await provider.chat(_MESSAGES)).content == "Hello from second."


async def test_prewarm_learns_of_a_server_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """A real provider tells an agent only in the log that its server is away; in a group of groups it rests for it."""
    away = create_provider(
        "openai_compatible", model="m", name="away", base_url="http://127.0.0.1:9/v1", retry={"attempts": 1}
    )

    async with FallbackProvider([FallbackProvider([away]), Scripted("here", [_error(BadRequestError)])]) as provider:
        await provider.prewarm()
        with pytest.raises(AllProvidersFailedError) as caught:
            await provider.chat(_MESSAGES)

    assert [type(error) for error in caught.value.errors] == [BadRequestError, AllProvidersFailedError]
    assert "away is in cooldown: prewarm failed (APIConnectionError)." in caplog.messages


async def test_a_group_of_which_one_is_there_is_asked_first() -> None:
    """A group rests after warming up only if none of it can be reached."""
    provider = FallbackProvider([_group("inner", _error(), None), Scripted("second")])

    await provider.prewarm()

    assert (await provider.chat(_MESSAGES)).content == "Hello from inner 1."


async def test_prewarm_is_no_error_although_all_are_down() -> None:
    """The servers may be there at the first turn."""
    provider = FallbackProvider([Scripted("first", [_error()])])

    await provider.prewarm()

    assert (provider.provider_name, provider.last_response) == ("first", None)


async def test_prewarm_raises_a_bad_configuration() -> None:
    """What the user must repair is said at the start."""
    with pytest.raises(ConfigError, match="No key"):
        await FallbackProvider([Scripted("first", [ConfigError("No key.")]), Scripted("second")]).prewarm()


async def test_closing_reaches_all_although_one_fails() -> None:
    """Every provider is closed, then the failure is raised."""
    first, second = Scripted("first", closing=RuntimeError("stuck")), Scripted("second")

    with pytest.raises(RuntimeError, match="stuck"):
        await FallbackProvider([first, second]).aclose()

    assert first.closed
    assert second.closed


async def test_it_is_an_async_context_manager() -> None:
    """Leaving the block closes all providers."""
    providers = [Scripted("first"), Scripted("second")]

    async with FallbackProvider(providers) as provider:
        await provider.chat(_MESSAGES)

    assert all(each.closed for each in providers)


def test_it_needs_a_provider() -> None:
    """Without providers there is nothing to fall back to, which is said at once."""
    with pytest.raises(ConfigError, match="at least one provider"):
        FallbackProvider([])


async def test_the_log_tells_each_switch_once(caplog: pytest.LogCaptureFixture) -> None:
    """Who failed and why, who answers while it rests, and that it is back: a line each, without the server's words."""
    said = InternalServerError("first failed. It said: secret words", provider="first", model="m", status_code=500)
    plain = IncompleteResponseError("cut: secret words", provider="first", model="m")
    group = FallbackProvider([Scripted("first", [said], ["Hi."], [plain]), Scripted("second")])
    with caplog.at_level("INFO", logger="adapters"):
        for _ in range(2):
            await group.chat(_MESSAGES)
        group._cooldowns.end(0)
        await group.chat(_MESSAGES)
        [piece async for piece in group.chat_stream(_MESSAGES)]
    await group.aclose()

    assert caplog.messages == [
        "first (InternalServerError, status 500) failed; second answers.",
        "first answers again, in place of second.",
        "first (IncompleteResponseError) failed; second answers.",
    ]


async def test_who_answers_while_another_rests_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A provider that broke off in the middle rests, and the log says who takes the next turn."""
    group = FallbackProvider([Scripted("first", ["It is", _error()]), Scripted("second")])
    with caplog.at_level("INFO", logger="adapters"):
        with pytest.raises(APIConnectionError):
            await _texts(group)
        await group.chat(_MESSAGES)
    await group.aclose()

    assert caplog.messages == ["second answers while first is in cooldown."]


async def test_a_whole_answer_that_breaks_off_moves_on() -> None:
    """Nothing of it was spoken yet, so ``chat`` asks the next provider; its answer has no word of the first."""
    provider = FallbackProvider([Scripted("first", ["It is", _error(IncompleteResponseError)]), Scripted("second")])

    response = await provider.chat(_MESSAGES)

    assert response.content == "Hello from second."
    assert provider.last_response is response


@pytest.mark.parametrize("texts", [[], ["It is"]], ids=["nothing", "a text"])
@pytest.mark.parametrize("way", ["chat", "chat_stream", "stream_events", "run_turn"])
async def test_a_stream_that_ends_early_is_a_failure(way: str, texts: list[str]) -> None:
    """Without ``ResponseDone`` an answer has broken off: another provider is asked, unless some of it was streamed."""

    class Endless(Scripted):
        """A provider whose streams have no end."""

        async def stream_events(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
            """Send some text and stop."""
            for text in texts:
                yield TextDelta(text)

    group = FallbackProvider([Endless("first"), Scripted("second")])
    messages: list[Message] = list(_MESSAGES)
    if texts and way != "chat":
        with pytest.raises(IncompleteResponseError, match=r"^first broke off its answer\. Please try again\.$"):
            await _content(group, way, messages)
    else:
        assert await _content(group, way, messages) == "Hello from second."

    if way == "run_turn":
        with pytest.raises(IncompleteResponseError, match="first broke off"):
            await _content(Endless("first"), way, messages)


async def _content(provider: LLMProvider, way: str, messages: list[Message]) -> str:
    if way == "chat":
        return (await provider.chat(messages)).content or ""
    if way == "chat_stream":
        return "".join([text async for text in provider.chat_stream(messages)])
    stream = run_turn(provider, messages) if way == "run_turn" else provider.stream_events(messages)
    return "".join([event.text async for event in stream if isinstance(event, TextDelta)])


async def test_it_shows_the_options_of_whoever_answered() -> None:
    """CAAL looks for them; a provider that has none leaves them unknown."""
    ollama = create_provider("ollama", model="m", think=False, num_ctx=4096, temperature=0.2)
    provider = FallbackProvider([ollama, Scripted("second")])
    assert (provider.think, provider.num_ctx, provider.temperature) == (False, 4096, 0.2)

    provider = FallbackProvider([Scripted("first")])
    assert (provider.think, provider.num_ctx, provider.temperature) == (None, None, None)
