"""Providers that tell what they are at, for a spinner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.client.provider import LiteLLMProvider
from adapters.factory import server_of, with_fallbacks
from adapters.transport import litellm_bridge
from adapters.transport.endpoint import endpoint_for

if TYPE_CHECKING:
    from adapters.client.call import ProviderCall
    from adapters.config import ProviderConfig
    from adapters.provider import LLMProvider


class Progress:
    """Whom a conversation asks: a row, with the fallbacks behind it.

    Args:
        config: The row.

    Attributes:
        provider: The provider.
        is_demo: Whether it is the scripted demo.

    Raises:
        ConfigError: If something is missing.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self._members: list[_WatchedProvider] = []
        self.provider: LLMProvider = with_fallbacks(config, self._member)
        self.is_demo = config.kind == "local" and config.model_path is None

    def _member(self, config: ProviderConfig) -> _WatchedProvider:
        self._members.append(_WatchedProvider(config))
        return self._members[-1]

    @property
    def phase(self) -> str:
        """What is waited for, as a person would say it; it may be looked at from another thread."""
        phases = (member.phase for member in self._members)
        return next(filter(None, phases), f"waiting for {self.provider.model}")

    async def make_ready(self) -> None:
        """Do first what the first question would wait for; later calls do nothing.

        Raises:
            AdapterError: If the embedded server cannot be started.
        """
        await self._members[0].make_ready()


class _WatchedProvider(LiteLLMProvider):
    """The same provider, with a ``phase``."""

    def __init__(self, config: ProviderConfig) -> None:
        self._own_server = server_of(config)
        super().__init__(config, server=self._own_server)
        self._prefix = endpoint_for(config).prefix
        self._preparing = ""
        self._latest: ProviderCall | None = None

    @property
    def phase(self) -> str:
        """What it is doing beside waiting for an answer, or ""."""
        if self._preparing:
            return self._preparing
        if self._latest is not None and self._latest.is_reasoning:
            return f"{self.model} is thinking"
        return ""

    async def make_ready(self) -> None:
        """Load and start what it needs."""
        try:
            self._preparing = "loading"
            await litellm_bridge.warm_up(self._prefix)
            if self._own_server is not None:
                self._preparing = "starting the server"
                await self._own_server.start()
        finally:
            self._preparing = ""

    def _call(self, *args: Any, **kwargs: Any) -> ProviderCall:
        self._latest = super()._call(*args, **kwargs)
        return self._latest
