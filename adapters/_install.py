"""How the missing part of an installation is added: told by whatever needs it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def install_command(extra: str, package: Path = _PACKAGE) -> str:
    """Write the command that installs an extra where the package came from: the checkout, or the index.

    Args:
        extra: Its name in ``pyproject.toml``.
        package: Where the package lies.
    """
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file():
        return f"pip install -e '{checkout}[{extra}]'"
    return f"pip install 'caal-llm-adapters[{extra}]'"
