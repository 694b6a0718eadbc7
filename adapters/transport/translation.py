"""Routes of LiteLLM with an API of their own (Anthropic, Gemini, Bedrock …): our wire, LiteLLM's translation.

LiteLLM gets a client that sends its request through ours, once. What happens with the response depends on what it is::

    a status of failure, a lost connection     StopLiteLLM; read here, as for every other provider
    a path that ends in /chat/completions      StopLiteLLM; ``ResponseBody`` reads the bytes, as everywhere
    anything else                              an ``httpx.Response`` over our bytes goes back to LiteLLM, which parses
                                               it; ``TranslatedBody`` hands LiteLLM's chunks up as payloads

So deadlines, cancelling, limits, retries and errors are those of every other provider. LiteLLM's parsed chunks are
taken from ``completion_stream``: the ``CustomStreamWrapper`` around it costs ten times as much, invents usage, and ends
a stream after 100 equal pieces.

Some routes ignore ``client=`` (Cohere, Replicate, Cloudflare, the bridge to the Responses API). They work through
LiteLLM's own client; ``TranslatedBody`` then closes LiteLLM's stream in place of a connection.
"""

# pyright: reportAssignmentType=false, reportIncompatibleMethodOverride=false, reportArgumentType=false, reportOptionalIterable=false
# LiteLLM's classes are replaced, and its streams have no common type.

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from adapters.transport import litellm_bridge
from adapters.transport.body import lost_connection
from adapters.transport.capture import CapturedExchange, FakeOpenAIClient, StopLiteLLM
from adapters.transport.endpoint import NO_KEY, Endpoint
from adapters.transport.errors import failures
from adapters.transport.errors.upstream import upstream_error
from adapters.transport.http import TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from adapters.config import LimitConfig
    from adapters.errors import APIError
    from adapters.transport.deadlines import Deadlines
    from adapters.transport.http import Response
    from adapters.types import Json

_FIRST_FAILURE = 300
_GEMINI_STREAM = ":streamGenerateContent"
_CHAT_COMPLETIONS = "/chat/completions"
_OWN_HEADERS = (
    "accept-encoding",
    "content-length",
    "host",
    "transfer-encoding",
    "user-agent",
)  # the session writes them
_BODY_HEADERS = (
    "content-encoding",
    "content-length",
    "transfer-encoding",
)  # true of the bytes on the wire, not of ours
_SERVER_TOOL_ID = "srvtoolu_"  # Anthropic runs these tools itself
_PREFIXES_OF_MESSAGES = re.compile(r"\A(?:(?:litellm\.)?\w*(?:Error|Exception): ?)+")
_OPENAI_URL = "https://api.openai.com/v1"
_GARBLED = "sent an answer that is cut or garbled. Please try again."

ROUTES_WITHOUT_CHOICE = frozenset({"bedrock/", "cohere/", "cohere_chat/", "ollama/", "ollama_chat/"})
"""Routes on which LiteLLM drops ``tool_choice`` "none": there the tools themselves are left out."""

_ROUTES_WITH_THEIR_CLIENT = frozenset({"azure/", "azure_text/", "text-completion-openai/"})
"""Routes that refuse any client but the SDK's own."""

_WARMED_ROUTES = frozenset(
    {"anthropic/", "bedrock/", "gemini/", "mistral/", "openai/", "openrouter/", "vertex_ai/", "vertex_ai_beta/"}
)
"""Routes beside those in ``litellm.openai_compatible_providers`` on which LiteLLM sends nothing but through our client.
Others ask a server about the model (Ollama, Hugging Face), or send the request itself (Replicate, SageMaker)."""

_closing: set[asyncio.Task[None]] = set()  # the event loop keeps only a weak reference


