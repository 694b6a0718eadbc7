"""Start Python processes from one that has loaded LiteLLM, which takes seconds of CPU in each process.

A started process is a fork with its own streams, environment, folder and arguments; it imports this package itself and
ends as any program does. The server's arguments are the descriptors of two sockets: one that accepts connections, and
one whose other end is closed when the server shall end. A connection carries one request: the arguments of Python, the
environment and the folder as a line of JSON, with the descriptors of the three streams. Its answer is the process id,
then the exit code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from tests.forks.client import NUMBER

_PIECE_BYTES = 100_000
_MODULES = ("aiohttp", "litellm.main", "mcp")


def _load() -> None:
    """Load what most processes need, without the tracer of ``coverage``."""
    tracers = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    gc.disable()
    for module in _MODULES:
        importlib.import_module(module)
    gc.enable()
    gc.freeze()  # otherwise each process walks through all of LiteLLM's objects when it ends: a second of CPU
    sys.settrace(tracers[0])
    threading.settrace(tracers[1])


def serve(listener: socket.socket, lifeline: socket.socket) -> None:
    """Serve until the other end of the lifeline is closed."""
    woken, wakes = socket.socketpair()
    wakes.settimeout(0)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    clients: dict[int, socket.socket] = {}
    while lifeline not in (ready := select.select([listener, lifeline, woken], [], [])[0]):
        if woken in ready:
            woken.recv(4096)
            _report_ended(clients)
        if listener in ready:
            client = listener.accept()[0]
            message, streams, *_ = socket.recv_fds(client, _PIECE_BYTES, 3)
            while not message.endswith(b"\n"):
                message += client.recv(_PIECE_BYTES)
            if (pid := os.fork()) == 0:
                for inherited in (listener, lifeline, woken, wakes, client, *clients.values()):
                    inherited.close()
                _become(**json.loads(message), streams=streams)
            clients[pid] = client
            client.sendall(NUMBER.pack(pid))
            for descriptor in streams:
                os.close(descriptor)


def _report_ended(clients: dict[int, socket.socket]) -> None:
    for pid in list(clients):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with clients.pop(pid) as client, contextlib.suppress(OSError):  # the test is over
                client.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _become(args: list[str], env: dict[str, str], folder: str, streams: list[int]) -> NoReturn:
    """Do in this process what ``python`` does with these arguments."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115 - open to the end
        for number, mode, errors in ((0, "r", "strict"), (1, "w", "strict"), (2, "w", "backslashreplace"))
    )
    if not any(name.startswith("COVERAGE_PROCESS") for name in env):
        sys.settrace(None)
        threading.settrace(None)
    _run(*args)
    sys.exit()


def _run(what: str, *args: str) -> None:
    """Run a module, a string or a file in place of this program."""
    searched = os.environ.get("PYTHONPATH")
    first = {"-m": str(Path.cwd()), "-c": ""}.get(what, str(Path(what).parent))
    sys.path[:1] = [first, *(searched.split(os.pathsep) if searched else ())]
    sys.argv = [what, *args]
    if what == "-m":
        sys.argv = [*args]
        runpy.run_module(args[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.argv = ["-c", *args[1:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(args[0], vars(main))  # noqa: S102 - as Python does
    else:
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    _load()
    serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
