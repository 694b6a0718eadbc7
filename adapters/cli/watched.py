"""A provider that tells what it is at, for a spinner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.factory import server_of
from adapters.litellm_provider import LiteLLMProvider
from adapters.wire import engine
from adapters.wire.origin import origin_of

if TYPE_CHECKING:
    from adapters.answer.answer import Answer
    from adapters.config import ProviderConfig
    from adapters.request.question import Question


class WatchedProvider(LiteLLMProvider):
    """The same provider; its ``phase`` may be looked at from another thread.

    Args:
        config: The provider, with its secrets looked up.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self._own_server = server_of(config)
        super().__init__(config, server=self._own_server)
        self._prefix = origin_of(config).prefix
        self._preparing = ""
        self._answer: Answer | None = None
        self.is_demo = config.kind == "local" and config.model_path is None

    @property
    def phase(self) -> str:
        """What is waited for, as a person would say it."""
        if self._preparing:
            return self._preparing
        if self._answer is not None and self._answer.thinks:
            return f"{self.model} is thinking"
        return f"waiting for {self.model}"

    async def make_ready(self) -> None:
        """Do first what the first question would wait for; later calls do nothing.

        Raises:
            AdapterError: If the embedded server cannot be started.
        """
        try:
            self._preparing = "loading"
            await engine.rehearsed(self._prefix)
            if self._own_server is not None:
                self._preparing = "starting the server"
                await self._own_server.start()
        finally:
            self._preparing = ""

    def _new_answer(self, question: Question) -> Answer:
        self._answer = super()._new_answer(question)
        return self._answer
