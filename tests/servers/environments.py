"""Virtual environments for servers whose dependencies do not go together with ours (LiteLLM's proxy, mlx-lm).

Made while recording and kept in ``.nox`` for the next time; tests that replay need none of them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent.parent.parent / ".nox" / "servers"


def installed(name: str, *requirements: str) -> Path:
    """Make an environment with some packages, or bring the one there is up to date.

    Args:
        name: Names the environment.
        *requirements: What to install, as pip takes it.

    Returns:
        The folder of its programs.
    """
    folder = _FOLDER / name
    if not folder.exists():
        _uv("venv", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--python", str(folder / "bin" / "python"), *requirements)
    return folder / "bin"


def _uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", "--quiet", *arguments], check=True)
