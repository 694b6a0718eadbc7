"""Ctrl-C and SIGTERM while a command runs: both unwind it, so that requests are closed and the terminal is clean."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C, as shells have it."""

TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as shells have it."""


@contextmanager
def unwinding() -> Iterator[None]:
    """Let Ctrl-C raise ``KeyboardInterrupt`` and SIGTERM ``SystemExit`` in the block; afterwards all is as before."""
    if threading.current_thread() is not threading.main_thread():  # Python lets the main thread alone decide
        yield
        return
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _exit}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_if_loading(code: object) -> None:
    """End the process at once if LiteLLM is still being loaded in the background; all of ours is closed by now.

    Python's orderly end would destroy LiteLLM's objects, which import modules while they die, and wait for ever for
    those that the thread had begun to import when it was stopped.

    Args:
        code: What the process ends with.
    """
    if any(thread.name.startswith("adapters-") for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)


def _exit(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - as Python calls it
    raise SystemExit(TERMINATED)
