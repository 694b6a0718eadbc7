"""The body of one answer as it comes: JSON payloads, or one of our errors.

What is read has limits: of bytes in all, of bytes in one event, and of time. Beyond one the connection is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.transport.errors import failures
from adapters.transport.errors.redact import is_html
from adapters.transport.errors.upstream import request_id_of, upstream_error
from adapters.transport.http import TransportError
from adapters.transport.payloads import PayloadDecoder

if TYPE_CHECKING:
    from adapters.config import LimitConfig
    from adapters.errors import APIError
    from adapters.transport.deadlines import Deadlines
    from adapters.transport.endpoint import Endpoint
    from adapters.transport.http import Response
    from adapters.transport.payloads import Fault
    from adapters.types import Json

_SIGN_IN = "sent a web page instead of an answer. Please check base_url, or sign in to the network."


class ResponseBody:
    """One body. Whoever has it calls ``release`` or ``close`` at the end.

    Args:
        response: Where the bytes come from.
        deadlines: The clock of this try; it is told nothing here, but ends a wait that is too long.
        limits: How much may come.
        origin: Who sends it.

    Attributes:
        trouble: Why there is no more of it, or None.
    """

    def __init__(self, response: Response, deadlines: Deadlines, limits: LimitConfig, endpoint: Endpoint) -> None:
        self._response = response
        self._deadlines = deadlines
        self._limits = limits
        self._endpoint = endpoint
        self._payloads = PayloadDecoder(limits.event_bytes)
        self._read_bytes = 0
        self.trouble: APIError | None = None
        deadlines.guard(response.close)

    @property
    def request_id(self) -> str | None:
        """The server's name for the request, from its headers; for its operator, or None."""
        return request_id_of(self._response.headers)

    @property
    def is_whole(self) -> bool:
        """Whether it is one JSON document rather than a stream of events."""
        return self._payloads.is_whole

    @property
    def has_ended(self) -> bool:
        """Whether the server said itself that nothing follows; bytes may still come, but no payload."""
        return self._payloads.has_ended and self.trouble is None

    async def read(self) -> list[Json]:
        """Wait for payloads.

        Returns:
            Those that came together. None at the end: then ``trouble`` tells whether it was a good one. It may also
            be there beside the last payloads, which came before it.
        """
        payloads: list[Json] = []
        while not payloads and self.trouble is None and not self._payloads.has_ended:
            try:
                data = await self._response.read()
            except TransportError as trouble:
                self.trouble = self._broken(trouble)
                break
            self._read_bytes += len(data)
            payloads = self._payloads.feed(data) if data else self._payloads.finish()
            if self._payloads.fault is not None:
                self.trouble = self._error(self._payloads.fault)
            elif self._read_bytes > self._limits.answer_bytes:
                self.trouble = failures.too_long("answer_bytes", self._limits.answer_bytes, self._endpoint)
            if not data:
                break
        return payloads

    def close(self) -> None:
        """Close the connection; the server sees at once that nobody listens any more."""
        self._deadlines.release()
        self._response.close()

    def release(self) -> None:
        """Leave an answer that is finished; its connection is used again if the body ends soon."""
        self._deadlines.release()
        self._response.release()

    def _broken(self, trouble: TransportError) -> APIError:
        if (exceeded := self._deadlines.exceeded) is not None:
            return failures.caused(failures.late(exceeded, self._endpoint), exceeded)
        return failures.caused(failures.disconnected(self._endpoint, trouble), trouble)

    def _error(self, fault: Fault) -> APIError:
        if fault.kind == "too_long":
            return failures.too_long("event_bytes", self._limits.event_bytes, self._endpoint)
        if fault.kind == "garbled":
            return failures.incomplete("sent an answer that is cut or garbled. Please ask again.", self._endpoint)
        if fault.kind == "prose" and is_html(fault.value):
            return failures.incomplete(_SIGN_IN, self._endpoint)
        failure = upstream_error(fault.value, secrets=self._endpoint.secrets)
        speak = failures.rejected if fault.kind == "error" else failures.no_answer
        return failures.caused(speak(failure, self._endpoint), failure)
