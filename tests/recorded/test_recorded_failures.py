"""How real servers refuse, replayed: each refusal is one error class, with a sentence that can be spoken.

Recorded as ``test_recorded``; the rows ``stand-in`` show failures of OpenRouter that cannot be provoked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters import (
    APIError,
    AuthenticationError,
    ContentFilterError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitError,
)
from tests.servers.questions import HELLO, ONE_CITY, TOO_LONG, TOOLS
from tests.servers.rows import LITELLM_PROXY, LLAMA_CPP, MLX_LM, OPENROUTER, STAND_IN, Row, servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vcr.cassette import Cassette  # type: ignore[import-untyped]  # vcrpy carries no types

    from adapters import LLMProvider
    from tests.servers.questions import Messages

pytestmark = pytest.mark.vcr


async def collect(stream: AsyncIterator[str], pieces: list[str]) -> None:
    """Read a stream into a list that keeps what came before an error."""
    async for text in stream:
        pieces.append(text)  # noqa: PERF401 - a comprehension would lose them with the error


async def ask(provider: LLMProvider, messages: Messages, *, streamed: bool) -> None:
    """Ask for an answer and throw it away."""
    if streamed:
        await collect(provider.chat_stream(messages), [])
    else:
        await provider.chat(messages)


@pytest.mark.parametrize(
    ("server", "options", "messages", "expected"),
    [
        pytest.param(LLAMA_CPP, {"api_key": "wrong"}, HELLO, AuthenticationError, id="llama-cpp-wrong-key"),
        pytest.param(LLAMA_CPP, {}, TOO_LONG, ContextWindowExceededError, id="llama-cpp-too-long"),
        # Without a database the proxy cannot look a key up, and says so with status 400 and a code of its own.
        pytest.param(LITELLM_PROXY, {"api_key": "sk-wrong"}, HELLO, AuthenticationError, id="litellm-proxy-wrong-key"),
        pytest.param(LITELLM_PROXY, {"model": "missing"}, HELLO, NotFoundError, id="litellm-proxy-unknown-model"),
        pytest.param(LITELLM_PROXY, {}, TOO_LONG, ContextWindowExceededError, id="litellm-proxy-too-long"),
        pytest.param(MLX_LM, {"model": "missing"}, HELLO, NotFoundError, id="mlx-lm-unknown-model"),
        pytest.param(OPENROUTER, {"api_key": "wrong"}, HELLO, AuthenticationError, id="openrouter-wrong-key"),
        pytest.param(OPENROUTER, {"model": "missing/model"}, HELLO, NotFoundError, id="openrouter-unknown-model"),
        *(
            pytest.param(STAND_IN, {"model": f"faults/{model}"}, HELLO, expected, id=f"stand-in-{model}")
            for model, expected in (
                ("no-credits", PaymentRequiredError),
                ("flagged", ContentFilterError),
                ("small-window", ContextWindowExceededError),
                ("down", InternalServerError),
                ("error-inside", InternalServerError),
            )
        ),
    ],
)
@pytest.mark.parametrize("streamed", [pytest.param(False, id="whole"), pytest.param(True, id="streamed")])
async def test_refusal(
    server: Row, options: dict[str, Any], messages: Messages, expected: type[APIError], *, streamed: bool
) -> None:
    """Each refusal is the same error, asked for whole or streamed; it names the provider and hides key and prompt."""
    async with server.provider(**options) as provider:
        with pytest.raises(APIError) as caught:
            await ask(provider, messages, streamed=streamed)

    assert type(caught.value) is expected
    assert server.name in str(caught.value)
    assert not any(hidden in str(caught.value) for hidden in ("wrong", "word word", "flagged words"))


@pytest.mark.parametrize(
    ("server", "model", "allowed", "wait_s"),
    [
        pytest.param(LITELLM_PROXY, "limited", 1, 60, id="litellm-proxy"),
        pytest.param(STAND_IN, "faults/rate-limited", 0, 60, id="stand-in"),
    ],
)
async def test_rate_limit(server: Row, model: str, allowed: int, wait_s: float, vcr: Cassette) -> None:
    """A 429 tells how long to wait, and a wait beyond the deadline is not begun: the error comes at once."""
    async with server.provider(model=model, retry={"attempts": 3}) as provider:
        for _ in range(allowed):
            await provider.chat(HELLO)
        with pytest.raises(RateLimitError) as caught:
            await provider.chat(HELLO)

    assert caught.value.retry_after_s == wait_s
    assert len(vcr.requests) == allowed + 1


@servers(STAND_IN)
async def test_money_held_by_other_requests(server: Row) -> None:
    """A 402 that passes says when to come back, and may be retried; one for want of credits may not."""
    async with server.provider(model="faults/in-flight") as provider:
        with pytest.raises(PaymentRequiredError) as caught:
            await provider.chat(HELLO)

    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 30)


@servers(STAND_IN)
async def test_model_without_tools(server: Row) -> None:
    """OpenRouter's "no endpoints" becomes a sentence that says what to change."""
    async with server.provider(model="deepseek/deepseek-r1:free") as provider:
        with pytest.raises(NotFoundError, match="does not support tools"):
            await provider.chat(ONE_CITY, TOOLS)


@servers(STAND_IN)
async def test_break_in_the_middle(server: Row) -> None:
    """What was streamed before the upstream failed stays, and the error repeats the upstream's words."""
    pieces: list[str] = []
    async with server.provider(model="faults/disconnect") as provider:
        with pytest.raises(InternalServerError, match="disconnected") as caught:
            await collect(provider.chat_stream(HELLO), pieces)

    assert "".join(pieces) == "Hello! How can I help you today?"
    assert caught.value.retryable
