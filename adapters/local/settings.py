"""Settings of a ``LocalServer``: checked before the child process starts, then passed to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adapters._install import install_command
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

API_KEY_VARIABLE = "ADAPTERS_LOCAL_API_KEY"  # not an argument, which other users of the machine can read


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The arguments of ``LocalServer``; see there."""

    model_path: Path | None
    context_tokens: int
    sse_ping_s: int | None
    start_timeout_s: float
    api_key: str | None = field(repr=False)

    @property
    def alias(self) -> str:
        """Name of the model in the server's list."""
        return self.model_path.stem if self.model_path else "demo"

    def check(self) -> None:
        """Check the settings without starting anything.

        Raises:
            ConfigError: If the extra is not installed or the model file cannot be used.
        """
        if find_spec("xllamacpp") is None or (self.model_path is None and find_spec("gguf") is None):
            raise ConfigError(f"The embedded server is not installed. Run: {install_command('local')}")
        if self.model_path is not None and _first_bytes(self.model_path) != b"GGUF":
            raise ConfigError(f"The model file {self.model_path} is not a GGUF file. Set model_path to one that is.")

    def as_argument(self) -> str:
        """Return the settings as JSON for the child's command line, without the key."""
        return json.dumps(
            {
                "model_path": str(self.model_path.absolute()) if self.model_path else None,
                "alias": self.alias,
                "context_tokens": self.context_tokens,
                "sse_ping_s": self.sse_ping_s,
            }
        )


def _first_bytes(path: Path) -> bytes:
    """Read the four bytes that identify a file's format."""
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        reason = f"The model file {path} cannot be read: {error.strerror}."
        raise ConfigError(f"{reason} Set model_path to a GGUF file.") from error
