"""The tracer of ``coverage`` in processes that tests start.

With the tracer LiteLLM loads half as long again, so the processes of a whole run are not traced, but for those of tests
with the fixture ``traced_children``.
"""

from __future__ import annotations

import os

VARIABLES = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")}
"""Environment variables by which ``coverage`` starts in a child process; empty without coverage."""

if "PYTEST_XDIST_WORKER" in os.environ:  # the processes that xdist itself starts are traced
    for name in VARIABLES:
        del os.environ[name]
