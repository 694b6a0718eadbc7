"""Processes that have LiteLLM from their start, for tests that are about something else than how it is loaded."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests import tracing
from tests.forks import client

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = Path(__file__).parent.parent.parent


def python() -> list[str]:
    """Return the command of a Python with LiteLLM, or of a plain one if there is no server."""
    address = os.environ.get(client.ADDRESS)
    return [sys.executable] if address is None else [sys.executable, "-S", client.__file__, address]


class ForkServer:
    """The server, which runs until it is closed; ``client.ADDRESS`` names it in the environment."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp()
        os.environ[client.ADDRESS] = address = f"{self._folder}/fork-server"
        self._lifeline, end = socket.socketpair()
        with end, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(100)
            numbers = (listener.fileno(), end.fileno())
            command = [sys.executable, "-m", "tests.forks.server", *map(str, numbers)]
            env = os.environ | tracing.VARIABLES
            self._server = subprocess.Popen(command, cwd=_ROOT, env=env, pass_fds=numbers)

    def close(self) -> None:
        """End the server; processes that run go on."""
        self._lifeline.close()
        self._server.wait()
        shutil.rmtree(self._folder)
        del os.environ[client.ADDRESS]


class ForkedProcess:
    """A process of the ``ForkServer``, with those methods of ``subprocess.Popen`` that the tests need."""

    def __init__(self, args: list[str], env: dict[str, str], streams: Sequence[int | None]) -> None:
        pipes = [os.pipe() if stream == subprocess.PIPE else None for stream in streams]
        given = [number if stream is None else stream for number, stream in enumerate(streams)]
        ends = [pipe[1] if pipe else stream for pipe, stream in zip(pipes, given, strict=True)]
        self.pid, self._connection = client.start(os.environ[client.ADDRESS], args, env, ends)
        for pipe in filter(None, pipes):
            os.close(pipe[1])
        self.stdout, self.stderr = (os.fdopen(pipe[0], "rb") if pipe else None for pipe in pipes[1:])
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("fork", timeout)
            self.returncode = client.receive(self._connection)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[bytes, bytes]:
        """Read what the process prints and wait for its end."""
        with ThreadPoolExecutor(2) as threads:
            streams = [stream and not stream.closed and stream for stream in (self.stdout, self.stderr)]
            read = [threads.submit(stream.read) if stream else None for stream in streams]
            self.wait(timeout)
            out, errors = (future.result() if future else b"" for future in read)
        return out, errors

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def close(self) -> None:
        """Kill the process if it runs, and close what belongs to it."""
        self.send_signal(signal.SIGKILL)
        for stream in filter(None, (self.stdout, self.stderr)):
            stream.close()
        self._connection.close()
