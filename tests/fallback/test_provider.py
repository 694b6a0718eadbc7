"""``adapters.fallback``: several providers behind the contract of one.

It only composes, so the providers here are scripted and send nothing; ``test_hedge.py`` uses real servers.
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
    """Plays one script after another: texts, calls and at most one error at the end.

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
        """The given name."""
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

    async def prewarm(self, *_: Any, **__: Any) -> None:
        """Record it, then fail if the next script is a single error."""
        self.prewarmed = True
        if self._scripts and isinstance(self._scripts[0][0], Exception):
            raise self._scripts[0][0]

    async def aclose(self) -> None:
        """Record it, then raise the given error, if any."""
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


async def test_the_preferred_provider_answers_while_it_can() -> None:
    """Only the preferred provider is asked, and it gets the arguments unchanged."""
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
async def test_any_api_error_starts_a_failover(kind: type[APIError]) -> None:
    """Whatever the error of one provider is, the next one is asked, in each way to make a call."""
    provider = FallbackProvider([Scripted("first", *[[_error(kind)]] * 3), Scripted("second")])

    assert (await provider.chat(_MESSAGES)).content == "Hello from second."
    assert await _texts(provider) == ["Hello from second."]
    assert (await _events(provider))[0] == TextDelta("Hello from second.")


async def test_no_failover_after_the_first_text() -> None:
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
async def test_other_errors_start_no_failover(error: Exception) -> None:
    """A bad configuration and an error of the program are raised as they are."""
    second = Scripted("second")
    provider = FallbackProvider([Scripted("first", [error], [error]), second])

    with pytest.raises(type(error)) as caught:
        await provider.chat(_MESSAGES)
    with pytest.raises(type(error)):
        await _events(provider)

    assert caught.value is error
    assert second.asked == []


async def test_the_error_of_all_holds_each_error() -> None:
    """If no provider answers, the error holds all errors in order, and its text is that of the last."""
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
async def test_a_failed_provider_enters_cooldown(error: APIError, asked_first: str) -> None:
    """The call after a provider's own failure asks the others first; a rejected request is not its own failure."""
    provider = FallbackProvider([Scripted("first", [error]), Scripted("second")])
    await provider.chat(_MESSAGES)

    response = await provider.chat(_MESSAGES)

    assert response.content == f"Hello from {asked_first}."


async def test_a_provider_in_cooldown_is_asked_last_and_comes_back_when_it_answers() -> None:
    """It still answers if the others fail, and is the preferred one again after that."""
    first = Scripted("first", [_error()])
    second = Scripted("second", ["One."], [_error(BadRequestError)])
    provider = FallbackProvider([first, second])

    assert await _texts(provider) == ["One."]
    assert await _texts(provider) == ["Hello from first."]
    assert await _texts(provider) == ["Hello from first."]
    assert len(second.asked) == 2


async def test_the_order_decides_if_all_are_in_cooldown() -> None:
    """The preferred provider is asked first again."""
    provider = FallbackProvider([Scripted("first", [_error()]), Scripted("second", [_error()])])
    with pytest.raises(AllProvidersFailedError):
        await provider.chat(_MESSAGES)

    assert (await provider.chat(_MESSAGES)).content == "Hello from first."


async def test_no_cooldown_of_zero_seconds() -> None:
    """With ``cooldown_s=0`` every call asks the preferred provider first."""
    provider = FallbackProvider([Scripted("first", [_error()]), Scripted("second")], cooldown_s=0)
    await provider.chat(_MESSAGES)

    assert (await provider.chat(_MESSAGES)).content == "Hello from first."


async def test_a_failure_in_the_middle_starts_a_cooldown() -> None:
    """A provider whose connection broke after some text is not asked first by the next call."""
    provider = FallbackProvider([Scripted("first", ["It is", _error()]), Scripted("second")])
    with pytest.raises(APIConnectionError):
        await _texts(provider)

    assert await _texts(provider) == ["Hello from second."]


async def test_it_has_the_properties_of_the_provider_that_answered_last() -> None:
    """Name, model, usage and thinking are those of that provider; at first, of the preferred one."""
    provider = FallbackProvider([Scripted("first", [_error()]), Scripted("thinker")])
    assert (provider.provider_name, provider.model) == ("first", "model of first")
    assert provider.supports_think is False
    assert provider.last_usage is None

    await provider.chat(_MESSAGES)

    assert (provider.provider_name, provider.model) == ("thinker", "model of thinker")
    assert provider.supports_think is True
    assert provider._last_usage == provider.last_usage == TokenUsage(7, 1)


