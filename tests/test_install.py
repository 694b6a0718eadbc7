"""``install``: the command that adds an extra."""

from __future__ import annotations

from pathlib import Path

from adapters._install import install_command


def test_a_checkout_is_installed_from_itself() -> None:
    """In a checkout the command installs from the checkout."""
    checkout = Path(__file__).parents[1]

    assert install_command("local") == f"pip install -e '{checkout}[local]'"


def test_an_installed_package_is_asked_for_by_name(tmp_path: Path) -> None:
    """For an installed package the command installs from the index."""
    assert install_command("livekit", tmp_path / "adapters") == "pip install 'caal-llm-adapters[livekit]'"
