"""The log on stderr (``--verbose``): what the library tells developers, without keys."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from adapters.cli.base import printable
from adapters.transport.endpoint import endpoint_for
from adapters.transport.errors.redact import redact

if TYPE_CHECKING:
    from adapters.config import ProviderConfig


class _Redacting(logging.Formatter):
    """Hides keys in the whole of a record, its traceback included."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return printable(redact(super().format(record), self._secrets))


def show_log(config: ProviderConfig) -> None:
    """Show the library's log, down to the last detail.

    Args:
        config: The provider, whose secrets are hidden.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting(endpoint_for(config).secrets))
    logger = logging.getLogger("adapters")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
