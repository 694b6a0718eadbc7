"""The tracer of ``coverage`` in a run of all tests: Python takes twice as long with it.

A worker traces the import of the package, then tests alone: neither LiteLLM's import nor the collection of tests. Tests
in ``_REPETITIONS`` are not traced either, nor processes that tests start, but for those with the fixture
``traced_children``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adapters

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")}
"""Environment variables by which ``coverage`` starts in a child process; empty without coverage."""

_TESTS = Path(__file__).parent
_REPETITIONS = tuple(_TESTS / name for name in ("benchmarks", "property", "recorded", "soak"))
"""What runs the same lines as other tests, thousands of times."""

_NOT_IMPORTED = frozenset({"adapters.__main__", "adapters.pipecat", "adapters.testing.plugin"})
"""A program, a module for another environment, and a plugin whose assertions pytest rewrites while it imports it."""

_tracers: tuple[Any, Any] = (None, None)
"""What traces this thread and new threads, while nothing is traced."""


def stop() -> None:
    """Trace nothing but what ``traced`` and ``import_package`` trace."""
    global _tracers  # noqa: PLW0603 - a process has one tracer
    _tracers = sys.gettrace(), threading.gettrace()
    _set((None, None))


def import_package() -> None:
    """Trace the import of the package, and no processes that tests start."""
    if not VARIABLES:
        return
    for name in VARIABLES:
        del os.environ[name]
    with _resumed():
        for module in pkgutil.walk_packages(adapters.__path__, "adapters."):
            if module.name not in _NOT_IMPORTED:
                importlib.import_module(module.name)


@contextlib.contextmanager
def traced(test: Path) -> Iterator[None]:
    """Trace a test of this file, once ``stop`` was called."""
    if _tracers[0] is None or any(test.is_relative_to(folder) for folder in _REPETITIONS):
        yield
        return
    with _resumed():
        yield


@contextlib.contextmanager
def _resumed() -> Iterator[None]:
    _set(_tracers)
    try:
        yield
    finally:
        _set((None, None))


def _set(tracers: tuple[Any, Any]) -> None:
    sys.settrace(tracers[0])
    threading.settrace(tracers[1])
