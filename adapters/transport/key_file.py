"""An API key in a file, for secrets that are rotated while the program runs (Docker, Kubernetes, Vault)."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from adapters.config.values import read_key_file

if TYPE_CHECKING:
    from pathlib import Path

_FORMER_KEYS = 8
_logger = logging.getLogger(__name__)


class KeyFile:
    """A file with an API key, which is read again when it changes.

    A file that is missing or unusable at that moment is logged, and the former key stays in use.

    Args:
        path: The file.
        key: The key that was read from it last.
        provider: Name of the provider, for the log.

    Attributes:
        former: The latest keys before the current one, which a server may still repeat in errors.
    """

    def __init__(self, path: Path, key: str, provider: str) -> None:
        self.former: deque[str] = deque(maxlen=_FORMER_KEYS)
        self._path = path
        self._key = key
        self._provider = provider
        self._stamp: tuple[int, int, int] | None = None

    def changed_key(self, *, force: bool = False) -> str | None:
        """Return the new key if there is one, else None.

        Args:
            force: Whether to read the file even if it looks unchanged.
        """
        try:
            status = self._path.stat()
        except OSError as error:
            self._log(f"cannot be read ({error.strerror})")
            return None
        stamp = status.st_mtime_ns, status.st_ino, status.st_size
        if stamp == self._stamp and not force:
            return None
        try:
            key = read_key_file(self._path)
        except ValueError as error:
            self._log(str(error))
            return None
        self._stamp = stamp
        if key == self._key:
            return None
        self.former.append(self._key)
        self._key = key
        _logger.info("%s: read a new API key", self._provider)
        return key

    def _log(self, reason: str) -> None:
        """Log a problem once until the file changes again."""
        stamp = (0, 0, hash(reason))
        if self._stamp != stamp:
            self._stamp = stamp
            _logger.warning("%s: the file of the API key %s; the former key stays in use", self._provider, reason)
