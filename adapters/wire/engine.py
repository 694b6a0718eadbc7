"""The one door to LiteLLM and to the client classes that it wants.

LiteLLM is imported late and in a thread: it costs seconds, and a voice agent must not stall. Everything about it
that would print, phone home or send a request twice is switched off here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from adapters.wire.origin import NO_KEY

if TYPE_CHECKING:
    from types import ModuleType

_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_DRY_URL = "http://prewarm.invalid/v1"
_CALL_TIMEOUT_S = 6000.0  # LiteLLM insists on a number; our own deadlines are far shorter
_PREFIXES = ("openai/", "openrouter/")

_loading: concurrent.futures.Future[ModuleType] | None = None
_lock = threading.Lock()


async def acompletion(
    prefix: str,
    model: str,
    messages: list[dict[str, Any]],
    *,
    client: Any,  # noqa: ANN401 - what create_engine_client made
    base_url: str,
    api_key: str,
    headers: dict[str, str],
    body: dict[str, Any],
    stream: bool,
) -> None:
    """Let LiteLLM build one request and send it; the answer is in the watched exchange, not returned.

    Args:
        prefix: LiteLLM's route, ``openai/`` or ``openrouter/``.
        model: The model as the server knows it.
        messages: The conversation.
        client: The client for this prefix, see ``create_engine_client``.
        base_url: The server.
        api_key: The key; servers without one get ``not-needed``.
        headers: Headers of the request beside LiteLLM's own.
        body: All other fields of the request. They travel as ``extra_body``: as named arguments LiteLLM checks
            them against its own model list (it refuses a temperature for ``gpt-5`` on any server) and, in some
            versions, imports the module mcp when it sees ``tools``.
        stream: Whether the answer is streamed.

    Raises:
        Exception: Whatever LiteLLM makes of a failure. It counts only if the exchange holds nothing.
    """
    litellm = await loaded()
    await litellm.acompletion(
        model=prefix + model,
        messages=messages,
        stream=stream,
        api_base=base_url,
        api_key=api_key,
        client=client,
        extra_headers=headers,
        extra_body=body,
        timeout=_CALL_TIMEOUT_S,
        max_retries=0,
        num_retries=0,
        drop_params=False,
    )


def create_engine_client(prefix: str, http_client: httpx.AsyncClient, *, base_url: str, api_key: str) -> Any:  # noqa: ANN401 - LiteLLM takes two unrelated classes
    """Wrap our HTTP client in the class that LiteLLM wants for a prefix; ``loaded`` must have been awaited."""
    if prefix == "openrouter/":
        from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

        handler = AsyncHTTPHandler()
        handler.client = http_client
        return handler
    from openai import AsyncOpenAI

    return AsyncOpenAI(api_key=api_key, base_url=base_url, http_client=http_client, max_retries=0)


async def loaded() -> ModuleType:
    """Import LiteLLM once, in a thread; later calls return at once."""
    return await asyncio.wrap_future(_start_loading())


async def rehearse() -> None:
    """Let LiteLLM load all that it loads at its first call, with no network, in a thread with a loop of its own."""
    await loaded()
    await asyncio.to_thread(lambda: asyncio.run(_dry_calls()))


def _start_loading() -> concurrent.futures.Future[ModuleType]:
    global _loading  # noqa: PLW0603 - one import for the whole process
    with _lock:
        if _loading is None:
            _loading = concurrent.futures.Future()
            threading.Thread(target=partial(_load, _loading), name="adapters-load-litellm", daemon=True).start()
        return _loading


def _load(future: concurrent.futures.Future[ModuleType]) -> None:
    try:
        future.set_result(_import_litellm())
    except BaseException as error:  # noqa: BLE001 - it is not swallowed: whoever awaits the future gets it
        future.set_exception(error)


def _import_litellm() -> ModuleType:
    # Both are read while LiteLLM is imported: no download of a price list, no .env file of whoever runs us.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    collecting = gc.isenabled()
    gc.disable()  # half a million new objects: collecting among them stalls the event loop for 100 ms and more
    try:
        import litellm
    finally:
        if collecting:
            gc.freeze()  # else the first collection afterwards walks through all of them
            gc.enable()
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    for name in _LOGGERS:
        # With the root logger at DEBUG they print prompts; what matters reaches the caller as an exception.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return litellm


async def _dry_calls() -> None:
    for prefix in _PREFIXES:
        async with httpx.AsyncClient(transport=httpx.MockTransport(_dry_answer)) as http_client:
            client = create_engine_client(prefix, http_client, base_url=_DRY_URL, api_key=NO_KEY)
            for stream in (False, True):
                await acompletion(
                    prefix,
                    "prewarm",
                    [{"role": "user", "content": "Hi"}],
                    client=client,
                    base_url=_DRY_URL,
                    api_key=NO_KEY,
                    headers={},
                    body={"max_tokens": 1},
                    stream=stream,
                )


def _dry_answer(request: httpx.Request) -> httpx.Response:
    if b'"stream":true' in request.content.replace(b" ", b""):
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"data: [DONE]\n\n")
    message = {"role": "assistant", "content": "Hi"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "prewarm", "choices": choices}
    return httpx.Response(200, json=answer)
