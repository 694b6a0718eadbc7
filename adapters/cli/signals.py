"""Ctrl-C and SIGTERM while a command runs: both unwind the stack, which closes requests and restores the terminal."""

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
"""Exit code after Ctrl-C, as in shells."""

TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as in shells."""


@contextmanager
def unwinding() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` at Ctrl-C and ``SystemExit`` at SIGTERM in the block, then restore the handlers."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers in the main thread only
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
    """End the process at once if LiteLLM is still loading in the background. Everything else is closed by then.

    At Python's orderly exit, destructors of LiteLLM import modules, and would wait forever for those that the stopped
    thread had begun to import.

    Args:
        code: The exit code.
    """
    if any(thread.name.startswith("adapters-") for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)


def _exit(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a signal handler
    raise SystemExit(TERMINATED)
