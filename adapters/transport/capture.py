"""One try on the wire: what LiteLLM sends its request through, and the witness of what came back.

LiteLLM is handed an ``CapturedExchange`` where it wants a client. It builds the request and sends it; when the head of the
answer is there, its part is over: ``StopLiteLLM`` ends the call inside of it, before it reads, prices, logs or retries
anything. The answer is read by us, from the bytes. So a try is one request, whatever LiteLLM is set to, and its
callbacks are told neither of a success nor of a failure that they have not seen.
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
_SDK_HEADER = "x-stainless-raw-response"  # for the SDK itself: it takes the header out before it sends


class StopLiteLLM(BaseException):
    """LiteLLM's part is over.

    It is no ``Exception``, because those LiteLLM takes for failures of the server: it would log them, word them anew
    and send the request again.
    """


class CapturedExchange:
    """What goes over the wire in one try.

    Args:
        send: Sends a request and waits for the head of its answer; ``Client.send``.
        origin: Whom the request goes to.

    Attributes:
        response: The head of the answer, once it has come; whoever takes it closes it.
        trouble: What kept it from coming, or None.
    """

    def __init__(self, send: Callable[..., Awaitable[Response | None]], endpoint: Endpoint) -> None:
        self._send = send
        self._endpoint = endpoint
        self._was_sent = False
        self.response: Response | None = None
        self.trouble: TransportError | None = None

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> NoReturn:
        """Send the request, once, and end LiteLLM's part.

        Raises:
            HandedOver: Always: ``response`` or ``trouble`` tells what came.
        """
        if not self._was_sent:
            self._was_sent = True
            try:
                self.response = await self._send("POST", url, headers, content)
            except TransportError as trouble:
                self.trouble = trouble.with_traceback(None)  # its frames hold the request
        raise StopLiteLLM

    def abandon(self) -> bool:
        """Send nothing from now on; tells whether nothing has been sent."""
        unsent, self._was_sent = not self._was_sent, True
        return unsent

    def close(self) -> None:
        """Close the response, if one has come."""
        if self.response is not None:
            self.response.close()


class FakeOpenAIClient:
    """An exchange in the form that LiteLLM wants for ``openai/``: a client of the openai SDK.

    It has what LiteLLM touches of one: ``chat.completions.with_raw_response.create`` up to LiteLLM 1.106, ``post`` in
    later versions. The SDK's own copies and types every message of every request anew, on the event loop: 60 ms at 400
    messages (``nox -s bench``).

    Args:
        exchange: Sends the request.
        origin: Whom it goes to.
    """

    def __init__(self, exchange: CapturedExchange, endpoint: Endpoint) -> None:
        self._exchange = exchange
        self._endpoint = endpoint
        self.api_key = endpoint.api_key
        self._base_url = SimpleNamespace(_uri_reference=endpoint.base_url)  # LiteLLM's logger looks at it

    @property
    def chat(self) -> SimpleNamespace:
        """What LiteLLM asks for; made when it does, because kept it would hold the answer until the next collection."""
        completions = SimpleNamespace(create=self._create, with_raw_response=SimpleNamespace(create=self._create))
        return SimpleNamespace(completions=completions)

    async def post(self, path: str, *, body: Mapping[str, Json], options: Mapping[str, Json], **_: Json) -> NoReturn:
        """Send a request in the form of ``AsyncOpenAI.post``.

        Args:
            path: Path below the base URL.
            body: The fields that LiteLLM wrote.
            options: The SDK's options: ``headers``, and ``extra_json`` for fields that win over the others.
            **_: How the answer would be typed.
        """
        await self._send(path, body, options.get("headers"), options.get("extra_json"))

    async def _create(self, *, extra_headers: Json = None, extra_body: Json = None, **fields: Json) -> NoReturn:
        """Send a request in the form of ``AsyncOpenAI.chat.completions.create``, with its keywords."""
        fields.pop("timeout", None)  # ``deadlines`` limits the try
        await self._send(_PATH, fields, extra_headers, extra_body)

    async def _send(self, path: str, fields: Mapping[str, Json], headers: Json, extra_fields: Json) -> NoReturn:
        body = {**fields, **(extra_fields or {}), "model": self._endpoint.model}  # LiteLLM may know it by another name
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        written = {"Authorization": f"Bearer {self._endpoint.api_key}", "Content-Type": "application/json"}
        written |= {name: value for name, value in (headers or {}).items() if name.lower() != _SDK_HEADER}
        await self._exchange.post(f"{self._endpoint.base_url}{path}", written, content)
