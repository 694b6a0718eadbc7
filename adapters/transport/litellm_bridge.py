"""The only module that imports LiteLLM.

The import takes seconds, so it happens at the first request, in a thread. Everything by which LiteLLM would print,
reach the network on its own or send a request twice is switched off here. How its request is captured is drawn in
``capture``.
"""

# pyright: reportAssignmentType=false, reportIncompatibleMethodOverride=false
# Methods of LiteLLM's logging are replaced by ones that do nothing.

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import logging
import math
import os
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.transport import background
from adapters.transport.capture import CapturedExchange, FakeOpenAIClient, StopLiteLLM
from adapters.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from types import ModuleType

    from adapters.types import Json

logger = logging.getLogger(__name__)

T = TypeVar("T")

CALL_TIMEOUT_S = 6000.0  # LiteLLM requires a number; our own deadlines are far shorter
MESSAGES = [{"role": "user", "content": "-"}]
"""The messages argument of each call. The real conversation is a field of the body, so that LiteLLM neither walks
through all of it (4 ms at 400 messages) nor can log it."""
_ROUTING_SUBSTRINGS = re.compile("replicate|clarifai|ft:")
"""Parts of a model's name for which LiteLLM changes the server or the form of the request, whatever the prefix says.
LiteLLM gets a neutral name instead; the real name is a field of the body."""

_CALLBACK_LISTS = (
    *("callbacks", "input_callback", "success_callback", "failure_callback"),
    *("_async_input_callback", "_async_success_callback", "_async_failure_callback"),
)
"""LiteLLM's lists of callbacks; the last three hold those that it has sorted out as asynchronous."""

_RARE_COLLECTIONS = 100_000  # new objects before a collection, while LiteLLM is imported
_STREAM_HEADERS = {"Accept-Encoding": "identity"}
"""A proxy that compresses a stream collects it first: the answer arrives at its end and all at once, and a cancel does
not reach the server."""

warm_routes: set[str] = set()
"""The LiteLLM prefixes whose first call was made by ``warm_up``."""

_in_adapters_call: ContextVar[bool] = ContextVar("adapters_call_of_litellm", default=False)
_BUILDING_S = 2  # LiteLLM builds a request in 1 ms, and the first one of a route in up to a second
_abandoned: set[asyncio.Task[Any]] = set()  # the event loop keeps only a weak reference


def has_callbacks() -> bool:
    """Return whether the program has registered callbacks with LiteLLM; it takes a microsecond.

    LiteLLM's cache registers itself as one; it is not, for the responses of this library are not cached.
    """
    litellm = sys.modules.get("litellm")
    for name in _CALLBACK_LISTS:
        registered = getattr(litellm, name, None)
        if registered and any(callback != "cache" for callback in registered):
            return True
    return False


async def acompletion(
    exchange: CapturedExchange,
    endpoint: Endpoint,
    body: Mapping[str, Json],
    *,
    stream: bool,
) -> None:
    """Let LiteLLM build one request and send it through the exchange, which then holds the result.

    Args:
        exchange: Sends the request, with the headers beside the key.
        endpoint: Where it goes.
        body: The fields of the request but for model and ``stream``. They travel as ``extra_body``: named arguments
            are checked against LiteLLM's own model list (it refuses a temperature for ``gpt-5`` on any server), and
            some versions import the module mcp when they get ``tools``.
        stream: Whether the answer is streamed.

    Raises:
        Exception: LiteLLM's error. It matters only if the exchange holds neither a response nor an error.
    """
    await run(exchange, _call_litellm(exchange, endpoint, body, stream=stream))


class _LiteLLMCall(asyncio.Task[T]):
    """A call of LiteLLM. It does not end at once if it is cancelled while LiteLLM builds the request in a thread.

    The result of that thread is a coroutine, and Python warns of one that is never awaited. So the call goes on, also
    where ``asyncio.run`` ends and cancels all tasks, and its exchange sends nothing any more. On a route with a client
    of LiteLLM's own, whose exchange is never used, the request may be on its way: it is cancelled after a moment.
    """

    exchange: CapturedExchange

    def cancel(self, msg: Json = None) -> bool:
        """Cancel the call; return False if it is not cancelled yet."""
        is_building = _litellm is not None and self.exchange.abandon()
        if is_building:
            self.get_loop().call_later(_BUILDING_S, super().cancel, msg)
        return not is_building and super().cancel(msg)