class TranslatedExchange(CapturedExchange):
    """One request of LiteLLM on the wire, and its response, which LiteLLM reads unless it is chat completions.

    Attributes:
        read_bytes: How much of the body LiteLLM has read.
        is_translated: Whether LiteLLM reads the response.
        has_finished: Whether the server has sent a finish reason, on routes where LiteLLM invents one for every chunk.
    """

    def __init__(
        self, send: Callable[..., Awaitable[Response | None]], endpoint: Endpoint, headers: Mapping[str, str] | None
    ) -> None:
        super().__init__(send, endpoint, headers)
        self._end_mark = b""
        self._tail = b""
        self.read_bytes = 0
        self.is_translated = False
        self.has_finished = True

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> NoReturn:
        """Send the request as ``CapturedExchange`` does, unless LiteLLM has no address and falls back to OpenAI's."""
        is_other_route = "/" in self._endpoint.model and self._endpoint.route != "openai/"
        if is_other_route and urlsplit(url).hostname == urlsplit(_OPENAI_URL).hostname:
            self.error = TransportError("its address is not configured", connecting=True, advice="Set base_url.")
            raise StopLiteLLM
        await super().post(url, headers, content)

    async def fetch(self, url: str, headers: Mapping[str, str], content: bytes) -> Response:
        """Send the request, once, and return a response that LiteLLM is to read.

        Raises:
            StopLiteLLM: If LiteLLM is not to read it, or wants to send a second request.
        """
        with contextlib.suppress(StopLiteLLM):
            await self.post(url, headers, content)
        if self.response is None or self.is_translated or self.response.status >= _FIRST_FAILURE:
            raise StopLiteLLM
        if url.partition("?")[0].endswith(_CHAT_COMPLETIONS):
            raise StopLiteLLM
        self.is_translated = True
        if url.partition("?")[0].endswith(_GEMINI_STREAM):
            self._end_mark, self.has_finished = b'"finishReason"', False
        return self.response

    async def read(self) -> bytes:
        """Return more of the body for LiteLLM; b"" at its end.

        Raises:
            StopLiteLLM: If the connection broke; ``error`` says why.
        """
        assert self.response is not None  # noqa: S101 - returned by ``fetch``
        try:
            data = await self.response.read()
        except TransportError as error:
            self.error = error.with_traceback(None)
            raise StopLiteLLM from None
        self.read_bytes += len(data)
        if not self.has_finished:
            self.has_finished = self._end_mark in self._tail + data
            self._tail = data[-len(self._end_mark) :]
        return data


