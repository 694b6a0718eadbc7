"""How LiteLLM builds a request that it never sends: the captured exchange.

LiteLLM accepts a client of the caller's through ``client=``. The adapter passes one that is not a client but the
capture of one exchange::

    ProviderTransport.send        litellm_bridge.acompletion      LiteLLM              FakeOpenAIClient / Handler
      | 1  CapturedExchange(session.send, endpoint, headers)        |                             |
      |------------------------------>| 2  acompletion(client=fake) |                             |
      |                               |---------------------------->| 3  routes, authenticates,   |
      |                               |                             |    builds, fake.post(...)   |
      |                               |                             |---------------------------->|
      |                               |                             |      4  exchange.post(url, headers, bytes):
      |                               |                             |         our query and headers on top,
      |                               |                             |         session.send -> exchange.response,
      |                               |                             |         then raise StopLiteLLM
      |                               | StopLiteLLM passes through every handler of LiteLLM       |
      |                               |<----------------------------------------------------------|
      | 5  exchange.response: status, headers and unread body; ResponseBody reads the bytes
      |<------------------------------|

``StopLiteLLM`` derives from ``BaseException`` so that no ``except Exception`` of LiteLLM catches it. LiteLLM therefore
never reads, prices, logs or retries: one attempt is one request whatever LiteLLM is configured to do, and its callbacks
report neither a success nor a failure that LiteLLM did not see.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

from adapters.transport.http import TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from adapters.transport.endpoint import Endpoint
    from adapters.transport.http import Response
    from adapters.types import Json

_PATH = "/chat/completions"
_SDK_HEADER = "X-Stainless-Raw-Response"  # an instruction to the SDK, which removes it before it sends


class StopLiteLLM(BaseException):
    """End LiteLLM's call from inside its client.

    It is not an ``Exception``: LiteLLM takes those for failures of the server, which it logs, rewords and retries.
    """


class CapturedExchange:
    """One request on the wire and what came back.

    Args:
        send: Send a request and wait for the head of the response; ``HTTPSession.send``.
        endpoint: Whose query and headers are added to what LiteLLM has written.
        headers: Headers of this request alone, or None.

    Attributes:
        response: The response, its body unread, or None. The caller closes it.
        error: Why there is no response, or None.
    """

    def __init__(
        self,
        send: Callable[..., Awaitable[Response | None]],
        endpoint: Endpoint,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._send = send
        self._endpoint = endpoint
        self._headers = headers
        self._is_used = False
        self._is_abandoned = False
        self.response: Response | None = None
        self.error: TransportError | None = None

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> NoReturn:
        """Send the request, once, and end LiteLLM's call.

        Raises:
            StopLiteLLM: Always. ``response`` or ``error`` holds the result.
        """
        if not self._is_used:
            self._is_used = True
            if self._endpoint.query:
                url = self._endpoint.with_query(url)
            if self._endpoint.headers or self._headers or self._endpoint.key_header:
                headers = self._endpoint.headers_over(headers, self._headers)
            try:
                self.response = await self._send("POST", url, headers, content)
            except TransportError as error:
                self.error = error.with_traceback(None)  # its frames hold the request
        raise StopLiteLLM

    def abandon(self) -> bool:
        """Prevent a request that has not been sent yet; return whether it is prevented, now or before."""
        if not self._is_used:
            self._is_used = self._is_abandoned = True
        return self._is_abandoned

    def close(self) -> None:
        """Close the response, if there is one."""
        if self.response is not None:
            self.response.close()


class FakeOpenAIClient:
    """Present an exchange as the openai SDK's client, which LiteLLM wants for ``openai/``.

    It has the attributes that LiteLLM uses: ``chat.completions.with_raw_response.create`` up to LiteLLM 1.106, ``post``
    in later versions. The SDK's own methods copy and validate every message of every request on the event loop: 60 ms
    at 400 messages (``nox -s bench``).

    Args:
        exchange: Sends the request.
        endpoint: Where it goes.
        model: Name of the model to send; "" for the one that LiteLLM writes.
    """

    def __init__(self, exchange: CapturedExchange, endpoint: Endpoint, model: str = "") -> None:
        self._exchange = exchange
        self._endpoint = endpoint
        self._model = model
        self.api_key = endpoint.api_key
        self._base_url = SimpleNamespace(_uri_reference=endpoint.base_url)  # LiteLLM's logging reads it

    @property
    def chat(self) -> SimpleNamespace:
        """The SDK's resource; made on access, because a stored one would be a reference cycle that holds the answer."""
        completions = SimpleNamespace(create=self._create, with_raw_response=SimpleNamespace(create=self._create))
        return SimpleNamespace(completions=completions)

    async def post(self, path: str, *, body: Mapping[str, Json], options: Mapping[str, Json], **_: Json) -> NoReturn:
        """Send a request; the parameters are those of ``AsyncOpenAI.post``.

        Args:
            path: Path below the base URL.
            body: The fields that LiteLLM wrote.
            options: The SDK's options: ``headers``, and ``extra_json`` for fields that override the others.
            **_: The types of the SDK's return value.
        """
        fields = {**body, **(options.get("extra_json") or {})}
        if self._model:
            fields["model"] = self._model
        content = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Authorization": f"Bearer {self._endpoint.api_key}", "Content-Type": "application/json"}
        headers |= options.get("headers") or {}
        headers.pop(_SDK_HEADER, None)
        await self._exchange.post(f"{self._endpoint.base_url}{path}", headers, content)

    async def _create(self, *, extra_headers: Json = None, extra_body: Json = None, **fields: Json) -> NoReturn:
        """Send a request; the parameters are those of ``AsyncOpenAI.chat.completions.create``."""
        fields.pop("timeout", None)  # ``deadlines`` limits the attempt
        await self.post(_PATH, body=fields, options={"headers": extra_headers, "extra_json": extra_body})
