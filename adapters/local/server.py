"""``LocalServer``: starts and stops the embedded llama.cpp server for whoever awaits it.

The child process itself is looked after in ``adapters.local.process``; no HTTP is spoken here.
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
    """A llama.cpp HTTP server of its own, on a free loopback port, in a child process.

    It may be started from any number of tasks, threads and event loops, at once or one after the other: they share
    one child. The child ends with ``stop()``, and without it as soon as this process ends, however it ends, or the
    object is garbage.

    Args:
        model_path: GGUF file to serve, under the name of its stem and with its own chat template; without one the
            server runs the demo model, which has canned answers and no intelligence, under the name ``demo``.
        api_key: Key that the server demands; None lets everyone on this machine ask.
        context_tokens: Length of the context window; a longer request is refused with status 400.
        sse_ping_s: Seconds of silence in a stream after which a comment keeps it open; None is llama.cpp's own (30).
        start_timeout_s: Seconds after which a server that is still loading is given up.
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

    @property
    def model(self) -> str:
        """Name under which the server lists its model."""
        return self._settings.alias

    @property
    def pid(self) -> int | None:
        """Process id of the child, or None if none is running."""
        process = self._process
        return process.pid if process is not None else None

    def check(self) -> None:
        """Look at what is wrong before anything is started.

        Raises:
            ConfigError: If the extra is not installed or the model file cannot be used.
        """
        self._settings.check()

    async def start(self) -> str:
        """Start the server, or do nothing if it runs; one that has crashed is started anew, on another port.

        Returns:
            The base URL, ``http://127.0.0.1:PORT/v1``; it answers at once.

        Raises:
            ConfigError: If the extra is not installed or the model file cannot be used.
            APIConnectionError: If the server could not load the model, or was stopped meanwhile.
            APITimeoutError: If it was not ready in time.
        """
        with self._lock:
            if self._process is None or self._process.has_ended:
                self._process = ServerProcess(self._settings)
            ready = self._process.ready
        return await asyncio.wrap_future(ready)

    async def stop(self) -> None:
        """Stop the server and wait until its process is gone; do nothing if there is none."""
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