class TranslatedBody:
    """A response that LiteLLM has parsed, with the interface of ``ResponseBody``.

    Args:
        result: What ``acompletion`` returned: a whole response or LiteLLM's stream.
        exchange: The exchange behind it; without a response LiteLLM used a client of its own.
        deadlines: The time limits of the attempt.
        limits: How many bytes may come.
        endpoint: The provider, for errors.
    """

    def __init__(
        self,
        result: Any,  # noqa: ANN401 - LiteLLM's classes are unknown to mypy
        exchange: TranslatedExchange,
        deadlines: Deadlines,
        limits: LimitConfig,
        endpoint: Endpoint,
    ) -> None:
        self._exchange = exchange
        self._deadlines = deadlines
        self._limits = limits
        self._endpoint = endpoint
        self._wrapper = result
        self._chunks: AsyncIterator[Any] | None = None
        self._usage: dict[str, Json] = {}
        self._server_calls: set[Json] = set()  # indexes of the calls that the provider runs
        self._thinking: list[str] = []  # pieces of the thinking block that goes on
        self.request_id: str | None = None
        if exchange.response is not None:
            self.request_id, deadlines.connect_s = exchange.response.request_id, exchange.response.connect_s
        self.is_whole = not hasattr(result, "__anext__")
        self.has_ended = False
        self.error: APIError | None = None
        deadlines.guard(self._abort)

    async def read(self) -> list[Json]:
        """Wait for a payload; an empty list is the end, of which ``error`` says whether it was a good one."""
        if self.is_whole:
            self.has_ended = True
            return [self._payload_of(self._wrapper)]
        try:
            chunk = await self._next()
        except StopLiteLLM:
            self.error = self._broken()
            return []
        except Exception as error:  # noqa: BLE001 - LiteLLM raises anything; the exception holds the prompt
            is_ours = self._deadlines.exceeded is not None or self._deadlines.is_closed
            self.error = self._broken() if is_ours else read_failure(error, self._endpoint)
            return []
        if self._exchange.read_bytes > self._limits.answer_bytes:
            self.error = failures.above_limit("answer_bytes", self._limits.answer_bytes, self._endpoint)
        if chunk is None:
            return []  # LiteLLM ends a cut stream in the same way: the finish reason decides
        payload = self._payload_of(chunk)
        if usage := payload.get("usage"):  # Anthropic reports the two halves of it in two events
            payload["usage"] = self._usage = _merged(self._usage, usage)
        return [payload]

    def _payload_of(self, result: Any) -> dict[str, Json]:  # noqa: ANN401 - as above
        """Return a chunk or a whole response in OpenAI format, without what LiteLLM or the provider added to it."""
        payload: dict[str, Json] = (
            _from_generic(result) if isinstance(result, Mapping) else result.model_dump(exclude_none=True)
        )
        for choice in payload.get("choices") or []:
            if not self._exchange.has_finished:
                choice.pop("finish_reason", None)
            message = choice.get("delta") or choice.get("message") or {}
            if calls := message.get("tool_calls"):
                message["tool_calls"] = [call for call in calls if not self._is_server_call(call)]
            if not self.is_whole and (blocks := message.pop("thinking_blocks", None)):
                message["thinking_blocks"] = self._complete_blocks(blocks)
        return payload

    def _is_server_call(self, call: Mapping[str, Json]) -> bool:
        """Return whether a call, or a piece of one, belongs to a tool that the provider runs itself."""
        call_id, index = call.get("id"), call.get("index")
        if call_id:
            self._server_calls.discard(index)
            if str(call_id).startswith(_SERVER_TOOL_ID):
                self._server_calls.add(index)
        return index in self._server_calls if not self.is_whole else str(call_id).startswith(_SERVER_TOOL_ID)

    def _complete_blocks(self, pieces: list[dict[str, Json]]) -> list[dict[str, Json]]:
        """Return the thinking blocks that these pieces complete: a signature ends one."""
        complete = []
        for piece in pieces:
            piece.pop("index", None)  # LiteLLM's own
            if piece.get("type") != "thinking":
                complete.append(piece)
                continue
            text, signature = piece.get("thinking") or "", piece.get("signature")
            if signature:
                former = "".join(self._thinking)  # LiteLLM 1.102 repeats it beside the signature
                complete.append({**piece, "thinking": former if text == former else former + text})
                self._thinking.clear()
            else:
                self._thinking.append(text)
        return complete

    def close(self) -> None:
        """Close the connection, or LiteLLM's stream where the connection is LiteLLM's own."""
        self._deadlines.release()
        self._abort()

    def release(self) -> None:
        """Leave a finished response: its connection is used again if the body ends soon."""
        self._deadlines.release()
        if self._exchange.response is not None:
            self._exchange.response.release()

    async def _next(self) -> Any:  # noqa: ANN401 - as above
        """Return LiteLLM's next chunk, or None at the end."""
        if self._chunks is None:
            stream = self._wrapper
            parsed = getattr(stream, "completion_stream", None)
            if self._exchange.response is not None and hasattr(parsed, "__aiter__"):
                stream = parsed  # without LiteLLM's wrapper; where LiteLLM has a client of its own, it is needed
            self._chunks = aiter(stream)
        async for chunk in self._chunks:
            if chunk is not None and not (isinstance(chunk, dict) and _is_empty(chunk)):
                return chunk
        return None

    def _abort(self) -> None:
        if self._exchange.response is not None:
            self._exchange.response.close()
        elif not self.is_whole:  # pragma: no branch - a whole response holds no connection of LiteLLM's
            task = asyncio.ensure_future(_closed(self._wrapper))
            _closing.add(task)
            task.add_done_callback(_closing.discard)

    def _broken(self) -> APIError:
        return lost_connection(self._exchange.error or TransportError(), self._deadlines, self._endpoint)


