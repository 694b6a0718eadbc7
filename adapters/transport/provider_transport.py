"""One provider's way to its server: a client for each event loop, and one way of asking and of failing.

A client belongs to the loop it was made on, and an agent may run several loops one after the other, or in threads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from adapters.errors import IncompleteResponseError
from adapters.transport import litellm_bridge
from adapters.transport.body import ResponseBody
from adapters.transport.capture import CapturedExchange
from adapters.transport.deadlines import DeadlineExceeded, Deadlines
from adapters.transport.endpoint import Endpoint, RedactedDict, endpoint_for
from adapters.transport.errors import failures
from adapters.transport.errors.upstream import upstream_error
from adapters.transport.http import HTTPSession, TransportError
from adapters.transport.payloads import read_error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from typing import TypeVar

    from adapters.config import ProviderConfig
    from adapters.local import LocalServer
    from adapters.transport.http import Response
    from adapters.types import Json

    T = TypeVar("T")

_FIRST_FAILURE = 300  # the lowest HTTP status that brings no answer
_LONGEST_LIST_BYTES = 4_000_000  # of models: OpenRouter's is 1 MB; read to its end, the connection can be used again
_NO_JSON = "sent no JSON. Please check base_url."
_ERROR_BODY_S = 1.0  # an error says at once what is wrong; what dribbles in after that is not waited for


class ProviderTransport:
    """Sends requests to one provider.

    Args:
        config: The provider, with its secrets looked up.
        server: The embedded server to start first, or None.
    """

    def __init__(self, config: ProviderConfig, server: LocalServer | None = None) -> None:
        self._config = config
        self._server = server
        self._clients: dict[asyncio.AbstractEventLoop, tuple[str, HTTPSession]] = {}
        self.endpoint = endpoint_for(config)

    def begin_loading(self) -> None:
        """Begin to load in a thread what the first request would wait for."""
        litellm_bridge.begin_loading(self.endpoint.prefix)

    async def ask(
        self, body: Mapping[str, Json], headers: Mapping[str, str], *, stream: bool, deadlines: Deadlines
    ) -> ResponseBody:
        """Send one chat completion request through LiteLLM and wait for the head of the answer.

        Args:
            body: All fields but model and ``stream``.
            headers: Headers of this request alone, beside the provider's.
            stream: Whether the answer is streamed.
            deadlines: The clock of this try.

        Returns:
            The body of a success. Whoever gets it closes or releases it.

        Raises:
            APIError: If there is no such response.
        """
        client, endpoint = await self._under(deadlines, self._ready())
        exchange = CapturedExchange(client.send, endpoint)
        problem = ""
        deadlines.request_sent()
        try:
            headers = RedactedDict({**endpoint.headers, **headers})
            await deadlines.wait(litellm_bridge.acompletion(exchange, endpoint, body, headers, stream=stream))
        except asyncio.CancelledError:
            exchange.close()
            raise
        except DeadlineExceeded as exceeded:
            exchange.close()
            raise failures.late(exceeded, endpoint) from exceeded
        except Exception as error:  # noqa: BLE001 - LiteLLM raises anything; what counts is the exchange
            problem = type(error).__name__  # not itself: prompt and key hang on it
        if exchange.response is not None:
            return await self._judged(exchange.response, deadlines)
        if exchange.trouble is not None:
            raise failures.disconnected(endpoint, exchange.trouble) from exchange.trouble
        cause = TypeError(problem)
        raise failures.unbuildable("please check the messages, the tools and the model name.", endpoint) from cause

    async def get(self, path: str) -> Json:
        """Get a JSON document past LiteLLM, once: nobody waits for it in the middle of a conversation.

        Args:
            path: Path below the provider's base URL, with a query or without.

        Raises:
            APIError: If the server could not be asked, refused, or sent no JSON.
        """
        deadlines = Deadlines(self._config.timeouts, streamed=False)
        client, endpoint = await self._under(deadlines, self._open())
        body = await self._judged(await self._send_get(client, endpoint, path, deadlines), deadlines)
        try:
            documents = await body.read()
        finally:
            body.close()
        if body.trouble is not None and not isinstance(body.trouble, IncompleteResponseError):
            raise body.trouble
        if not body.has_ended or not body.is_whole:
            raise failures.incomplete(_NO_JSON, self.endpoint)
        return documents[0]

    async def prewarm(self) -> bytes:
        """Load LiteLLM with all that it loads late, then open the connection that the first request will use.

        Returns:
            What the server says of its models, as it came; b"" if it would not, or its list is too long.

        Raises:
            APIError: If the server cannot be reached.
        """
        deadlines = Deadlines(self._config.timeouts, streamed=True)
        client, endpoint = await self._ready()
        # Any answer will do: it is the open connection that counts, and the key must not go astray for it. With HEAD a
        # server that sends a body all the same would break the next request.
        response = await self._send_get(client, endpoint, "/models", deadlines)
        listed = await self._under(deadlines, response.read_up_to(_LONGEST_LIST_BYTES))
        response.release()
        return listed if response.status < _FIRST_FAILURE and len(listed) < _LONGEST_LIST_BYTES else b""

    async def aclose(self) -> None:
        """Close this loop's client and stop the embedded server; another request opens both anew."""
        _, client = self._clients.pop(asyncio.get_running_loop(), ("", None))
        try:
            if client is not None:
                await client.aclose()
        finally:
            if self._server is not None:
                await self._server.stop()

    async def _send_get(self, client: HTTPSession, endpoint: Endpoint, path: str, deadlines: Deadlines) -> Response:
        """Send a request past LiteLLM and wait for the head of its answer."""
        deadlines.request_sent()
        return await self._under(deadlines, client.send("GET", f"{endpoint.base_url}{path}", endpoint.all_headers))

    async def _ready(self) -> tuple[HTTPSession, Endpoint]:
        """What a request through LiteLLM needs; at the first one LiteLLM is loaded."""
        await litellm_bridge.rehearsed(self.endpoint.prefix)
        return await self._open()

    async def _open(self) -> tuple[HTTPSession, Endpoint]:
        """The client of this loop, and where it goes: an embedded server has another address each time it starts."""
        base_url = await self._server.start() if self._server is not None else self.endpoint.base_url
        loop = asyncio.get_running_loop()
        opened, client = self._clients.get(loop, ("", None))
        if client is None or opened != base_url:
            for ended in [each for each in list(self._clients) if each.is_closed()]:
                self._clients.pop(ended, None)
            # Making a client waits for nothing, so that first calls at once share one.
            former, client = client, await HTTPSession.open(base_url, self._config.timeouts.connect_s)
            self._clients[loop] = base_url, client
            if former is not None:
                await former.aclose()
        return client, self.endpoint.at(base_url)

    async def _under(self, deadlines: Deadlines, awaitable: Awaitable[T]) -> T:
        try:
            return await deadlines.wait(awaitable)
        except TransportError as trouble:
            raise failures.disconnected(self.endpoint, trouble) from trouble
        except DeadlineExceeded as exceeded:
            raise failures.late(exceeded, self.endpoint) from exceeded

    async def _judged(self, response: Response, deadlines: Deadlines) -> ResponseBody:
        """Hand over the body of a success; of anything else read what went wrong."""
        if response.status < _FIRST_FAILURE:
            return ResponseBody(response, deadlines, self._config.limits, self.endpoint)
        try:
            # No variable holds it as it came: it may repeat the key.
            failure = upstream_error(
                read_error_body(await self._error_body(response)),
                status=response.status,
                headers=response.headers,
                secrets=self.endpoint.secrets,
            )
        finally:
            response.close()
        raise failures.rejected(failure, self.endpoint) from failure

    async def _error_body(self, response: Response) -> bytes:
        """What an error says, up to a limit of bytes and of time; the status alone says the most."""
        content = b""
        try:
            async with asyncio.timeout(_ERROR_BODY_S):
                while len(content) < self._config.limits.error_bytes and (data := await response.read()):
                    content += data
        except (TimeoutError, TransportError):
            pass  # what has come says enough
        return content[: self._config.limits.error_bytes]
