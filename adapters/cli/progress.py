"""Providers that report their phase, for a spinner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.client.provider import LiteLLMProvider
from adapters.factory import server_of, with_fallbacks

if TYPE_CHECKING:
    from adapters.client.call import ProviderCall
    from adapters.config import ProviderConfig
    from adapters.provider import LLMProvider


class Progress:
    """The provider of a conversation, with its fallbacks and its current phase.

    Args:
        config: The provider entry.

    Attributes:
        provider: The provider.
        is_demo: Whether it is the scripted demo model.

    Raises:
        ConfigError: If a required setting is missing.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self._members: list[_ProviderWithPhase] = []
        self.provider: LLMProvider = with_fallbacks(config, self._member)
        self.is_demo = config.kind == "local" and config.model_path is None

    def _member(self, config: ProviderConfig) -> _ProviderWithPhase:
        self._members.append(_ProviderWithPhase(config))
        return self._members[-1]

    @property
    def phase(self) -> str:
        """What the conversation waits for, in plain words. It may be read from another thread."""
        phases = (member.phase for member in self._members)
        return next(filter(None, phases), f"waiting for {self.provider.model}")

    async def make_ready(self) -> None:
        """Load and start what the first request needs; later calls return at once.

        Raises:
            AdapterError: If the embedded server cannot be started.
        """
        await self._members[0].make_ready()


class _ProviderWithPhase(LiteLLMProvider):
    """A provider that reports its phase."""

    def __init__(self, config: ProviderConfig) -> None:
        self._own_server = server_of(config)
        super().__init__(config, server=self._own_server)
        self._preparing = ""
        self._latest: ProviderCall | None = None

    @property
    def phase(self) -> str:
        """What it does instead of waiting for the response, or ""."""
        if self._preparing:
            return self._preparing
        if self._latest is not None and self._latest.is_reasoning:
            return f"{self.model} is thinking"
        return ""

    async def make_ready(self) -> None:
        """Load LiteLLM and start the embedded server, if it has one."""
        try:
            self._preparing = "loading"
            await self._transport.load()
            if self._own_server is not None:
                self._preparing = "starting the server"
                await self._own_server.start()
        finally:
            self._preparing = ""

    def _call(self, *args: Any, **kwargs: Any) -> ProviderCall:
        self._latest = super()._call(*args, **kwargs)
        return self._latest
