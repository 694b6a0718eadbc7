"""Notice that a request begins differently than the one before it, for which a server's prefix cache is of no use.

A time of day in the system message, tools in another order or a rewritten history make a server evaluate everything
behind the difference anew, and nothing else shows it. The notice goes to the log at INFO, and without that level
nothing is computed.

The watch holds no text. A conversation is a row of digests with a key of this process, one for the tools and one for
each message, and a sketch of its first characters, which is encrypted and lossy: enough to find where two texts differ.
A conversation is recognized by its latest two messages without the system messages: the next request has them, too. So
the digests of two conversations are compared only if both are equal there, and what is logged is a position in the
request at hand.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.request.chat_request import ChatRequest
    from adapters.types import Json

_logger = logging.getLogger(__name__)

_MOST_CONVERSATIONS = 64
_MOST_MESSAGES = 1024
_SKETCH_BYTES = 16_384
_KEY = secrets.token_bytes(16)
_PAD = int.from_bytes(secrets.token_bytes(_SKETCH_BYTES))
_LOSSY = int.from_bytes(b"\x3f" * _SKETCH_BYTES)  # characters that differ in two bits only look equal: "0" and "p"


@dataclass(slots=True)
class _Row:
    """One request of a conversation.

    Attributes:
        digests: Of the tools, then of each message.
        sketch: Of the texts of the messages, one after the other.
        is_logged: Whether a difference of this conversation was logged.
    """

    digests: list[bytes]
    sketch: int
    is_logged: bool = False


class PrefixWatch:
    """Compares each request of a provider with the one before it in the same conversation.

    Args:
        provider: The provider's name, for the log.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        self._lock = threading.Lock()  # a provider may be used by several event loops, each in a thread

    def __reduce__(self) -> tuple[type[PrefixWatch], tuple[str]]:
        """Copies and pickles have seen nothing."""
        return PrefixWatch, (self._provider,)

    def note(self, request: ChatRequest) -> None:
        """Compare a request, log the first difference of its conversation, and keep its digests."""
        texts = [_text_of(message) for message in request.messages[:_MOST_MESSAGES]]
        tools = json.dumps(request.body.get("tools"), ensure_ascii=False)
        row = _Row([_digest(text.encode("utf-8", "surrogatepass")) for text in (tools, *texts)], _sketch(texts))
        turns = [
            digest
            for message, digest in zip(request.messages, row.digests[1:], strict=False)
            if message.get("role") != "system"
        ]
        keys = [b"".join(pair) for pair in pairwise((b"", *turns))]
        with self._lock:
            former = next((self._rows.pop(key) for key in reversed(keys) if key in self._rows), None)
            if former is not None:
                row.is_logged = former.is_logged or self._log_difference(former, row, texts)
            if keys:
                self._rows[keys[-1]] = row
            if len(self._rows) > _MOST_CONVERSATIONS:
                self._rows.popitem(last=False)

    def _log_difference(self, former: _Row, row: _Row, texts: list[str]) -> bool:
        pairs = enumerate(zip(former.digests, row.digests, strict=False))
        different = next((index for index, (old, new) in pairs if old != new), None)
        if different is None:
            return False  # one is the beginning of the other
        place = "the tools differ" if different == 0 else _place(different - 1, former, row, texts)
        _logger.info("%s: %s: servers read everything behind it anew.", self._provider, place)
        return True


def _place(index: int, former: _Row, row: _Row, texts: list[str]) -> str:
    """Say where the message of this index differs, from its first character on if the sketch reaches that far."""
    begin = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts[:index])
    difference = former.sketch ^ row.sketch
    at = _SKETCH_BYTES - 1 - (difference.bit_length() - 1) // 8 if difference else -1
    content = texts[index].encode("utf-8", "surrogatepass")
    if not begin <= at <= begin + len(content):
        return f"message {index} differs"
    return f"message {index} differs at character {len(content[: at - begin].decode('utf-8', 'ignore'))}"


def _text_of(message: dict[str, Json]) -> str:
    """Return what a server reads of a message: its text, and then the rest."""
    content = message.get("content")
    if not isinstance(content, str):
        return json.dumps(message, ensure_ascii=False)
    if message.keys() == {"role", "content"}:
        return f"{content}\0{message['role']}"
    return content + "\0" + json.dumps({**message, "content": None}, ensure_ascii=False)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=8, key=_KEY).digest()


def _sketch(texts: list[str]) -> int:
    """Return the first bytes of the texts, encrypted and without two bits of each."""
    data = b""
    for text in texts:
        data += text.encode("utf-8", "surrogatepass")
        if len(data) >= _SKETCH_BYTES:
            break
    return (int.from_bytes(data[:_SKETCH_BYTES].ljust(_SKETCH_BYTES, b"\0")) ^ _PAD) & _LOSSY
