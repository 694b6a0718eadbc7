"""One provider's way to its server: an HTTP session for each event loop, and one way to send and to fail.

A session belongs to the event loop it was made on, and an agent may run several loops one after the other, or in
threads.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.errors import APIError, IncompleteResponseError
from adapters.transport import litellm_bridge, translation
from adapters.transport.body import Body, ResponseBody, lost_connection, read_error_body
from adapters.transport.capture import CapturedExchange
from adapters.transport.deadlines import CallClosedError, DeadlineExceeded, Deadlines
from adapters.transport.endpoint import Endpoint, endpoint_for
from adapters.transport.errors import failures
from adapters.transport.errors.upstream import upstream_error
from adapters.transport.http import HTTPSession, TransportError
from adapters.transport.slots import Slots
from adapters.transport.translation import TranslatedBody, TranslatedExchange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from typing import TypeVar

    from adapters.config import ProviderConfig
    from adapters.local import LocalServer
    from adapters.transport.http import Response
    from adapters.transport.key_file import KeyFile
    from adapters.types import Json

    T = TypeVar("T")

_REFUSALS = (401, 402, 403, 429)  # of any request with this key
_FIRST_SERVER_FAILURE = 500
logger = logging.getLogger(__name__)

_FIRST_FAILURE = 300  # the lowest HTTP status that brings no answer
_LONGEST_LIST_BYTES = 4_000_000  # of models: OpenRouter's is 1 MB; read to its end, the connection can be used again
_CHECK_REQUEST = "please check the messages, the tools and the model name."
_ANYWHERE = "https://unknown.invalid"  # for a route that knows its address: proxy and certificates of any https address
_NO_JSON = "sent no JSON. Check base_url."
_ERROR_BODY_S = 1.0  # an error is sent at once; what trickles in after that is not waited for


@dataclass(eq=False, slots=True)
class _LoopState:
    """What a provider has on one event loop.

    Attributes:
        opened: The session and where it goes, or None.
        attempts: The clocks of the attempts that were made here; those that are over are garbage.
        closed_at_s: When the provider was closed last, on the monotonic clock.
    """

    opened: tuple[HTTPSession, Endpoint] | None = None
    attempts: weakref.WeakSet[Deadlines] = field(default_factory=weakref.WeakSet)
    closed_at_s: float = -math.inf

    def end_attempts(self) -> None:
        """Fail the attempts that are under way, and those that their calls would still make."""
        self.closed_at_s = time.monotonic()
        for deadlines in list(self.attempts):
            deadlines.close()


class ProviderTransport:
    """Sends requests to one provider.

    ``aclose`` ends all calls that began before it, with an error and without another request. A call that begins
    after it opens a new connection and starts the embedded server again.

    Args:
        config: The provider, with its secrets looked up.
        server: The embedded server to start first, or None.

    Attributes:
        endpoint: The provider's address, key and headers.
        key_version: Number of changes of the API key in its file so far.
        slots: Limits the requests at the same time (``max_concurrent``), or None. A slot belongs to the clock of an
            attempt.
    """

    def __init__(self, config: ProviderConfig, server: LocalServer | None = None) -> None:
        self._config = config
        self._server = server
        self._loops: dict[asyncio.AbstractEventLoop, _LoopState] = {}
        self.endpoint = endpoint_for(config)
        self.key_version = 0
        self._key_file: KeyFile | None = None
        if config.key_file is not None:
            from adapters.transport.key_file import KeyFile

            self._key_file = KeyFile(config.key_file, self.endpoint.api_key, config.name)
        self.slots = None if config.max_concurrent is None else Slots(config.max_concurrent)
        self._is_routed = not self.endpoint.prefix
        self._is_unwired = False  # whether LiteLLM's route was found to ignore our client
        self._first_call = partial(translation.first_call, self.endpoint, config.litellm) if self._is_routed else None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no connections."""
        return {**vars(self), "_loops": {}}

    def renew_key(self, version: int) -> bool:
        """Read the API key's file again after a rejection; return whether the key has changed since ``version``."""
        if self._key_file is None:
            return False
        self._use_changed_key(self._key_file, force=True)
        return self.key_version > version

    def _use_changed_key(self, file: KeyFile, *, force: bool = False) -> None:
        key = file.changed_key(force=force)
        if key is not None:
            self.endpoint = endpoint_for(self._config).with_key(key, file.former)
            self.key_version += 1

    def begin_loading(self) -> None:
        """Start to load in a thread what the first request would wait for."""
        litellm_bridge.start_warm_up(self.endpoint.route, self._first_call)

    async def load(self) -> None:
        """Wait until LiteLLM is loaded for the route of this provider."""
        if self.endpoint.route not in litellm_bridge.warm_routes:
            await litellm_bridge.warm_up(self.endpoint.route, self._first_call)

    async def send(
        self, body: Mapping[str, Json], headers: Mapping[str, str], *, stream: bool, deadlines: Deadlines
    ) -> Body:
        """Send one chat completion request through LiteLLM and wait for the head of the response.

        Args:
            body: All fields but model and ``stream``.
            headers: Headers of this request alone, beside the provider's.
            stream: Whether the answer is streamed.
            deadlines: The clock of this attempt. The caller releases it, also after an error: it may hold a slot.

        Returns:
            The body of a success. The caller closes or releases it.

        Raises:
            APIError: If there is no such response.
        """
        session, endpoint = await self._connect(deadlines, through_litellm=True)
        if headers:
            endpoint = endpoint.with_secrets_of(headers)
        deadlines.request_sent()
        if self.slots is not None:
            await self._take_slot(self.slots, deadlines)
        if self._is_routed:
            return await self._send_routed(session, endpoint, body, headers, stream=stream, deadlines=deadlines)
        exchange = CapturedExchange(session.send, endpoint, headers)
        problem = ""
        try:
            await self._wait(deadlines, litellm_bridge.acompletion(exchange, endpoint, body, stream=stream))
        except (asyncio.CancelledError, APIError):
            exchange.close()
            raise
        except Exception as error:  # noqa: BLE001 - LiteLLM raises anything; what counts is the exchange
            problem = type(error).__name__  # the exception itself holds the prompt and the key
        if exchange.response is not None:
            return await self._body_of(exchange.response, deadlines, endpoint)
        if exchange.error is not None:
            raise lost_connection(exchange.error, deadlines, endpoint)
        cause = TypeError(problem)
        raise failures.request_not_built(_CHECK_REQUEST, endpoint) from cause

    async def _take_slot(self, slots: Slots, deadlines: Deadlines) -> None:
        """Wait until the server may get another request."""
        try:
            await deadlines.wait_for_slot(slots)
        except CallClosedError:
            raise failures.closed(self.endpoint) from None
        except DeadlineExceeded as exceeded:
            text = "%s: no slot was free for %g s (max_concurrent is %d)."
            logger.info(text, self.endpoint.provider, exceeded.seconds, slots.size)
            raise failures.full(self.endpoint) from exceeded

    async def _send_routed(
        self,
        session: HTTPSession,
        endpoint: Endpoint,
        body: Mapping[str, Json],
        headers: Mapping[str, str],
        *,
        stream: bool,
        deadlines: Deadlines,
    ) -> Body:
        """Send one request by a route that LiteLLM's model names."""
        exchange = TranslatedExchange(session.send, endpoint, headers)
        failure: APIError | None = None
        result = None
        try:
            call = translation.translate(exchange, endpoint, body, self._config.litellm, stream=stream)
            result = await self._wait(deadlines, call)
        except (asyncio.CancelledError, APIError):
            exchange.close()
            raise
        except Exception as error:  # noqa: BLE001 - LiteLLM raises anything
            failure = translation.read_failure(error, endpoint)
        if exchange.error is not None:
            raise lost_connection(exchange.error, deadlines, endpoint)
        if exchange.response is not None and not exchange.is_translated:
            return await self._body_of(exchange.response, deadlines, endpoint)
        if result is None:
            exchange.close()
            raise failure or failures.request_not_built(_CHECK_REQUEST, endpoint)
        if exchange.response is None:
            self._log_unwired(endpoint)
        return TranslatedBody(result, exchange, deadlines, self._config.limits, endpoint)

    def _log_unwired(self, endpoint: Endpoint) -> None:
        """Log once that a route does not use our client, and what is lost by that."""
        if not self._is_unwired:
            self._is_unwired = True
            text = "%s: LiteLLM's route %s uses a client of its own: Retry-After and limits of bytes are not known."
            logger.info(text, endpoint.provider, endpoint.route)

    async def get(self, path: str) -> Json:
        """Get a JSON document without LiteLLM, and without retries: no conversation waits for it.

        Args:
            path: Path below the provider's base URL, with a query or without.

        Raises:
            APIError: If the server could not be reached, refused, or sent no JSON.
        """
        deadlines = Deadlines(self._config.timeouts, streamed=False, is_prefill=True)
        body = await self._body_of(await self._get(path, deadlines), deadlines, self.endpoint)
        try:
            documents = await body.read()
        finally:
            body.close()
        if body.error is not None and not isinstance(body.error, IncompleteResponseError):
            raise body.error
        if not body.has_ended or not body.is_whole:
            raise failures.incomplete(_NO_JSON, self.endpoint)
        return documents[0]

    async def prewarm(self, *, is_probe: bool = False) -> bytes:
        """Load LiteLLM with all that it loads late, then open the connection that the first request will use.

        Args:
            is_probe: Whether the status counts. Without it any response will do: not every server lists its models,
                and not every key may see the list.

        Returns:
            The server's list of models as it came; b"" if it sends none, or one that is too long.

        Raises:
            APIError: If the server cannot be reached or, for a probe, would refuse a request as well.
        """
        loop_state, began_s = self._loop_state(), time.monotonic()
        await self._open(loop_state, began_s, is_cold=True)  # without a limit: a large local model loads for minutes
        if self._is_routed:
            return b""  # each route has another address, and another list of models or none
        deadlines = Deadlines(self._config.timeouts, streamed=True, is_prefill=True)
        # Not HEAD: a server that sends a body all the same would break the next request.
        response = await self._get("/models", deadlines)
        if is_probe and (response.status in _REFUSALS or response.status >= _FIRST_SERVER_FAILURE):
            await self._body_of(response, deadlines, self.endpoint)  # raises
        try:
            listed = await self._wait(deadlines, response.read_up_to(_LONGEST_LIST_BYTES))
        except BaseException:
            response.close()
            raise
        response.release()
        return listed if response.status < _FIRST_FAILURE and len(listed) < _LONGEST_LIST_BYTES else b""

    def has_question(self) -> bool:
        """Return whether a person waits for a request on the running loop."""
        return any(attempt.is_active and not attempt.is_prefill for attempt in self._loop_state().attempts)

    async def aclose(self) -> None:
        """Close this loop's session and stop the embedded server, which ends the calls on all loops."""
        loop_state = self._loop_state()
        opened, loop_state.opened = loop_state.opened, None
        loop_state.end_attempts()
        if self._server is not None:
            for loop, other in list(self._loops.items()):
                if other is not loop_state:
                    with suppress(RuntimeError):  # the loop has ended
                        loop.call_soon_threadsafe(other.end_attempts)
        try:
            if opened is not None:
                await opened[0].aclose()
        finally:
            if self._server is not None:
                await self._server.stop()

    async def _get(self, path: str, deadlines: Deadlines) -> Response:
        """Send a GET request without LiteLLM and wait for the head of the response."""
        session, endpoint = await self._connect(deadlines, through_litellm=False)
        deadlines.request_sent()
        url = endpoint.with_query(f"{endpoint.base_url}{path}")
        return await self._wait(deadlines, session.send("GET", url, endpoint.all_headers))

    async def _connect(self, deadlines: Deadlines, *, through_litellm: bool) -> tuple[HTTPSession, Endpoint]:
        """Return this loop's session and the address to send to; only the first request has anything to wait for."""
        loop_state = self._loops.get(asyncio.get_running_loop()) or self._loop_state()
        loop_state.attempts.add(deadlines)
        opened = loop_state.opened
        is_cold = through_litellm and self.endpoint.route not in litellm_bridge.warm_routes
        is_closed = deadlines.began_s < loop_state.closed_at_s
        if opened is None or is_cold or is_closed or self._server is not None:
            opened = await self._wait(deadlines, self._open(loop_state, deadlines.began_s, is_cold=is_cold))
        if self._key_file is not None:
            self._use_changed_key(self._key_file)
            opened = opened[0], self.endpoint.at(opened[1].base_url)
        return opened

    def _loop_state(self) -> _LoopState:
        """Return the state of the running loop, and forget the loops that have ended."""
        for loop in list(self._loops):
            if loop.is_closed():
                self._loops.pop(loop, None)
        return self._loops.setdefault(asyncio.get_running_loop(), _LoopState())

    async def _open(self, loop_state: _LoopState, began_s: float, *, is_cold: bool) -> tuple[HTTPSession, Endpoint]:
        """Load LiteLLM, start the embedded server and make the session, as far as they are missing.

        Raises:
            APIConnectionError: If the provider was closed since the call began: nothing is started or opened then.
        """
        if is_cold:
            await litellm_bridge.warm_up(self.endpoint.route, self._first_call)
        self._check_open(loop_state, began_s)
        base_url = self.endpoint.base_url
        if self._server is not None:
            try:
                base_url = await self._server.start()  # another address each time it starts
            finally:
                self._check_open(loop_state, began_s)
        opened = former = loop_state.opened
        if opened is None or opened[1].base_url != base_url:
            # ``open`` never yields to the loop, so that concurrent first calls share one session.
            session = await HTTPSession.open(base_url or _ANYWHERE, self._config.timeouts.connect_s, self._config.tls)
            opened = loop_state.opened = session, self.endpoint.at(base_url)
            if former is not None:
                await former[0].aclose()
        return opened

    def _check_open(self, loop_state: _LoopState, began_s: float) -> None:
        if began_s < loop_state.closed_at_s:
            raise failures.closed(self.endpoint) from None

    async def _wait(self, deadlines: Deadlines, awaitable: Awaitable[T]) -> T:
        try:
            return await deadlines.wait(awaitable)
        except CallClosedError:
            raise failures.closed(self.endpoint) from None
        except TransportError as error:
            raise lost_connection(error, deadlines, self.endpoint) from error
        except DeadlineExceeded as exceeded:
            raise failures.deadline_exceeded(exceeded, self.endpoint) from exceeded

    async def _body_of(self, response: Response, deadlines: Deadlines, endpoint: Endpoint) -> ResponseBody:
        """Return the body of a success; of anything else, raise the error that it describes."""
        if response.status < _FIRST_FAILURE:
            return ResponseBody(response, deadlines, self._config.limits, endpoint)
        try:
            # The body is in no variable unredacted: it may repeat the key.
            failure = upstream_error(
                read_error_body(await self._error_body(response)),
                status=response.status,
                headers=response.headers,
                secrets=endpoint.secrets,
            )
        finally:
            response.close()
        raise failures.upstream_failure(failure, endpoint) from failure

    async def _error_body(self, response: Response) -> bytes:
        """Read the body of an error up to a limit of bytes and of time; the status alone says the most."""
        content = b""
        try:
            async with asyncio.timeout(_ERROR_BODY_S):
                while len(content) < self._config.limits.error_bytes and (data := await response.read()):
                    content += data
        except (TimeoutError, TransportError):
            pass  # what has arrived is enough
        return content[: self._config.limits.error_bytes]
