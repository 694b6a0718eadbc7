"""The one door to LiteLLM and to the client classes that it wants.

LiteLLM is imported late and in a thread: it costs seconds, and a voice agent must not stall. Everything about it
that would print, phone home or send a request twice is switched off here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from adapters.wire.exchange import receipt
from adapters.wire.origin import NO_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

_LOG_LEVELS = {
    # With the root logger at DEBUG they print prompts; what matters reaches the caller as an exception.
    **dict.fromkeys(("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"), logging.CRITICAL),
    "openai": logging.INFO,  # below it are the prompt and the headers of each request
}
_DRY_URL = "http://prewarm.invalid/v1"
_CALL_TIMEOUT_S = 6000.0  # LiteLLM insists on a number; our own deadlines are far shorter

_done: dict[str, concurrent.futures.Future[Any]] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Route:
    """One provider's way through LiteLLM, for one event loop.

    Attributes:
        prefix: LiteLLM's route, ``openai/`` or ``openrouter/``.
        base_url: The server.
        api_key: The key as it is sent.
        headers: Headers of each request beside LiteLLM's own.
        http: The client that sends the requests.
        client: The same client, in the class that LiteLLM wants for the prefix; see ``wrapped``.
    """

    prefix: str
    base_url: str
    api_key: str
    headers: Mapping[str, str]
    http: httpx.AsyncClient
    client: Any

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers of a request that goes past LiteLLM."""
        return {"Authorization": f"Bearer {self.api_key}", **self.headers}


def create_route(
    prefix: str, http: httpx.AsyncClient, *, base_url: str, api_key: str, headers: Mapping[str, str]
) -> Route:
    """Make the way for one provider and event loop; ``loaded`` must have been awaited before."""
    return Route(prefix, base_url, api_key, headers, http, _wrapped(prefix, http, base_url, api_key))


async def acompletion(
    route: Route, model: str, messages: list[dict[str, Any]], body: dict[str, Any], *, stream: bool
) -> None:
    """Let LiteLLM build one request and send it; the answer is in the watched exchange, not returned.

    Args:
        route: The way to the provider.
        model: The model as the server knows it.
        messages: The conversation.
        body: All other fields of the request. They travel as ``extra_body``: as named arguments LiteLLM checks
            them against its own model list (it refuses a temperature for ``gpt-5`` on any server) and, in some
            versions, imports the module mcp when it sees ``tools``.
        stream: Whether the answer is streamed.

    Raises:
        Exception: Whatever LiteLLM makes of a failure. It counts only if the exchange holds nothing.
    """
    litellm = await loaded()
    await litellm.acompletion(
        model=route.prefix + model,
        messages=messages,
        stream=stream,
        api_base=route.base_url,
        api_key=route.api_key,
        client=route.client,
        extra_headers=dict(route.headers),
        extra_body=body,
        timeout=_CALL_TIMEOUT_S,
        max_retries=0,
        num_retries=0,
        drop_params=False,
        caching=False,
    )


async def loaded() -> ModuleType:
    """Import LiteLLM once, in a thread; later calls return at once."""
    module: ModuleType = await asyncio.wrap_future(_once("litellm", _import_litellm))
    return module


async def rehearsed(prefix: str) -> None:
    """Let LiteLLM load once all that it loads at its first call for a prefix.

    It does so in a thread with a loop of its own and with no network: on the caller's loop the first call would
    stall everything else for a quarter of a second.
    """
    await loaded()
    with contextlib.suppress(Exception):  # it only saves time; what is wrong is told by the request itself
        await asyncio.wrap_future(_once(prefix, lambda: asyncio.run(_dry_calls(prefix))))


def _once(name: str, work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """Do something slow in a thread, once for the whole process; everybody waits for the same future."""
    with _lock:
        future = _done.get(name)
        if future is None:
            future = _done[name] = concurrent.futures.Future()
            future.set_running_or_notify_cancel()  # else the first waiter who gives up cancels it for all
            threading.Thread(target=_do, args=(name, future, work), name=f"adapters-{name}", daemon=True).start()
    return future


def _do(name: str, future: concurrent.futures.Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is not swallowed: whoever awaits the future gets it
        with _lock:
            _done.pop(name)  # the next caller tries again
        future.set_exception(error)


def _import_litellm() -> ModuleType:
    # Both are read while LiteLLM is imported: no download of a price list, no .env file of whoever runs us.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    collecting = gc.isenabled()
    gc.disable()  # half a million new objects: collecting among them stalls the event loop for 100 ms and more
    try:
        import litellm
    finally:
        if collecting:
            gc.freeze()  # else the first collection afterwards walks through all of them
            gc.enable()
    module: ModuleType = litellm
    for switch, value in (("suppress_debug_info", True), ("telemetry", False)):
        setattr(module, switch, value)
    return module


def _wrapped(prefix: str, http: httpx.AsyncClient, base_url: str, api_key: str) -> Any:  # noqa: ANN401 - LiteLLM takes two unrelated classes
    if prefix == "openrouter/":
        from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

        handler = AsyncHTTPHandler()
        handler.client = http
        return handler
    from openai import AsyncOpenAI

    return AsyncOpenAI(api_key=api_key, base_url=base_url, http_client=http, max_retries=0)


async def _dry_calls(prefix: str) -> None:
    question = [{"role": "user", "content": "Hi"}]
    for stream in (False, True):
        answer = receipt(stream=stream)
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _, answer=answer: answer)) as http:
            route = create_route(prefix, http, base_url=_DRY_URL, api_key=NO_KEY, headers={})
            await acompletion(route, "prewarm", question, {"max_tokens": 1}, stream=stream)
