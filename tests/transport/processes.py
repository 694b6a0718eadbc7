"""Fresh processes, for what can be seen but once in one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests import tracing

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = Path(__file__).parent.parent.parent


def run(code: str, python: Sequence[str] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    """Run a process in a clean environment, without the tracer of ``coverage``; it is fresh unless told not to be."""
    unset = (
        *tracing.VARIABLES,
        "LITELLM_LOCAL_MODEL_COST_MAP",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    )
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"LITELLM_MODE": "TEST"}
    return subprocess.run(
        [*python, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
        env=environment,
        timeout=110,
    )
