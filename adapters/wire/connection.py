"""One provider's way to its server: a client for each event loop, and sending one request over it.

A client belongs to the loop it was made on, and an agent may run several loops one after the other, or in threads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from adapters.config.kinds import KINDS
from adapters.wire import engine
from adapters.wire.deadlines import DeadlineMissed, Deadlines
from adapters.wire.exchange import Exchange, create_client, watch
from adapters.wire.failures import caused, disconnected, late, rejected, unbuildable, without_request
from adapters.wire.origin import headers_of, key_of, origin_of
from adapters.wire.reader import read_whole
from adapters.wire.upstream import upstream_error

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.errors import APIError
    from adapters.local import LocalServer
    from adapters.types import Message

_FIRST_FAILURE = 300  # the lowest HTTP status that brings no answer


class Connection:
    """Sends requests to one provider.

    Args:
        config: The provider, with its secrets looked up.
        server: The embedded server to start first, or None.
    """

    def __init__(self, config: ProviderConfig, server: LocalServer | None) -> None:
        self._config = config
        self._server = server
        self._routes: dict[asyncio.AbstractEventLoop, engine.Route] = {}
        self.origin = origin_of(config)

    async def send(
        self, messages: list[Message], body: dict[str, Any], *, stream: bool, deadlines: Deadlines
    ) -> Exchange:
        """Send one request and wait for the head of the answer.

        Args:
            messages: The conversation.
            body: All other fields.
            stream: Whether the answer is streamed.
            deadlines: The clock of this try.

        Returns:
            An exchange whose response is a success. Whoever gets it closes it.

        Raises:
            APIError: If there is no such response.
        """
        route = await self._ready()
        with watch(stream=stream) as exchange:
            trouble: Exception | None = None
            try:
                await deadlines.wait(engine.acompletion(route, self._config.model, messages, body, stream=stream))
            except asyncio.CancelledError:
                await exchange.aclose()
                raise
            except Exception as error:  # noqa: BLE001 - LiteLLM raises anything; what counts is the exchange
                trouble = error
        failure = await self._judge(exchange, trouble, deadlines)
        if failure is not None:
            await exchange.aclose()
            raise failure
        return exchange

    async def prewarm(self) -> None:
        """Load LiteLLM with all that it loads late, then open the connection that the first request will use.

        Raises:
            APIError: If the server cannot be reached.
        """
        route = await self._ready()
        try:
            limit = Deadlines(self._config.timeouts, streamed=True)
            # Any answer will do: it is the open connection that counts, and the key must not go astray for it.
            await limit.wait(route.http.head(f"{route.base_url}/models", headers=route.all_headers))
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise disconnected(error, self.origin) from without_request(error)
        except DeadlineMissed as missed:
            raise late(missed, self.origin) from missed

    async def aclose(self) -> None:
        """Close this loop's client and stop the embedded server; another request opens both anew."""
        route = self._routes.pop(asyncio.get_running_loop(), None)
        try:
            if route is not None:
                await route.http.aclose()
        finally:
            if self._server is not None:
                await self._server.stop()

    async def _ready(self) -> engine.Route:
        base_url = await self._server.start() if self._server is not None else self._config.base_url
        prefix = KINDS[self._config.kind].prefix
        await engine.rehearsed(prefix)
        loop = asyncio.get_running_loop()
        route = former = self._routes.get(loop)
        if route is None or route.base_url != base_url:
            for ended in [each for each in list(self._routes) if each.is_closed()]:
                self._routes.pop(ended, None)  # nobody can close its client any more; its sockets go with it
            route = self._routes[loop] = engine.create_route(
                prefix,
                create_client(base_url, self._config.timeouts.connect_s),
                base_url=base_url,
                api_key=key_of(self._config),
                headers=headers_of(self._config),
            )
            if former is not None:  # the embedded server was started anew, on another port
                await former.http.aclose()
        return route

    async def _judge(self, exchange: Exchange, trouble: Exception | None, deadlines: Deadlines) -> APIError | None:
        """The error that an exchange amounts to, or None if it brought a response to read."""
        response = exchange.response
        if isinstance(trouble, DeadlineMissed):
            return caused(late(trouble, self.origin), trouble)
        if exchange.error is not None:
            return caused(disconnected(exchange.error, self.origin), without_request(exchange.error))
        if response is None:
            # LiteLLM's exception is named, not kept: the prompt and the key hang on it.
            error = unbuildable("please check the messages, the tools and the model name.", self.origin)
            return caused(error, TypeError(type(trouble).__name__))
        if response.status_code < _FIRST_FAILURE:
            return None
        try:
            content = await deadlines.wait(response.aread())
        except (httpx.HTTPError, httpx.StreamError, DeadlineMissed):
            content = b""  # the status alone says what happened
        return self._refusal(response, content)

    def _refusal(self, response: httpx.Response, content: bytes) -> APIError:
        said = read_whole(content).value
        failure = upstream_error(
            said, status=response.status_code, headers=dict(response.headers), secrets=self.origin.secrets
        )
        return caused(rejected(failure, self.origin), failure)
