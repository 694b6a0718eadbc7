"""Start processes of the command line from one that has loaded LiteLLM, which takes seconds of CPU in each process.

A started process is a fork with its own streams, environment and arguments; it imports this package itself and ends as
any program does. Standard input is a socket of requests. A request is the arguments and the environment as JSON, with
four file descriptors: a socket for the answer and the three streams. The answer is the process id, then the exit code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from typing import NoReturn

_LONGEST_REQUEST_BYTES = 1_000_000


def serve() -> None:
    """Serve until the socket of requests is closed."""
    requests = socket.socket(fileno=0)
    woken, wakes = socket.socketpair()
    wakes.settimeout(0)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    clients: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if woken in ready:
                woken.recv(4096)
                _report_ended(clients)
            if requests in ready:
                message, descriptors, *_ = socket.recv_fds(requests, _LONGEST_REQUEST_BYTES, 4)
                if not message:
                    return
                if (pid := os.fork()) == 0:
                    break
                clients[pid] = socket.socket(fileno=descriptors[0])
                clients[pid].sendall(f"{pid}\n".encode())
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
    for inherited in (woken, wakes, *clients.values()):
        inherited.close()
    os.close(descriptors[0])
    requests.detach()  # the process has another standard input
    _become(**json.loads(message), streams=descriptors[1:])


def _report_ended(clients: dict[int, socket.socket]) -> None:
    for pid in list(clients):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with clients.pop(pid) as client, contextlib.suppress(OSError):  # the test is over
                client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(args: list[str], env: dict[str, str], streams: list[int]) -> NoReturn:
    """Run the command line in this process, as ``python -m adapters`` does."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115 - open to the end
        for number, mode, errors in ((0, "r", "strict"), (1, "w", "strict"), (2, "w", "backslashreplace"))
    )
    sys.argv = ["adapters", *args]
    runpy.run_module("adapters", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    for module in ("aiohttp", "litellm.main"):
        importlib.import_module(module)
    gc.freeze()  # otherwise each process walks through all of LiteLLM's objects when it ends: a second of CPU
    serve()
