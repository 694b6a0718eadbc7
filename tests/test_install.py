"""``install``: the command that adds an extra."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import adapters.install


def test_a_checkout_is_installed_from_itself() -> None:
    """Whoever has a checkout may have no index that knows the package."""
    checkout = Path(adapters.install.__file__).parents[1]

    assert adapters.install.install_command("local") == f"pip install -e '{checkout}[local]'"


def test_an_installed_package_is_asked_for_by_name(tmp_path: Path) -> None:
    """The same module, where a wheel puts it: no ``pyproject.toml`` beside the package."""
    (tmp_path / "adapters").mkdir()
    copy = shutil.copy(adapters.install.__file__, tmp_path / "adapters" / "install.py")
    spec = importlib.util.spec_from_file_location("installed", copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.install_command("livekit") == "pip install 'caal-llm-adapters[livekit]'"