async def test_usage_is_known_with_the_last_event() -> None:
    """A caller that stops at ``ResponseDone`` finds this response and its usage."""
    provider = FallbackProvider([Scripted("first")])

    async for event in provider.stream_events(_MESSAGES):
        if isinstance(event, ResponseDone):
            break

    assert provider.last_usage == TokenUsage(5, 1)
    assert provider.last_response == LLMResponse("Hello from first.", usage=TokenUsage(5, 1))


async def test_the_response_is_kept_after_each_way_to_make_a_call() -> None:
    """The latest response is kept until the next call, also after a stream of text."""
    provider = FallbackProvider([Scripted("first", *[["Hi."]] * 3)])
    answer = LLMResponse("Hi.", usage=TokenUsage(5, 1))

    assert await provider.chat(_MESSAGES) == provider.last_response == answer
    assert await _texts(provider) == ["Hi."]
    assert provider.last_response == answer
    assert (await _events(provider))[-1] == ResponseDone(provider.last_response)


async def test_a_failure_forgets_the_response_before() -> None:
    """The usage of an older response is not taken for that of a failed call."""
    provider = FallbackProvider([Scripted("first", ["Hi."], [_error(BadRequestError)])])
    await provider.chat(_MESSAGES)

    with pytest.raises(AllProvidersFailedError):
        await provider.chat(_MESSAGES)

    assert (provider.last_response, provider.last_usage) == (None, None)


async def test_concurrent_calls_keep_their_own_usage() -> None:
    """A response holds what belongs to its call, whatever other calls run meanwhile."""
    provider = FallbackProvider([Scripted("first", ["One."], [_error(BadRequestError)]), Scripted("second")])
    early: Any = provider.stream_events(_MESSAGES)
    await anext(early)

    late = await provider.chat(_MESSAGES)

    assert [event async for event in early] == [ResponseDone(LLMResponse("One.", usage=TokenUsage(5, 1)))]
    assert late == LLMResponse("Hello from second.", usage=TokenUsage(6, 1))
    assert provider.provider_name == "first"  # which sent the latest event


async def test_closing_a_stream_closes_that_of_the_provider() -> None:
    """A barge-in ends the request."""
    first = Scripted("first", ["It ", "is"])
    stream: Any = FallbackProvider([first]).stream_events(_MESSAGES)
    await anext(stream)
    assert not first.stopped

    await stream.aclose()

    assert first.stopped


@pytest.mark.parametrize("way", ["chat", "chat_stream", "stream_events"])
async def test_each_provider_prepares_the_tools_itself(way: str) -> None:
    """A group passes tools through unchanged."""
    first, second = Scripted("first", [_error()]), Scripted("second")
    provider = FallbackProvider([first, second])

    asked = getattr(provider, way)(_MESSAGES, _TOOLS)
    await asked if way == "chat" else [event async for event in asked]

    assert [tools for _, tools, _ in first.asked + second.asked] == [_TOOLS, _TOOLS]


def _group(name: str, *errors: APIError | None) -> FallbackProvider:
    """Make a group whose providers each fail once with the given error, or answer."""
    return FallbackProvider([Scripted(f"{name} {at}", *[[error]] if error else []) for at, error in enumerate(errors)])


@pytest.mark.parametrize("way", ["chat", "chat_stream", "stream_events"])
async def test_a_group_may_be_one_of_a_group(way: str) -> None:
    """If all providers of the inner group fail, the outer group asks its next one."""
    inner = _group("inner", _error(APITimeoutError), _error(BadRequestError))
    provider = FallbackProvider([inner, Scripted("second")])

    asked = getattr(provider, way)(_MESSAGES)
    await asked if way == "chat" else [event async for event in asked]

    assert provider.provider_name == "second"


async def test_the_error_of_nested_groups_has_one_text() -> None:
    """Its text is one sentence and the text of the last provider."""
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
async def test_a_group_enters_cooldown_if_all_of_it_do(errors: list[APIError], asked_first: str) -> None:
    """A group with one available provider is asked first again: it rejected that request, not every request."""
    provider = FallbackProvider([_group("inner", *errors), Scripted("second")])
    await provider.chat(_MESSAGES)

    assert (await provider.chat(_MESSAGES)).content == f"Hello from {asked_first}."


async def test_prewarm_starts_cooldowns_of_unreachable_providers() -> None:
    """All providers are prewarmed; a failure is no error yet, but the first call asks another provider first."""
    first, second = Scripted("first", [_error()]), Scripted("second")
    provider = FallbackProvider([first, second])

    await provider.prewarm()

    assert first.prewarmed
    assert second.prewarmed
    assert (await provider.chat(_MESSAGES)).content == "Hello from second."


