"""The command line as tests use it: in this process, as a process of its own, and on a pseudo-terminal."""

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

Start: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"

KEY = "sk-cli-0123456789"
_UNSEEN_S = 3
_LEAVING_S = 10  # more than a process needs to end on a busy machine
PATIENCE_S = 60  # a process that starts on a busy machine takes its time
WEATHER = answer("One moment.", calls=[call("get_weather", '{"city": "Paris"}')])
SUNNY = answer("It is ", "sunny.", usage={"prompt_tokens": 20, "completion_tokens": 4})


def run(*args: str, stdin: str = "") -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(group, args, input=stdin)


def bodies(server: ScriptedServer) -> list[dict[str, Any]]:
    """What the server was asked."""
    return server.seen["cli"].bodies


def output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    """The pipe that the process writes to."""
    assert process.stdout is not None
    return process.stdout


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


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

    def expect(self, words: str) -> None:
        """Read on until these words have come."""
        while words not in self.text[self._seen :]:
            self.text += self._decoder.decode(os.read(self._end, 4096))
        self._seen = self.text.index(words, self._seen) + len(words)

    def interrupt(self) -> None:
        """Send SIGINT until something comes: one that meets readline just before it waits for a key is not seen."""
        came = False
        while not came and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            came = bool(select.select([self._end], [], [], _UNSEEN_S)[0])

    def interrupt_until_the_end(self) -> None:
        """Send SIGINT until the process ends, for what comes may still be the prompt; each time is given its time."""
        while self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_LEAVING_S)

    def type(self, keys: str) -> None:
        """Write as a person does."""
        os.write(self._end, keys.encode())

    def wait(self) -> int:
        """Wait for the process to end, and tell its exit code."""
        code = self.process.wait(timeout=PATIENCE_S)
        os.close(self._end)
        return code