async def run(exchange: CapturedExchange, call: Coroutine[Any, Any, T]) -> T:
    """Run a call of LiteLLM in a task of its own, and end it safely if the caller is cancelled.

    Args:
        exchange: Sends the request of the call.
        call: The call.
    """
    task = _LiteLLMCall(call)
    task.exchange = exchange
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancel():
            await asyncio.wait({task})
        else:
            _abandoned.add(task)
            task.add_done_callback(_forget)
        raise


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()  # retrieve it, so that asyncio does not log it


async def _call_litellm(
    exchange: CapturedExchange,
    endpoint: Endpoint,
    body: Mapping[str, Json],
    *,
    stream: bool,
) -> None:
    # After the warm-up the import is done, and `await` of a finished load would only cost function calls.
    litellm = _litellm if _litellm is not None else await load()
    begin_call(litellm)
    model = "-" if _ROUTING_SUBSTRINGS.search(endpoint.model) else endpoint.model
    fields = {**body, "model": endpoint.model}  # some versions drop the model; FakeOpenAIClient adds it
    wants_handler = endpoint.prefix == "openrouter/"  # LiteLLM wants another class of client there
    if wants_handler and _sends_to_proxy(litellm):
        wants_handler, fields = False, {"usage": {"include": True}, **fields}
    with contextlib.suppress(StopLiteLLM):
        await litellm.acompletion(
            model=f"{endpoint.prefix}{model}",
            messages=MESSAGES,
            stream=stream,
            api_base=endpoint.base_url,
            api_key=endpoint.api_key,
            client=_handler_class()(exchange)
            if wants_handler
            else FakeOpenAIClient(exchange, endpoint, endpoint.model),
            extra_headers=_STREAM_HEADERS if stream else None,
            extra_body=fields,
            timeout=CALL_TIMEOUT_S,
            max_retries=0,
            num_retries=0,
            drop_params=False,
            caching=False,
            litellm_logging_obj=_silent_record(),
            _skip_responses_api_bridge=True,  # otherwise models that it knows from there go to /responses
            **{"no-log": True},  # the few events that bypass the logging object
        )


def _sends_to_proxy(litellm: ModuleType) -> bool:
    """Return whether the program sends its own calls of LiteLLM to a proxy (``litellm.use_litellm_proxy``).

    LiteLLM then takes every provider for an OpenAI clone, and leaves out what it adds for OpenRouter.
    """
    return bool(litellm.use_litellm_proxy) or os.environ.get("USE_LITELLM_PROXY", "").lower() == "true"


def begin_call(litellm: ModuleType) -> None:
    """Mark the calls of the current task as the adapter's own: LiteLLM's loggers omit them, and no fallback applies."""
    _in_adapters_call.set(True)
    if litellm.model_fallbacks:
        _hide_model_fallbacks(litellm)


_litellm: ModuleType | None = None


def _hide_model_fallbacks(litellm: ModuleType) -> None:
    """Make ``litellm.model_fallbacks`` read as None inside the adapter's own calls.

    The program may set it for its own calls, and no argument of a call overrides it: LiteLLM would send the request
    again and again to itself, and never to the server. For the rest of the program nothing changes: a module may have
    properties through its class.

    Args:
        litellm: The module, whose ``model_fallbacks`` is set.
    """

    class Shielded(type(litellm)):  # type: ignore[misc]  # a class made for one module
        """The class of the module with one property more."""

        @property
        def model_fallbacks(self) -> Json:
            return None if _in_adapters_call.get() else self.__dict__["model_fallbacks"]

        @model_fallbacks.setter
        def model_fallbacks(self, value: Json) -> None:
            self.__dict__["model_fallbacks"] = value

    litellm.__class__ = Shielded


async def load() -> ModuleType:
    """Import LiteLLM once, in a thread; later calls return at once."""
    module: ModuleType = await background.run_once("litellm", _import_litellm)
    return module


async def warm_up(route: str, first_call: Callable[[str], Coroutine[Any, Any, None]] | None = None) -> None:
    """Load LiteLLM, and make it load everything that it loads late at its first call for a route.

    That call runs once per process, in a thread with an event loop of its own, and sends nothing. On the caller's
    loop it would block everything else for a quarter of a second.
    """
    await load()
    call = first_call or _first_call
    try:
        await background.run_once(f"warm-up of {route}", lambda: asyncio.run(_without_debug_logs(call(route))))
    except Exception as error:  # noqa: BLE001 - it only saves time; the request itself reports what is wrong
        logger.info("Warming up LiteLLM's route %s failed: %s", route, type(error).__name__)
    else:
        warm_routes.add(route)


