"""The one door to LiteLLM.

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
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from adapters.errors import ConfigError
from adapters.wire.exchange import Exchange, HandedOver, OpenAIClient
from adapters.wire.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from adapters.types import Json

logger = logging.getLogger(__name__)

_CALL_TIMEOUT_S = 6000.0  # LiteLLM insists on a number; our own deadlines are far shorter
_QUESTION = [{"role": "user", "content": "-"}]
"""The conversation that LiteLLM is shown. The true one is a field of the body, so that LiteLLM neither walks through
all of it at each request (4 ms at 400 messages) nor can log it."""

_ours: ContextVar[bool] = ContextVar("adapters_call_of_litellm", default=False)
_abandoned: set[asyncio.Task[None]] = set()  # the loop itself keeps only a weak reference
_done: dict[str, concurrent.futures.Future[Any]] = {}
_lock = threading.Lock()


async def acompletion(
    exchange: Exchange, origin: Origin, body: Mapping[str, Json], headers: Mapping[str, str], *, stream: bool
) -> None:
    """Let LiteLLM build one request and send it; what came back is in the exchange, not returned.

    Args:
        exchange: Sends it.
        origin: Whom it goes to.
        body: The fields of the request but for model and ``stream``. They travel as ``extra_body``: as named arguments
            LiteLLM checks them against its own model list (it refuses a temperature for ``gpt-5`` on any server) and,
            in some versions, imports the module mcp when it sees ``tools``.
        headers: Headers beside the key.
        stream: Whether the answer is streamed.

    Raises:
        Exception: Whatever LiteLLM makes of a failure. It counts only if the exchange holds nothing.
    """
    task = asyncio.ensure_future(_hand_over(exchange, origin, body, headers, stream=stream))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if exchange.abandon():
            # LiteLLM builds the request in a thread, and what is cancelled there is a coroutine that nobody ever
            # awaits, which Python complains about. So it builds to the end, unheard, and then nothing is sent.
            _abandoned.add(task)
            task.add_done_callback(_forget)
        else:
            task.cancel()
            await asyncio.wait({task})
        raise


def _forget(task: asyncio.Task[None]) -> None:
    _abandoned.discard(task)
    _ = task.cancelled() or task.exception()  # nobody waits for it, and asyncio would complain of that


async def _hand_over(
    exchange: Exchange, origin: Origin, body: Mapping[str, Json], headers: Mapping[str, str], *, stream: bool
) -> None:
    litellm = await loaded()
    _ours.set(True)  # for this task alone
    with contextlib.suppress(HandedOver):
        await litellm.acompletion(
            model=origin.prefix + origin.model,
            messages=_QUESTION,
            stream=stream,
            api_base=origin.base_url,
            api_key=origin.api_key,
            client=_client_for(exchange, origin),
            extra_headers=dict(headers),
            extra_body=dict(body),
            timeout=_CALL_TIMEOUT_S,
            max_retries=0,
            num_retries=0,
            drop_params=False,
            caching=False,
            **{"no-log": True},  # its callbacks would be told of an answer that it never saw
        )


async def loaded() -> ModuleType:
    """Import LiteLLM once, in a thread; later calls return at once."""
    module: ModuleType = await _result(_once("litellm", _import_litellm))
    return module


async def rehearsed(prefix: str) -> None:
    """Let LiteLLM load once all that it loads at its first call for a prefix.

    It does so in a thread with a loop of its own and with no network: on the caller's loop the first call would
    stall everything else for a quarter of a second.
    """
    await loaded()
    try:
        await _result(_once(prefix, lambda: asyncio.run(_rehearse(prefix))))
    except Exception as error:  # noqa: BLE001 - it only saves time; what is wrong is told by the request itself
        logger.info("The rehearsal of LiteLLM's route %s failed: %s", prefix, type(error).__name__)


async def _result(future: concurrent.futures.Future[Any]) -> Any:  # noqa: ANN401 - whatever the work brings
    """Wait for slow work; what is done already costs no turn of the loop."""
    return future.result() if future.done() else await asyncio.wrap_future(future)


def begin_loading(prefix: str) -> None:
    """Begin in the background what the first request for a prefix would wait for."""
    _once(f"beginning of {prefix}", lambda: asyncio.run(rehearsed(prefix)))


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


def _forked() -> None:
    """In the child of a fork: what was being loaded is never finished, because its thread stayed behind."""
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that is not here
    _lock = threading.Lock()
    for future in list(_done.values()):
        if not future.done():
            future.set_exception(
                ConfigError(
                    "This process was forked while LiteLLM was being loaded, and cannot load it again."
                    " Await prewarm() before forking, or start workers with spawn."
                )
            )


os.register_at_fork(after_in_child=_forked)


def _is_not_ours(_: logging.LogRecord) -> bool:
    """Keep LiteLLM's loggers silent about our calls alone.

    With the root logger at DEBUG they print prompts; what matters reaches the caller as an exception.
    """
    return not _ours.get()


def _import_litellm() -> ModuleType:
    # Both are read while LiteLLM is imported: no download of a price list, no .env file of whoever runs us.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    _ours.set(True)
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).addFilter(_is_not_ours)
    # The switch is for the whole process, for a second or two. It pays (LiteLLM 1.109, Python 3.11, four runs):
    # with the collector on, seven full collections walk through up to 400,000 new objects, the longest stops every
    # thread for 150 ms, and loading takes a quarter longer; with it off, the import stops them for 24 ms at most; with
    # a threshold of 100,000 for 35 ms. Without freeze() each full collection for as long as the process lives takes
    # 160 ms (LiteLLM 1.102: 120 ms), with it 5 ms.
    collecting = gc.isenabled()
    gc.disable()
    try:
        import litellm
    finally:
        if collecting:
            gc.freeze()
            gc.enable()
    module: ModuleType = litellm
    for switch, value in (("suppress_debug_info", True), ("telemetry", False)):
        setattr(module, switch, value)
    return module


def _client_for(exchange: Exchange, origin: Origin) -> object:
    """The exchange in the class that LiteLLM wants for a route: it takes two unrelated ones."""
    return _handler_class()(exchange) if origin.prefix == "openrouter/" else OpenAIClient(exchange, origin)


@cache
def _handler_class() -> Callable[[Exchange], object]:
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    class Handler(AsyncHTTPHandler):  # type: ignore[misc]  # mypy skips LiteLLM, so its classes are unknown
        """LiteLLM's own HTTP handler, which it uses for ``openrouter/``, without a client of its own."""

        def __init__(self, exchange: Exchange) -> None:
            self._exchange = exchange

        async def post(  # pyright: ignore[reportIncompatibleMethodOverride]  # LiteLLM calls it with names alone
            self, url: str, data: str | bytes, headers: dict[str, str], **_: Any
        ) -> None:
            """Send what LiteLLM has encoded."""
            await self._exchange.post(url, headers, data.encode() if isinstance(data, str) else data)

        def __del__(self) -> None:
            """There is nothing to close."""

    return Handler


async def _rehearse(prefix: str) -> None:
    async def send(*_: object) -> None:
        """Connect to nothing, and bring nothing."""

    origin = Origin("rehearsal", "rehearsal", prefix, "http://rehearsal.invalid/v1")
    for stream in (False, True):
        await acompletion(Exchange(send, origin), origin, {"max_tokens": 1}, {}, stream=stream)
