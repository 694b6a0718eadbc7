"""Start, watch and end the child process that runs the server.

Nothing here uses asyncio: the work is done in a thread, and the result is a ``concurrent.futures.Future`` that any
event loop can await. ``adapters.local.__main__`` is the other end of the pipes.

The child ends when its standard input closes. Nothing is ever written to it, and the operating system closes it when
this process ends, even by SIGKILL.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Future
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from adapters.errors import APIConnectionError, APITimeoutError
from adapters.local.settings import API_KEY_VARIABLE

if TYPE_CHECKING:
    from adapters.local.settings import ServerSettings

logger = logging.getLogger(__name__)

_TERMINATE_S = 1  # time for the child to end after SIGTERM
_PACKAGE = str(Path(__file__).resolve().parents[1])
# "python -m adapters.local" would search the working directory first and run a folder "adapters" there. It would also
# load the whole package with pydantic, which takes longer than starting the server. An empty package in its place gives
# the child only the few modules that it imports.
_BOOTSTRAP = """
import runpy, sys, types
package = types.ModuleType("adapters")
package.__path__ = [sys.argv.pop(1)]
sys.modules["adapters"] = package
runpy.run_module("adapters.local", run_name="__main__", alter_sys=True)
"""
_BROKEN = (
    "could not be started; the debug log says why. The file may be damaged, or too large for this machine's memory."
)
_LLAMA_ERROR = re.compile(r"[\d.]+ E \w+\s*: (?:error loading model: )?(.{1,200})")
"""A log line of llama.cpp about a model that does not load: time, level, function, reason. The first is the cause."""

_STOPPED = "was stopped while it was starting."
_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)


class ServerProcess:
    """One child process, from its start to its end.

    Attributes:
        ready: The base URL, or the error that prevented the start.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.ready: Future[str] = Future()
        self.ready.set_running_or_notify_cancel()  # otherwise one cancelled waiter would cancel it for all
        self._settings = settings
        self._lock = threading.Lock()
        self._stopped = False
        self._child: subprocess.Popen[str] | None = None
        self._end: weakref.finalize[..., ServerProcess] | None = None
        threading.Thread(target=self._launch, name="local-server-start", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Process id of the child, or None if it is not running."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    @property
    def has_ended(self) -> bool:
        """Whether the child failed to start, crashed or was stopped."""
        return self.ready.done() and self.pid is None

    def stop(self) -> None:
        """End the child and wait for its exit."""
        with self._lock:
            self._stopped = True
            end = self._end
        if end is not None:
            end()

    def _launch(self) -> None:
        try:
            self._settings.check()
            child = self._spawn()
            self.ready.set_result(self._wait_until_ready(child))
        except BaseException as error:  # noqa: BLE001 - raised again where the future is awaited
            if self._end is not None:
                self._end()
            self.ready.set_exception(error)

    def _spawn(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise self._failure(_STOPPED)
            try:
                self._child = _open_child(self._settings)
            except OSError as error:
                raise self._failure(_BROKEN) from error
            # Runs at exit, or when this object is garbage collected: a forgotten stop() leaves no process behind.
            self._end = weakref.finalize(self, _end, self._child)
            return self._child

    def _wait_until_ready(self, child: subprocess.Popen[str]) -> str:
        """Read the address that the child prints once it listens."""
        stdout, stderr = cast("IO[str]", child.stdout), cast("IO[str]", child.stderr)
        reasons: list[str] = []
        log = threading.Thread(target=_log_lines, args=(stderr, reasons), name="local-server-log", daemon=True)
        log.start()
        timeout_s = self._settings.start_timeout_s
        give_up_at = time.monotonic() + timeout_s
        watchdog = threading.Timer(timeout_s, child.kill)
        watchdog.daemon = True
        watchdog.start()
        with stdout:
            address = stdout.readline().strip()
        watchdog.cancel()
        if address:
            return f"{address}/v1"
        log.join(timeout=1)  # so that the reason is known before the error is raised
        if self._stopped:
            raise self._failure(_STOPPED)
        if time.monotonic() >= give_up_at:
            message = f"was not ready after {timeout_s:g} seconds. Try a smaller model, or allow it more time."
            raise self._failure(message, APITimeoutError)
        raise self._failure(f"could not be started: {reasons[0]}." if reasons else _BROKEN)

    def _failure(self, what: str, kind: type[APIConnectionError] = APIConnectionError) -> APIConnectionError:
        alias = self._settings.alias
        return kind(f"The local model {alias} {what}", provider="local", model=alias)


def _open_child(settings: ServerSettings) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - this interpreter and this package, no shell
        [sys.executable, "-P", "-c", _BOOTSTRAP, _PACKAGE, settings.as_argument()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, API_KEY_VARIABLE: settings.api_key or ""},
        # The terminal sends Ctrl-C to its whole foreground process group. An agent may use it to interrupt a response,
        # which must not end the server, so the child has a group of its own.
        start_new_session=True,
        creationflags=_WINDOWS_FLAGS,
    )


def _end(child: subprocess.Popen[str]) -> None:
    """End the child and reap it; it has no state to save. In a forked copy of the parent, Popen does nothing."""
    child.terminate()
    try:
        child.wait(_TERMINATE_S)
    except subprocess.TimeoutExpired:  # the child is suspended
        child.kill()
        child.wait()
    cast("IO[str]", child.stdin).close()


def _log_lines(stderr: IO[str], reasons: list[str]) -> None:
    """Log the output of llama.cpp. If it was not read, the pipe would fill up and block the server.

    Args:
        stderr: Standard error of the child.
        reasons: Receives the first error, which says why a model does not load.
    """
    with stderr:
        for line in stderr:
            logger.debug("%s", line.rstrip())
            if not reasons and (found := _LLAMA_ERROR.match(line)):
                reasons.append(found.group(1).rstrip(" .\n"))