async def _without_debug_logs(call: Coroutine[Any, Any, None]) -> None:
    """Await a call that blocks its event loop, which asyncio would log with PYTHONASYNCIODEBUG=1."""
    asyncio.get_running_loop().slow_callback_duration = math.inf
    await call


def start_warm_up(route: str, first_call: Callable[[str], Coroutine[Any, Any, None]] | None = None) -> None:
    """Start ``warm_up`` in the background."""
    background.start(f"loading for {route}", lambda: asyncio.run(warm_up(route, first_call)))


async def _first_call(prefix: str) -> None:
    async def send(*_: object) -> None:
        """Send nothing and return nothing."""

    endpoint = Endpoint("warm-up", "warm-up", prefix, "http://warm-up.invalid/v1")
    for stream in (False, True):
        await acompletion(CapturedExchange(send, endpoint), endpoint, {"max_tokens": 1}, stream=stream)


def _is_not_ours(_: logging.LogRecord) -> bool:
    """Filter LiteLLM's log records of the adapter's own calls.

    With the root logger at DEBUG they contain prompts; every failure reaches the caller as an exception.
    """
    return not _in_adapters_call.get()


def _import_litellm() -> ModuleType:
    global _litellm  # noqa: PLW0603 - a module is imported once
    # Both are read during the import: no download of a price list, no .env file of the working directory.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    _in_adapters_call.set(True)
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).addFilter(_is_not_ours)
    with _rare_collections():
        import litellm
    module: ModuleType = litellm
    for switch, value in (("suppress_debug_info", True), ("telemetry", False)):
        setattr(module, switch, value)
    _litellm = module
    return module


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the garbage collector start less often, in the whole process.

    The import makes 400,000 objects, none of them garbage. At the usual threshold seven full collections walk through
    them, the longest stops every thread for 150 ms, and the import takes a quarter longer. With this one they stop for
    35 ms at most; the full collection, of 160 to 200 ms, comes later (LiteLLM 1.109, Python 3.11).
    """
    usual = gc.get_threshold()
    rare = (max(usual[0], _RARE_COLLECTIONS), *usual[1:])
    if usual[0]:  # 0: the program has switched it off
        gc.set_threshold(*rare)
    try:
        yield
    finally:
        if gc.get_threshold() == rare:
            gc.set_threshold(*usual)


@cache
def _handler_class() -> Callable[[CapturedExchange], object]:
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    class Handler(AsyncHTTPHandler):  # type: ignore[misc]  # mypy skips LiteLLM, so its classes are unknown
        """LiteLLM's own HTTP handler, which it uses for ``openrouter/``, without a client of its own."""

        def __init__(self, exchange: CapturedExchange) -> None:
            self._exchange = exchange

        async def post(  # pyright: ignore[reportIncompatibleMethodOverride]  # LiteLLM calls it with keywords only
            self, url: str, data: str | bytes, headers: dict[str, str], **_: Any
        ) -> None:
            """Send the request that LiteLLM has encoded."""
            await self._exchange.post(url, headers, data.encode() if isinstance(data, str) else data)

        def __del__(self) -> None:
            """Close nothing: there is no client."""

    return Handler


def _silent_record() -> object:
    """Make LiteLLM's logging object, without callbacks, for one call: LiteLLM writes into it."""
    record = copy.copy(_blank_record())
    record.litellm_params, record.model_call_details = {}, dict(record.model_call_details)
    return record


@cache
def _blank_record() -> Any:  # noqa: ANN401 - mypy skips LiteLLM, so its classes are unknown
    from litellm.litellm_core_utils.litellm_logging import Logging

    class Record(Logging):  # type: ignore[misc]  # as above
        """LiteLLM's logging object without the logging, which is an eighth of the time of a call.

        A callback would be told of a start without an end, and of messages that are not the real ones.
        """

        def _nothing(self, *_: Any, **__: Any) -> None:
            """Do nothing; None also means that no hook may change the prompt."""

        async def _nothing_async(self, *_: Any, **__: Any) -> None:
            """Do nothing."""

        pre_call = post_call = update_environment_variables = update_from_kwargs = _nothing
        should_run_prompt_management_hooks = failure_handler = success_handler = _nothing
        async_failure_handler = async_success_handler = _nothing_async

    call = {"call_type": "acompletion", "start_time": datetime.now(UTC), "litellm_call_id": "", "function_id": ""}
    return Record("-", MESSAGES, stream=None, **call)
