"""Tracebacks with the values of all variables, as error trackers write them: no frame of ours shows key or prompt."""

from __future__ import annotations

import socket
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import adapters
from adapters import APIError, FallbackProvider, LLMProvider, create_provider, run_turn
from adapters.testing.answers import SSE_HEAD, answer, call, event, http, http_chunk, reply, said
from adapters.testing.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters import LLMResponse
    from adapters.config import KindName
    from adapters.testing.answers import Action

_OURS = str(Path(adapters.__file__).parent)
_KEY = "sk-key-that-nobody-may-see"
_PROMPT = "words-that-nobody-may-see"
_SECRETS = {"key": _KEY, "prompt": _PROMPT, "header": "header-that-nobody-may-see", "option": "option-not-to-see"}
_ECHO = {"error": {"message": f"Incorrect API key provided: {_KEY}"}}
_CUT: tuple[Action, ...] = (SSE_HEAD, http_chunk(event(said("Half "))), "eof")
_CUT_BODY = (http(b'{"choices": [')[:-20], "eof")


def _chain(error: BaseException) -> list[BaseException]:
    """The error and all that it came from, also where ``from None`` hides it."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__, *getattr(each, "errors", ())]
    return found


def _frames(error: BaseException) -> list[tuple[str, dict[str, str]]]:
    """Our frames in the whole chain: where each is, and its variables as they are written."""
    return [
        (f"{frame.filename}:{frame.lineno} {frame.name}", frame.locals or {})
        for each in _chain(error)
        for frame in traceback.TracebackException.from_exception(each, capture_locals=True).stack
        if frame.filename.startswith(_OURS)
    ]


async def _failed(provider: LLMProvider, way: str) -> APIError:
    messages = [{"role": "user", "content": _PROMPT}]
    options: dict[str, Any] = {"user": _SECRETS["option"], "extra_headers": {"X-Own": _SECRETS["header"]}}
    async with provider:
        with pytest.raises(APIError) as raised:
            await _ask(provider, way, messages, options)
    return raised.value


async def _ask(provider: LLMProvider, way: str, messages: list[dict[str, Any]], options: dict[str, Any]) -> None:
    if way == "chat":
        await provider.chat(messages, **options)
    elif way == "chat_stream":
        [piece async for piece in provider.chat_stream(messages, **options)]
    else:
        [each async for each in provider.stream_events(messages, **options)]


@pytest.fixture(scope="module")
def closed_port() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize("way", ["chat", "chat_stream", "stream_events"])
@pytest.mark.parametrize("group", [False, True], ids=["one provider", "a fallback"])
@pytest.mark.parametrize("kind", ["openai_compatible", "openrouter"])
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(reply(_ECHO, "401 Unauthorized"), id="401-that-repeats-the-key"),
        pytest.param(reply(_ECHO, "500 Internal Server Error"), id="500"),
        pytest.param(None, id="refused-connection"),
        pytest.param(("rst",), id="reset-connection"),
        pytest.param(("hang",), id="late"),
        pytest.param(_CUT, id="cut-stream"),
        pytest.param(_CUT_BODY, id="cut-body"),
    ],
)
async def test_no_frame_shows_a_secret(
    script: tuple[Action, ...] | None, kind: KindName, group: bool, way: str, closed_port: int
) -> None:
    """Whatever fails, and however it was asked, the variables of our frames hold neither key nor prompt."""
    async with ScriptedServer() as server:
        base_url = server.add("it", script) if script else f"http://127.0.0.1:{closed_port}/v1"
        provider: LLMProvider = create_provider(
            kind,
            model="m",
            base_url=base_url,
            api_key=_KEY,
            headers={"X-Of-Provider": _SECRETS["header"]},
            retry={"attempts": 2, "initial_wait_s": 0},
            timeouts={"first_token_s": 0.1, "total_s": 0.3},
        )
        error = await _failed(FallbackProvider([provider]) if group else provider, way)
    shown = [
        (frame, name, secret)
        for frame, values in _frames(error)
        for name, text in values.items()
        for secret, value in _SECRETS.items()
        if value in text
    ]

    assert _frames(error)
    assert shown == []


async def test_no_frame_of_a_failed_prewarm_shows_a_secret(closed_port: int) -> None:
    """Warming up sends the key by a way of its own; its error does not show it either."""
    provider = create_provider("openai_compatible", model="m", base_url=f"http://127.0.0.1:{closed_port}", api_key=_KEY)
    with pytest.raises(APIError) as raised:
        await provider._prewarm()
    await provider.aclose()

    assert _frames(raised.value)
    assert _KEY not in str(_frames(raised.value))


class _Plain(LLMProvider):
    """A third-party provider with the required methods only; its own frames are not checked."""

    provider_name = "plain"
    model = "m"

    async def chat(self, *_: Any, **__: Any) -> LLMResponse:
        raise APIError("Failed.", provider="plain", model="m")

    async def chat_stream(self, *_: Any, **__: Any) -> AsyncIterator[str]:
        raise APIError("Failed.", provider="plain", model="m")
        yield ""


@pytest.mark.parametrize("options", [{}, {"tool_choice": "none"}], ids=["chat", "chat_stream"])
async def test_no_frame_of_the_contract_shows_a_secret(options: dict[str, Any]) -> None:
    """``stream_events`` as the base class has it keeps nothing of what was asked."""
    with pytest.raises(APIError) as raised:
        async for _ in _Plain().stream_events([{"content": _PROMPT}], user=_SECRETS["option"], **options):
            pass

    assert [where for where, _ in _frames(raised.value) if where.endswith(" stream_events")]
    assert [value for value in _SECRETS.values() if value in str(_frames(raised.value))] == []


async def test_no_frame_of_a_turn_shows_the_conversation() -> None:
    """A turn that fails after its tools shows nothing that was asked, said, called or found in it."""
    words = {**_SECRETS, "said": "Moment-not-to-see", "argument": "Paris-not-to-see", "result": "sunny-not-to-see"}

    def weather(city: str) -> str:
        """Tell the weather."""
        assert city == words["argument"]
        return words["result"]

    asked = call("weather", f'{{"city": "{words["argument"]}"}}')
    messages = [{"role": "user", "content": _PROMPT}]
    async with ScriptedServer() as server:
        base_url = server.add("it", answer(words["said"], calls=[asked]), _CUT)
        async with create_provider("openai_compatible", model="m", base_url=base_url, api_key=_KEY) as provider:
            with pytest.raises(APIError) as raised:
                [
                    each
                    async for each in run_turn(
                        provider, messages, [weather], context=_PROMPT, user=words["option"], filler_after_s=60
                    )
                ]
    frames = _frames(raised.value)

    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert any(frame.endswith(" run_turn") for frame, _ in frames)
    assert [
        (frame, name, word)
        for frame, values in frames
        for name, text in values.items()
        for word, value in words.items()
        if value in text
    ] == []
