"""One provider's way to its server: a client for each event loop, and one way of asking and of failing.

A client belongs to the loop it was made on, and an agent may run several loops one after the other, or in threads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from adapters.errors import IncompleteResponseError
from adapters.wire import engine
from adapters.wire.body import Body
from adapters.wire.client import Client, Trouble
from adapters.wire.deadlines import DeadlineMissed, Deadlines
from adapters.wire.errors import failures
from adapters.wire.errors.upstream import upstream_error
from adapters.wire.exchange import Exchange
from adapters.wire.origin import Hidden, Origin, origin_of
from adapters.wire.payloads import read_error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from typing import TypeVar

    from adapters.config import ProviderConfig
    from adapters.local import LocalServer
    from adapters.types import Json
    from adapters.wire.client import Response

    T = TypeVar("T")

_FIRST_FAILURE = 300  # the lowest HTTP status that brings no answer
_LONGEST_LIST_BYTES = 4_000_000  # of models: OpenRouter's is 1 MB; read to its end, the connection can be used again
_NO_JSON = "sent no JSON. Please check base_url."
_ERROR_BODY_S = 1.0  # an error says at once what is wrong; what dribbles in after that is not waited for


class Connection:
    """Sends requests to one provider.

    Args:
        config: The provider, with its secrets looked up.
        server: The embedded server to start first, or None.
    """

    def __init__(self, config: ProviderConfig, server: LocalServer | None = None) -> None:
        self._config = config
        self._server = server
        self._clients: dict[asyncio.AbstractEventLoop, tuple[str, Client]] = {}
        self.origin = origin_of(config)

    def begin_loading(self) -> None:
        """Begin to load in a thread what the first request would wait for."""
        engine.begin_loading(self.origin.prefix)

    async def ask(
        self, body: Mapping[str, Json], headers: Mapping[str, str], *, stream: bool, deadlines: Deadlines
    ) -> Body:
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
        client, origin = await self._under(deadlines, self._ready())
        exchange = Exchange(client.send, origin)
        problem = ""
        deadlines.asked()
        try:
            headers = Hidden({**origin.headers, **headers})
            await deadlines.wait(engine.acompletion(exchange, origin, body, headers, stream=stream))
        except asyncio.CancelledError:
            exchange.close()
            raise
        except DeadlineMissed as missed:
            exchange.close()
            raise failures.late(missed, origin) from missed
        except Exception as error:  # noqa: BLE001 - LiteLLM raises anything; what counts is the exchange
            problem = type(error).__name__  # not itself: prompt and key hang on it
        if exchange.response is not None:
            return await self._judged(exchange.response, deadlines)
        if exchange.trouble is not None:
            raise failures.disconnected(origin, exchange.trouble) from exchange.trouble
        cause = TypeError(problem)
        raise failures.unbuildable("please check the messages, the tools and the model name.", origin) from cause

    async def get(self, path: str) -> Json:
        """Get a JSON document past LiteLLM, once: nobody waits for it in the middle of a conversation.

        Args:
            path: Path below the provider's base URL, with a query or without.

        Raises:
            APIError: If the server could not be asked, refused, or sent no JSON.
        """
        deadlines = Deadlines(self._config.timeouts, streamed=False)
        client, origin = await self._under(deadlines, self._open())
        body = await self._judged(await self._send_get(client, origin, path, deadlines), deadlines)
        try:
            documents = await body.read()
        finally:
            body.close()
        if body.trouble is not None and not isinstance(body.trouble, IncompleteResponseError):
            raise body.trouble
        if not body.has_ended or not body.is_whole:
            raise failures.incomplete(_NO_JSON, self.origin)
        return documents[0]

    async def prewarm(self) -> bytes:
        """Load LiteLLM with all that it loads late, then open the connection that the first request will use.

        Returns:
            What the server says of its models, as it came; b"" if it would not, or its list is too long.

        Raises:
            APIError: If the server cannot be reached.
        """
        deadlines = Deadlines(self._config.timeouts, streamed=True)
        client, origin = await self._ready()
        # Any answer will do: it is the open connection that counts, and the key must not go astray for it. With HEAD a
        # server that sends a body all the same would break the next request.
        response = await self._send_get(client, origin, "/models", deadlines)
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

    async def _send_get(self, client: Client, origin: Origin, path: str, deadlines: Deadlines) -> Response:
        """Send a request past LiteLLM and wait for the head of its answer."""
        deadlines.asked()
        return await self._under(deadlines, client.send("GET", f"{origin.base_url}{path}", origin.all_headers))

    async def _ready(self) -> tuple[Client, Origin]:
        """What a request through LiteLLM needs; at the first one LiteLLM is loaded."""
        await engine.rehearsed(self.origin.prefix)
        return await self._open()

    async def _open(self) -> tuple[Client, Origin]:
        """The client of this loop, and where it goes: an embedded server has another address each time it starts."""
        base_url = await self._server.start() if self._server is not None else self.origin.base_url
        loop = asyncio.get_running_loop()
        opened, client = self._clients.get(loop, ("", None))
        if client is None or opened != base_url:
            for ended in [each for each in list(self._clients) if each.is_closed()]:
                self._clients.pop(ended, None)
            # Making a client waits for nothing, so that first calls at once share one.
            former, client = client, await Client.open(base_url, self._config.timeouts.connect_s)
            self._clients[loop] = base_url, client
            if former is not None:
                await former.aclose()
        return client, self.origin.at(base_url)

    async def _under(self, deadlines: Deadlines, awaitable: Awaitable[T]) -> T:
        try:
            return await deadlines.wait(awaitable)
        except Trouble as trouble:
            raise failures.disconnected(self.origin, trouble) from trouble
        except DeadlineMissed as missed:
            raise failures.late(missed, self.origin) from missed

    async def _judged(self, response: Response, deadlines: Deadlines) -> Body:
        """Hand over the body of a success; of anything else read what went wrong."""
        if response.status < _FIRST_FAILURE:
            return Body(response, deadlines, self._config.limits, self.origin)
        try:
            # No variable holds it as it came: it may repeat the key.
            failure = upstream_error(
                read_error_body(await self._error_body(response)),
                status=response.status,
                headers=response.headers,
                secrets=self.origin.secrets,
            )
        finally:
            response.close()
        raise failures.rejected(failure, self.origin) from failure

    async def _error_body(self, response: Response) -> bytes:
        """What an error says, up to a limit of bytes and of time; the status alone says the most."""
        content = b""
        try:
            async with asyncio.timeout(_ERROR_BODY_S):
                while len(content) < self._config.limits.error_bytes and (data := await response.read()):
                    content += data
        except (TimeoutError, Trouble):
            pass  # what has come says enough
        return content[: self._config.limits.error_bytes]