async def test_prewarm_of_nested_groups_starts_cooldowns(caplog: pytest.LogCaptureFixture) -> None:
    """A provider alone only logs that its server is away; in a group it enters cooldown, at every level."""
    away = create_provider(
        "openai_compatible", model="m", name="away", base_url="http://127.0.0.1:9/v1", retry={"attempts": 1}
    )

    async with FallbackProvider([FallbackProvider([away]), Scripted("here", [_error(BadRequestError)])]) as provider:
        await provider.prewarm()
        with pytest.raises(AllProvidersFailedError) as caught:
            await provider.chat(_MESSAGES)

    assert [type(error) for error in caught.value.errors] == [BadRequestError, AllProvidersFailedError]
    assert "away is in cooldown: prewarm failed (APIConnectionError)." in caplog.messages


async def test_a_group_with_one_available_provider_is_asked_first() -> None:
    """Prewarming starts the cooldown of a group only if none of its providers can be reached."""
    provider = FallbackProvider([_group("inner", _error(), None), Scripted("second")])

    await provider.prewarm()

    assert (await provider.chat(_MESSAGES)).content == "Hello from inner 1."


async def test_prewarm_is_no_error_if_all_are_down() -> None:
    """The servers may be available for the first call."""
    provider = FallbackProvider([Scripted("first", [_error()])])

    await provider.prewarm()

    assert (provider.provider_name, provider.last_response) == ("first", None)


async def test_prewarm_raises_a_bad_configuration() -> None:
    """A mistake of the user is an error at the start."""
    with pytest.raises(ConfigError, match="No key"):
        await FallbackProvider([Scripted("first", [ConfigError("No key.")]), Scripted("second")]).prewarm()


async def test_all_providers_are_closed_if_one_fails() -> None:
    """Every provider is closed before the error is raised."""
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

    assert all(provider.closed for provider in providers)


def test_it_needs_a_provider() -> None:
    """Without providers there is nothing to fall back to."""
    with pytest.raises(ConfigError, match="at least one provider"):
        FallbackProvider([])


def test_its_repr_names_its_providers() -> None:
    """The order is that in which they are asked."""
    members = [create_provider("ollama", model=name, name=name) for name in ("home", "away")]

    shown = repr(FallbackProvider([members[0], FallbackProvider(members[1:])]))

    assert shown == f"FallbackProvider([{members[0]!r}, FallbackProvider([{members[1]!r}])])"


async def test_each_failover_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failover, with its reason, and the return are one line each, without the words of the server."""
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


async def test_a_cooldown_is_logged_as_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    """If a provider broke off in the middle, the next call logs why another one answers."""
    group = FallbackProvider([Scripted("first", ["It is", _error()]), Scripted("second")])
    with caplog.at_level("INFO", logger="adapters"):
        with pytest.raises(APIConnectionError):
            await _texts(group)
        await group.chat(_MESSAGES)
    await group.aclose()

    assert caplog.messages == ["second answers while first is in cooldown."]


async def test_chat_has_a_failover_after_the_first_text() -> None:
    """Nothing was streamed to the caller, so the next provider is asked; no text of the first is left."""
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
        with pytest.raises(IncompleteResponseError, match=r"^first stopped in the middle of its answer\. "):
            await _content(group, way, messages)
    else:
        assert await _content(group, way, messages) == "Hello from second."

    if way == "run_turn":
        with pytest.raises(IncompleteResponseError, match="first stopped"):
            await _content(Endless("first"), way, messages)


async def _content(provider: LLMProvider, way: str, messages: list[Message]) -> str:
    if way == "chat":
        return (await provider.chat(messages)).content or ""
    if way == "chat_stream":
        return "".join([text async for text in provider.chat_stream(messages)])
    stream = run_turn(provider, messages) if way == "run_turn" else provider.stream_events(messages)
    return "".join([event.text async for event in stream if isinstance(event, TextDelta)])


async def test_it_has_the_options_of_the_provider_that_answered() -> None:
    """CAAL reads them; they are None if the provider has none."""
    ollama = create_provider("ollama", model="m", think=False, num_ctx=4096, temperature=0.2)
    provider = FallbackProvider([ollama, Scripted("second")])
    assert (provider.think, provider.num_ctx, provider.temperature) == (False, 4096, 0.2)

    provider = FallbackProvider([Scripted("first")])
    assert (provider.think, provider.num_ctx, provider.temperature) == (None, None, None)
