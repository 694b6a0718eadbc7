"""``LocalServer``: start and stop the embedded llama.cpp server from asyncio.

``adapters.local.process`` runs the child process; nothing here sends HTTP requests.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from adapters.local.process import ServerProcess
from adapters.local.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self


class LocalServer:
    """A llama.cpp HTTP server in a child process, on a free loopback port.

    It may be started from any number of tasks, threads and event loops, at the same time or in turn; they share one
    child. The child ends with ``stop()``, or else when this process ends or the object is garbage collected.

    Args:
        model_path: GGUF file to serve with its own chat template, under the name of its stem. Without one the server
            runs the demo model, which has canned answers, under the name ``demo``.
        api_key: Key that requests must carry; None accepts all requests from this machine.
        context_tokens: Size of the context window; a longer request fails with status 400.
        sse_ping_s: Seconds without data after which a comment keeps a stream open; None is llama.cpp's default (30).
        start_timeout_s: Seconds after which loading the model fails.
    """

    def __init__(
        self,
        model_path: Path | None = None,
        *,
        api_key: str | None = None,
        context_tokens: int = 8192,
        sse_ping_s: int | None = None,
        start_timeout_s: float = 60,
    ) -> None:
        self._settings = ServerSettings(
            model_path=model_path.expanduser() if model_path else None,
            api_key=api_key,
            context_tokens=context_tokens,
            sse_ping_s=sse_ping_s,
            start_timeout_s=start_timeout_s,
        )
        self._lock = threading.Lock()
        self._process: ServerProcess | None = None

    def __getstate__(self) -> ServerSettings:
        """Copies and pickles are servers that have not been started."""
        return self._settings

    def __setstate__(self, settings: ServerSettings) -> None:
        self._settings, self._lock, self._process = settings, threading.Lock(), None

    @property
    def model(self) -> str:
        """Name of the model in the server's list."""
        return self._settings.alias

    @property
    def pid(self) -> int | None:
        """Process id of the child, or None if it is not running."""
        process = self._process
        return process.pid if process is not None else None

    def check(self) -> None:
        """Check the settings without starting anything.

        Raises:
            ConfigError: If the extra is not installed or the model file cannot be used.
        """
        self._settings.check()

    async def start(self) -> str:
        """Start the server unless it is running; a crashed server is started again, on another port.

        Returns:
            The base URL, ``http://127.0.0.1:PORT/v1``, ready for requests.

        Raises:
            ConfigError: If the extra is not installed or the model file cannot be used.
            APIConnectionError: If the server cannot load the model, or is stopped meanwhile.
            APITimeoutError: If the server is not ready in time.
        """
        with self._lock:
            if self._process is None or self._process.has_ended:
                self._process = ServerProcess(self._settings)
            ready = self._process.ready
        return await asyncio.wrap_future(ready)

    async def stop(self) -> None:
        """Stop the server and wait for the exit of its process; do nothing if there is none."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.stop)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
