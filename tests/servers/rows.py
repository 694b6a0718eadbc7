"""The servers whose answers are recorded, one row each: how a provider for it is set up.

Where they run while recording is told in ``runners``; a replayed row asks ``http://<name>.test``, which does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from adapters import ProviderConfig, create_provider
from tests.servers.cassettes import HOST_SUFFIX, RECORDING

if TYPE_CHECKING:
    from adapters import LLMProvider


@dataclass(frozen=True, slots=True)
class Row:
    """One server.

    Attributes:
        name: As in ``runners.RUNNERS``; also the name of its host in a cassette.
        model: The model that is asked.
        kind: Kind of the provider.
        path: Path of its base URL.
        needs_key: Whether it demands a key.
    """

    name: str
    model: str = "demo"
    kind: str = "openai_compatible"
    path: str = "/v1"
    needs_key: bool = True

    def config(self, **options: Any) -> ProviderConfig:
        """Make settings that never repeat a request, so that one call is one recorded request.

        Args:
            **options: What differs from the row.
        """
        running = RECORDING.get(self.name, {})
        settings: dict[str, Any] = {
            "name": self.name,
            "model": self.model,
            "base_url": running.get("base_url") or f"http://{self.name}{HOST_SUFFIX}{self.path}",
            "api_key": (running.get("api_key") or "a-key") if self.needs_key else None,
            "max_tokens": 256,
            "retry": {"attempts": 1},
        }
        return ProviderConfig.create(self.kind, **{**settings, **options})

    def provider(self, **options: Any) -> LLMProvider:
        """Make a provider with these settings."""
        return create_provider(self.config(**options))


LLAMA_CPP = Row("llama-cpp")
LITELLM_PROXY = Row("litellm-proxy")
MLX_LM = Row("mlx-lm", needs_key=False)
OPENROUTER = Row("openrouter", model="openai/gpt-4o-mini", kind="openrouter", path="/api/v1")
STAND_IN = Row("stand-in", model="openai/gpt-4o-mini", kind="openrouter", path="/api/v1")
"""The OpenRouter stand-in again, for what OpenRouter itself cannot be made to show."""


def servers(*rows: Row) -> pytest.MarkDecorator:
    """Run a test once for each of some servers."""
    return pytest.mark.parametrize("server", [pytest.param(row, id=row.name) for row in rows])
