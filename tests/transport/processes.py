"""Fresh processes, for what can be seen but once in one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import tracing

_ROOT = Path(__file__).parent.parent.parent


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh process in a clean environment, without the tracer of ``coverage``."""
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
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
        env=environment,
        timeout=110,
    )