async def _closed(stream: Any) -> None:  # noqa: ANN401 - as above
    with contextlib.suppress(Exception):
        await stream.aclose()


def read_failure(error: Exception, endpoint: Endpoint) -> APIError:
    """Return the error for an exception that LiteLLM raised where it reads the response, or sends the request itself.

    Args:
        error: LiteLLM's exception; nothing of it but status and text is kept.
        endpoint: The provider.
    """
    if package := missing_package(error):
        return failures.request_not_built(f"a package is missing. Install it with: pip install {package}", endpoint)
    if (broken := _connection_error(error)) is not None:
        return failures.with_cause(failures.connection_failure(endpoint, broken), broken)
    original = getattr(error, "original_exception", None) or error
    if type(original).__module__.partition(".")[0] not in ("litellm", "openai", "httpx"):
        cause = TypeError(type(original).__name__)
        return failures.with_cause(failures.incomplete(_GARBLED, endpoint), cause)
    status = getattr(original, "status_code", None)
    text = _PREFIXES_OF_MESSAGES.sub("", str(getattr(original, "message", None) or original)).split("Traceback")[0]
    try:
        body: Json = json.loads(text[text.index("{") :])
    except (ValueError, RecursionError):
        body = {"message": text}
    failure = upstream_error(body, status=status if isinstance(status, int) else None, secrets=endpoint.secrets)
    return failures.with_cause(failures.upstream_failure(failure, endpoint), failure)


def _connection_error(error: BaseException | None) -> TransportError | None:
    """Return the failure of a connection that LiteLLM made itself, without its text, or None for any other error."""
    import httpx

    while error is not None:
        if isinstance(error, httpx.TransportError | OSError):
            is_late = isinstance(error, httpx.TimeoutException | TimeoutError)
            return TransportError(connecting=True, timed_out=is_late)
        error = error.__cause__ or error.__context__
    return None


def missing_package(error: BaseException | None) -> str:
    """Return the name of the package that LiteLLM needs and that is not installed, or ""."""
    while error is not None:
        found = re.search(r"No module named '([\w.]+)'", str(error))
        if found:
            module = found.group(1).partition(".")[0]
            return {"google": "google-auth", "botocore": "boto3"}.get(module, module)
        error = error.__cause__ or error.__context__
    return ""


async def translate(
    exchange: TranslatedExchange,
    endpoint: Endpoint,
    body: Mapping[str, Json],
    arguments: Mapping[str, Json],
    *,
    stream: bool,
) -> Any:  # noqa: ANN401 - as above
    """Let LiteLLM build and send one request, and translate the response unless it is read here.

    Args:
        exchange: Sends the request, with the headers beside the key.
        endpoint: The provider; its model names LiteLLM's route.
        body: The fields of the request in OpenAI format. They are named arguments here, because LiteLLM translates
            them; what a route does not support is left out.
        arguments: Further arguments of LiteLLM from the configuration.
        stream: Whether the response is streamed.

    Returns:
        LiteLLM's response or stream, or None if ``StopLiteLLM`` ended the call.

    Raises:
        Exception: LiteLLM's error.
    """
    return await litellm_bridge.run(exchange, _translate(exchange, endpoint, body, arguments, stream=stream))


