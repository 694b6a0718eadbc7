"""Run the command line in this process, in a process of its own, or on a pseudo-terminal."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from click.testing import CliRunner

from adapters.cli.commands import group
from adapters.testing.answers import answer, call
from tests import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.testing import Result

    from adapters.testing import ScriptedServer

Start: TypeAlias = "Callable[..., ForkedProcess]"

KEY = "sk-cli-0123456789"
_UNSEEN_S = 10
_LEAVING_S = 10  # more than a process needs to end on a busy machine
PATIENCE_S = 180  # a process starts slowly on a busy machine
WEATHER = answer("One moment.", calls=[call("get_weather", '{"city": "Paris"}')])
SUNNY = answer("It is ", "sunny.", usage={"prompt_tokens": 20, "completion_tokens": 4})


def run(*args: str, stdin: str = "") -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(group, args, input=stdin)


def bodies(server: ScriptedServer) -> list[dict[str, Any]]:
    """Return the bodies of the requests that the server received."""
    return server.seen["cli"].bodies


def output(process: ForkedProcess) -> IO[bytes]:
    """Return the pipe that the process writes to."""
    assert process.stdout is not None
    return process.stdout


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds that another thread or process fulfils."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


class ForkServer:
    """A server that starts processes in which LiteLLM is already loaded."""

    def __init__(self) -> None:
        self._requests, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.cli.fork_server"]
        self._server = subprocess.Popen(command, stdin=end.fileno(), env=os.environ | tracing.VARIABLES)
        end.close()

    def start(self, *args: str, stdin: int | None, stdout: int | None, stderr: int | None) -> ForkedProcess:
        """Start a process; arguments as for ``subprocess.Popen``, with the command line's arguments alone."""
        return ForkedProcess(self._requests, args, [stdin, stdout, stderr])

    def close(self) -> None:
        """End the server; processes that run go on."""
        self._requests.close()
        self._server.wait()


class ForkedProcess:
    """A process of the ``ForkServer``, with those methods of ``subprocess.Popen`` that the tests need."""

    def __init__(self, requests: socket.socket, args: Sequence[str], streams: Sequence[int | None]) -> None:
        pipes = [os.pipe() if stream == subprocess.PIPE else None for stream in streams]
        given = [number if stream is None else stream for number, stream in enumerate(streams)]
        ends = [pipe[1] if pipe else stream for pipe, stream in zip(pipes, given, strict=True)]
        self._answer, end = socket.socketpair()
        request = json.dumps({"args": args, "env": dict(os.environ)}).encode()
        socket.send_fds(requests, [request], [end.fileno(), *ends])
        end.close()
        for pipe in filter(None, pipes):
            os.close(pipe[1])
        self.stdout, self.stderr = (os.fdopen(pipe[0], "rb") if pipe else None for pipe in pipes[1:])
        self._lines = self._answer.makefile("r")
        self.pid = int(self._lines.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code."""
        if self.returncode is None:
            if not select.select([self._answer], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("adapters", timeout)
            self.returncode = int(self._lines.readline())
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
        self._lines.close()
        self._answer.close()


class Terminal:
    """A pseudo-terminal with a process at its other end."""

    def __init__(self, start: Start, *args: str, **streams: Any) -> None:
        self.text = ""
        self._end, others_end = pty.openpty()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._seen = 0
        ours = {"stdin": others_end, "stdout": others_end, "stderr": others_end}
        self.process = start(*args, **(ours | streams))
        os.close(others_end)

    def expect(self, words: str, wait_s: float | None = None) -> bool:
        """Read until the output contains these words, or no output comes for a while; return whether it does."""
        while words not in self.text[self._seen :]:
            if not select.select([self._end], [], [], wait_s)[0]:
                return False
            self.text += self._decoder.decode(os.read(self._end, 4096))
        self._seen = self.text.index(words, self._seen) + len(words)
        return True

    def interrupt(self, words: str) -> None:
        """Send SIGINT until these words come: readline misses a signal that arrives just before it waits for a key."""
        self.process.send_signal(signal.SIGINT)
        while not self.expect(words, _UNSEEN_S):
            self.process.send_signal(signal.SIGINT)

    def interrupt_until_the_end(self) -> None:
        """Send SIGINT until the process ends: the output may be the prompt of the signal before."""
        while self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_LEAVING_S)

    def type(self, keys: str) -> None:
        """Type keys."""
        os.write(self._end, keys.encode())

    def wait(self) -> int:
        """Wait for the process to end, and return its exit code."""
        code = self.process.wait(timeout=PATIENCE_S)
        os.close(self._end)
        return code
