"""The command that installs an extra, for the errors of modules that need it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def install_command(extra: str, package: Path = _PACKAGE) -> str:
    """Return the command that installs an extra, from the checkout or from the index.

    Args:
        extra: Name of the extra in ``pyproject.toml``.
        package: Folder of the package.
    """
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file():
        return f"pip install -e '{checkout}[{extra}]'"
    return f"pip install 'caal-llm-adapters[{extra}]'"