async def _translate(
    exchange: TranslatedExchange,
    endpoint: Endpoint,
    body: Mapping[str, Json],
    arguments: Mapping[str, Json],
    *,
    stream: bool,
) -> Any:  # noqa: ANN401 - as above
    litellm = await litellm_bridge.load()
    litellm_bridge.begin_call(litellm)
    _set_up_custom_providers()
    fields: dict[str, Any] = {
        "timeout": litellm_bridge.CALL_TIMEOUT_S,
        **copy.deepcopy({**arguments, **body}),  # LiteLLM and custom providers change messages and tools in place
        "model": endpoint.model,
        "stream": stream,
        "max_retries": 0,
        "num_retries": 0,
        "drop_params": True,
        "litellm_logging_obj": _muted_record(endpoint.model, stream=stream),
        "no-log": True,
    }
    if endpoint.route not in _ROUTES_WITH_THEIR_CLIENT:
        fields["client"] = handler_class()(exchange, endpoint)
    if endpoint.base_url:
        fields["api_base"] = endpoint.base_url
    if endpoint.api_key != NO_KEY:
        fields["api_key"] = endpoint.api_key
    try:
        result = await litellm.acompletion(**fields)
        if hasattr(result, "fetch_stream") and getattr(result, "completion_stream", None) is None:
            await result.fetch_stream()  # Gemini's request leaves only now
    except StopLiteLLM:
        return None
    return result


async def first_call(endpoint: Endpoint, arguments: Mapping[str, Json], route: str) -> None:
    """Make LiteLLM's first call for a route, without sending it: LiteLLM imports what the route needs.

    Routes that would send it all the same, and custom providers, load at the first request.

    Args:
        endpoint: A provider of the route.
        arguments: Its arguments of LiteLLM, with the credentials that some routes need to build a request.
        route: The route.
    """
    litellm = await litellm_bridge.load()
    name = route.removesuffix("/")
    is_custom = any(entry.get("provider") == name for entry in litellm.custom_provider_map)
    if is_custom or (route not in _WARMED_ROUTES and name not in litellm.openai_compatible_providers):
        return

    async def send(*_: object) -> None:
        """Send nothing and return nothing."""

    placeholder = Endpoint("warm-up", endpoint.model, "", "http://warm-up.invalid", "warm-up")
    for stream in (False, True):
        exchange = TranslatedExchange(send, placeholder, None)
        await translate(exchange, placeholder, {"messages": litellm_bridge.MESSAGES}, arguments, stream=stream)


def _muted_record(model: str, *, stream: bool) -> object:
    """Return LiteLLM's logging object for one call: routes read their parameters from it, and no callback is called."""
    record: Any = _record_class()(
        model, litellm_bridge.MESSAGES, stream, "acompletion", datetime.now(UTC), str(uuid.uuid4()), ""
    )
    record.stream_options = {"include_usage": True}
    return record


@cache
def _record_class() -> Callable[..., object]:
    from litellm.litellm_core_utils.litellm_logging import Logging

    class MutedRecord(Logging):  # type: ignore[misc]  # mypy skips LiteLLM
        """LiteLLM's logging object without its callbacks, which ``telemetry.litellm_callbacks`` calls."""

        def _nothing(self, *_: Any, **__: Any) -> None:
            """Do nothing; None also means that no hook may change the prompt."""

        async def _nothing_async(self, *_: Any, **__: Any) -> None:
            """Do nothing."""

        pre_call = post_call = should_run_prompt_management_hooks = failure_handler = success_handler = _nothing
        async_failure_handler = async_success_handler = _nothing_async

    return MutedRecord


def _set_up_custom_providers() -> None:
    """Register ``litellm.custom_provider_map``; LiteLLM does so in the function that a logging object skips."""
    from litellm.utils import custom_llm_setup

    custom_llm_setup()


