"""Start a process of ``tests.forks.server``: as a program in place of ``python``, or from a test.

The first argument of the program is the path of the server's socket, those after it are Python's. It starts in 0.02 s,
which is why it imports little, and runs with Python's option ``-S``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys

ADDRESS = "TESTS_FORK_SERVER"
"""The environment variable with the path of the server's socket."""

NUMBER = struct.Struct("!i")
"""How the server sends a number."""


def start(address: str, args: list[str], env: dict[str, str], streams: list[int]) -> tuple[int, socket.socket]:
    """Start a process in the current folder.

    Args:
        address: The path of the server's socket.
        args: Arguments of Python: ``-m module …``, ``-c code …`` or ``file …``.
        env: Its environment; it is traced if that has the variables of ``coverage``.
        streams: Descriptors of its three streams.

    Returns:
        The process id, and a connection from which ``receive`` returns the exit code.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = json.dumps({"args": args, "env": env, "folder": os.getcwd()}).encode()  # noqa: PTH109 - pathlib is slow to import
    sent = socket.send_fds(connection, [request], streams)
    connection.sendall(request[sent:] + b"\n")
    return receive(connection), connection


def receive(connection: socket.socket) -> int:
    """Wait for a number from the server."""
    number: int = NUMBER.unpack(connection.recv(NUMBER.size, socket.MSG_WAITALL))[0]
    return number


def main() -> int:
    """Be the process, as far as its parent can tell."""
    address, *args = sys.argv[1:]
    while args[0] == "-u":
        del args[0]
    pid, connection = start(address, args, dict(os.environ), [0, 1, 2])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    code = receive(connection)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main())
