"""The one door to LiteLLM.

LiteLLM is imported late and in a thread: it costs seconds, and a voice agent must not stall. Everything about it
that would print, phone home or send a request twice is switched off here.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import logging
import os
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from adapters.transport import background
from adapters.transport.capture import CapturedExchange, FakeOpenAIClient, StopLiteLLM
from adapters.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from adapters.types import Json

logger = logging.getLogger(__name__)

_CALL_TIMEOUT_S = 6000.0  # LiteLLM insists on a number; our own deadlines are far shorter
_QUESTION = [{"role": "user", "content": "-"}]
"""The conversation that LiteLLM is shown. The true one is a field of the body, so that LiteLLM neither walks through
all of it at each request (4 ms at 400 messages) nor can log it."""
_ROUTING_SUBSTRINGS = ("replicate", "clarifai", "ft:", "responses/")
"""Parts of a model's name by which LiteLLM sends a request, and the key, to somebody else or in another form, whatever
its prefix says. The name of such a model is a field of the body alone."""

_in_adapters_call: ContextVar[bool] = ContextVar("adapters_call_of_litellm", default=False)
_abandoned: set[asyncio.Task[None]] = set()  # the loop itself keeps only a weak reference


async def acompletion(
    exchange: CapturedExchange,
    endpoint: Endpoint,
    body: Mapping[str, Json],
    headers: Mapping[str, str],
    *,
    stream: bool,
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
    task = asyncio.ensure_future(_call_litellm(exchange, endpoint, body, headers, stream=stream))
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


async def _call_litellm(
    exchange: CapturedExchange,
    endpoint: Endpoint,
    body: Mapping[str, Json],
    headers: Mapping[str, str],
    *,
    stream: bool,
) -> None:
    litellm = await loaded()
    _in_adapters_call.set(True)  # for this task alone
    with contextlib.suppress(StopLiteLLM):
        await litellm.acompletion(
            model=endpoint.prefix
            + ("-" if any(lure in endpoint.model for lure in _ROUTING_SUBSTRINGS) else endpoint.model),
            messages=_QUESTION,
            stream=stream,
            api_base=endpoint.base_url,
            api_key=endpoint.api_key,
            client=_client_for(exchange, endpoint),
            extra_headers=dict(headers),
            extra_body={
                **body,
                "model": endpoint.model,
            },  # some versions drop it for openai/: OpenAIClient writes it too
            timeout=_CALL_TIMEOUT_S,
            max_retries=0,
            num_retries=0,
            drop_params=False,
            caching=False,
            litellm_logging_obj=_silent_record(),
            _skip_responses_api_bridge=True,  # it would ask /responses for models that it knows from there
            **{"no-log": True},  # the little that LiteLLM tells past its record
        )


async def loaded() -> ModuleType:
    """Import LiteLLM once, in a thread; later calls return at once."""
    module: ModuleType = await background.result("litellm", _import_litellm)
    return module


async def rehearsed(prefix: str) -> None:
    """Let LiteLLM load once all that it loads at its first call for a prefix.

    It does so in a thread with a loop of its own and with no network: on the caller's loop the first call would
    stall everything else for a quarter of a second.
    """
    await loaded()
    try:
        await background.result(prefix, lambda: asyncio.run(_rehearse(prefix)))
    except Exception as error:  # noqa: BLE001 - it only saves time; what is wrong is told by the request itself
        logger.info("The rehearsal of LiteLLM's route %s failed: %s", prefix, type(error).__name__)


def begin_loading(prefix: str) -> None:
    """Begin in the background what the first request for a prefix would wait for."""
    background.begin(f"beginning of {prefix}", lambda: asyncio.run(rehearsed(prefix)))


def _is_from_elsewhere(_: logging.LogRecord) -> bool:
    """Keep LiteLLM's loggers silent about our calls alone.

    With the root logger at DEBUG they print prompts; what matters reaches the caller as an exception.
    """
    return not _in_adapters_call.get()


def _import_litellm() -> ModuleType:
    # Both are read while LiteLLM is imported: no download of a price list, no .env file of whoever runs us.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    _in_adapters_call.set(True)
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).addFilter(_is_from_elsewhere)
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


def _client_for(exchange: CapturedExchange, endpoint: Endpoint) -> object:
    """The exchange in the class that LiteLLM wants for a route: it takes two unrelated ones."""
    return _handler_class()(exchange) if endpoint.prefix == "openrouter/" else FakeOpenAIClient(exchange, endpoint)


@cache
def _handler_class() -> Callable[[CapturedExchange], object]:
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    class Handler(AsyncHTTPHandler):  # type: ignore[misc]  # mypy skips LiteLLM, so its classes are unknown
        """LiteLLM's own HTTP handler, which it uses for ``openrouter/``, without a client of its own."""

        def __init__(self, exchange: CapturedExchange) -> None:
            self._exchange = exchange

        async def post(  # pyright: ignore[reportIncompatibleMethodOverride]  # LiteLLM calls it with names alone
            self, url: str, data: str | bytes, headers: dict[str, str], **_: Any
        ) -> None:
            """Send what LiteLLM has encoded."""
            await self._exchange.post(url, headers, data.encode() if isinstance(data, str) else data)

        def __del__(self) -> None:
            """There is nothing to close."""

    return Handler


def _silent_record() -> object:
    """LiteLLM's record of one call, which tells nobody of it; LiteLLM writes into it, so each call has its own."""
    record = copy.copy(_blank_record())
    record.litellm_params, record.model_call_details = {}, dict(record.model_call_details)
    return record


@cache
def _blank_record() -> Any:  # noqa: ANN401 - mypy skips LiteLLM, so its classes are unknown
    from litellm.litellm_core_utils.litellm_logging import Logging

    class Record(Logging):  # type: ignore[misc]  # as above
        """What LiteLLM notes of a call for its callbacks, without the work: an eighth of a whole call of ours.

        A callback would hear of a beginning without an end, with a question that is not the true one.
        """

        def _nothing(self, *_: Any, **__: Any) -> None:
            """Note nothing."""

        async def _nothing_later(self, *_: Any, **__: Any) -> None:
            """Note nothing."""

        pre_call = post_call = update_environment_variables = update_from_kwargs = _nothing
        failure_handler = success_handler = _nothing
        async_failure_handler = async_success_handler = _nothing_later

        def should_run_prompt_management_hooks(self, *_: Any, **__: Any) -> bool:
            """Let nobody change the prompt, which is not the true one."""
            return False

    call = {"call_type": "acompletion", "start_time": datetime.now(UTC), "litellm_call_id": "", "function_id": ""}
    return Record("-", _QUESTION, stream=None, **call)


async def _rehearse(prefix: str) -> None:
    async def send(*_: object) -> None:
        """Connect to nothing, and bring nothing."""

    endpoint = Endpoint("rehearsal", "rehearsal", prefix, "http://rehearsal.invalid/v1")
    for stream in (False, True):
        await acompletion(CapturedExchange(send, endpoint), endpoint, {"max_tokens": 1}, {}, stream=stream)
