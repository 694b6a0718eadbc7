"""One request, as a value: what is sent, and nothing of how it came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.types import Json, Message


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request, as it is sent; two that are equal get the same answer from a server that refuses one.

    Its ``repr`` shows nothing that the caller wrote.

    Attributes:
        messages: The conversation, as this server takes it.
        body: All other fields but ``model`` and ``stream``.
        stream: Whether the answer is streamed.
        wants_text: Whether the answer must be text.
        headers: Headers of this request alone.
        dropped: Fields that were to be sent, and are not because the server refuses them.
    """

    messages: list[Message] = field(repr=False)
    body: dict[str, Json] = field(repr=False)
    stream: bool
    wants_text: bool
    headers: dict[str, str] = field(repr=False)
    dropped: tuple[str, ...] = ()
