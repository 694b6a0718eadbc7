"""Run the command line in this process, in a process of its own, or on a pseudo-terminal."""

from __future__ import annotations

import codecs
import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from click.testing import CliRunner

from adapters.cli.commands import group
from adapters.testing.answers import answer, call

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from adapters.testing import ScriptedServer
    from tests.forks.processes import ForkedProcess

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


class Terminal:
    """A pseudo-terminal with a process at its other end."""

    def __init__(self, start: Start | Callable[..., subprocess.Popen[bytes]], *args: str, **streams: Any) -> None:
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
