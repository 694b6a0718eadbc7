"""Ids of tool calls: nine letters or digits, because Mistral's API accepts nothing else and other servers accept any.

A call that arrives without an id gets a random one. A call of the history gets one that is derived from it, so that the
same history is sent as the same bytes each time and the server's prefix cache still applies.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 9
_SHORT_ID = re.compile(rf"[A-Za-z0-9]{{{_LENGTH}}}")


def is_short_id(call_id: str) -> bool:
    """Return whether an id has the form that every server accepts."""
    return _SHORT_ID.fullmatch(call_id) is not None


def make_call_id() -> str:
    """Make a random id for a call that arrived without one."""
    return _encode(secrets.randbelow(len(_ALPHABET) ** _LENGTH))


def derive_call_id(source: str, taken: Container[str]) -> str:
    """Derive an id from a text: the same text gives the same id.

    Args:
        source: What distinguishes the call, such as its old id.
        taken: Ids that must not be used again.

    Returns:
        An id that is not in ``taken``.
    """
    return next(candidate for candidate in derived_call_ids(source) if candidate not in taken)


def derived_call_ids(source: str) -> Iterator[str]:
    """Derive one id after the other from a text, for several calls that nothing else distinguishes."""
    return (_digest(f"{attempt} {source}") for attempt in itertools.count())


def _digest(text: str) -> str:
    return _encode(int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()))


def _encode(number: int) -> str:
    """Write a number, or its lower part, in letters and digits."""
    return "".join(_ALPHABET[number // len(_ALPHABET) ** place % len(_ALPHABET)] for place in range(_LENGTH))
