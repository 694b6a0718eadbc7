"""The log on stderr (``--verbose``), with keys hidden."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from adapters.cli.base import printable
from adapters.transport.endpoint import endpoint_for
from adapters.transport.errors.redact import redact

if TYPE_CHECKING:
    from adapters.config import ProviderConfig


class _RedactingFormatter(logging.Formatter):
    """Hides keys in a whole record, its traceback included."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return printable(redact(super().format(record), self._secrets))


def show_log(config: ProviderConfig) -> None:
    """Print the library's log from level DEBUG on.

    Args:
        config: The provider whose secrets are hidden.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_RedactingFormatter(endpoint_for(config).secrets))
    logger = logging.getLogger("adapters")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