@cache
def handler_class() -> Callable[[TranslatedExchange, Endpoint], object]:  # noqa: C901 - two classes, made here because LiteLLM is loaded late
    """Return the class of client for such routes: LiteLLM's own HTTP handler and the SDK's client in one."""
    import httpx
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    class Bytes(httpx.AsyncByteStream):
        """The bytes of a response, as httpx reads them."""

        def __init__(self, exchange: TranslatedExchange) -> None:
            self._exchange = exchange

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while data := await self._exchange.read():
                yield data

        async def aclose(self) -> None:
            """Do nothing: ``TranslatedBody`` closes or releases the connection."""

    class Handler(AsyncHTTPHandler):  # type: ignore[misc]  # mypy skips LiteLLM
        """LiteLLM's HTTP handler over an exchange, with the attributes of the SDK's client."""

        def __init__(self, exchange: TranslatedExchange, endpoint: Endpoint) -> None:
            self._exchange = exchange
            self._endpoint = endpoint
            self._base_url = SimpleNamespace(_uri_reference=endpoint.base_url)
            self.base_url = endpoint.base_url
            self.api_key = endpoint.api_key
            self.timeout = None

        @property
        def chat(self) -> SimpleNamespace:
            """The SDK's resource."""
            return self._sdk_client().chat

        def _sdk_client(self) -> FakeOpenAIClient:
            return FakeOpenAIClient(self._exchange, _sdk_endpoint(self._endpoint))

        async def post(self, url: str, *, headers: Json = None, stream: bool = False, **arguments: Any) -> Json:  # pyright: ignore[reportIncompatibleMethodOverride]  # LiteLLM uses keywords
            """Send a request; the parameters are those of ``AsyncHTTPHandler.post`` or of ``AsyncOpenAI.post``."""
            if "options" in arguments:
                return await self._sdk_client().post(url, **arguments)
            request = httpx.Request("POST", url, headers=headers, **_content(arguments))
            response = await self._exchange.fetch(
                str(request.url), _without(request.headers, _OWN_HEADERS), request.content
            )
            received = _without(response.headers, _BODY_HEADERS)
            built = httpx.Response(response.status, headers=received, stream=Bytes(self._exchange), request=request)
            if not stream:
                await built.aread()
            return built

        def __del__(self) -> None:
            """Close nothing: there is no client."""

    return Handler


def _sdk_endpoint(endpoint: Endpoint) -> Endpoint:
    """Return where LiteLLM would send the requests of a route that uses the SDK: its address, and the route's key."""
    import litellm

    key = None if endpoint.api_key == NO_KEY else endpoint.api_key
    _, _, found_key, found_url = litellm.get_llm_provider(endpoint.model, None, endpoint.base_url or None, key)
    base_url = found_url or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or _OPENAI_URL
    api_key = key or found_key or os.environ.get("OPENAI_API_KEY") or NO_KEY
    return replace(endpoint, base_url=base_url.rstrip("/"), api_key=api_key)


def _content(arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Return the content of a request as httpx names it: LiteLLM passes encoded content as ``data``."""
    content = {name: arguments[name] for name in ("params", "json", "content") if arguments.get(name) is not None}
    if (data := arguments.get("data")) is not None:
        content["data" if isinstance(data, dict) else "content"] = data
    return content


def _without(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in names}


def _is_empty(chunk: Mapping[str, Json]) -> bool:
    """Return whether a chunk of LiteLLM's older form says nothing, as for the lines of an event without its data."""
    return not (chunk.get("text") or chunk.get("is_finished") or chunk.get("tool_use") or chunk.get("usage"))


def _from_generic(chunk: Mapping[str, Json]) -> dict[str, Json]:
    """Return LiteLLM's older form of a chunk in OpenAI format."""
    delta: dict[str, Json] = {"content": chunk.get("text")}
    if call := chunk.get("tool_use"):
        delta["tool_calls"] = [dict(call)]
    finish_reason = chunk.get("finish_reason") if chunk.get("is_finished") else None
    usage = chunk.get("usage")
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": dict(usage) if usage else None}


def _merged(old: Mapping[str, Json], new: Mapping[str, Json]) -> dict[str, Json]:
    """Merge two reports of usage: the later figure counts, unless it is 0."""
    merged = dict(old)
    for name, value in new.items():
        former = merged.get(name)
        if isinstance(value, dict) and isinstance(former, dict):
            merged[name] = _merged(former, value)
        elif value is not None:
            merged[name] = value or former or value
    return merged
