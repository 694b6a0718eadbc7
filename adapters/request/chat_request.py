"""One chat completion request, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.types import Json, Message


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion request as it is sent. The ``repr`` hides everything that the caller wrote.

    Requests are compared by value: after a rejection, an equal request would be rejected again.

    Attributes:
        messages: The conversation in the shape that the server accepts.
        body: All other fields, except ``model`` and ``stream``.
        stream: Whether the response is streamed.
        wants_text: Whether tool calls are forbidden.
        headers: Headers of this request alone.
        dropped: Fields that were requested and are not sent because the server does not accept them.
    """

    messages: list[Message] = field(repr=False)
    body: dict[str, Json] = field(repr=False)
    stream: bool
    wants_text: bool
    headers: dict[str, str] = field(repr=False)
    dropped: tuple[str, ...] = ()
