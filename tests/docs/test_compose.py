"""config/compose.yaml fits the configurations that it mounts, and keeps the master key from agents.

It is started if Docker, its compose plugin and all images are there; nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from adapters import create_provider, load_config
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = ROOT / "config"
FILE = CONFIG / "compose.yaml"
SERVICES: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
VOLUMES = yaml.safe_load(FILE.read_text(encoding="utf-8"))["volumes"]
MASTER_KEY = "LITELLM_MASTER_KEY"


def _variables_in(name: str) -> set[str]:
    """Return the environment variables that a configuration file names."""
    return set(re.findall(r"os\.environ/(\w+)", (CONFIG / name).read_text(encoding="utf-8")))


def test_services() -> None:
    """Services, volumes and files that are named exist, and each service that is waited for has a health check."""
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (CONFIG / source).is_file() if source.startswith("./") else source in VOLUMES, name
        for other, wait in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            assert wait["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], name
        addresses = [value for value in service.get("environment", {}).values() if "http://" in value]
        assert {re.sub(r".*//([\w-]+):.*", r"\1", address) for address in addresses} <= SERVICES.keys(), name
    assert {name for name, service in SERVICES.items() if MASTER_KEY in str(service)} == {"key", "proxy-1", "proxy-2"}
    assert _variables_in("litellm-proxy.yaml") <= SERVICES["proxy-1"]["environment"].keys()


def test_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's environment is all that its configuration needs, and its key is that of the file."""
    environment = SERVICES["agent"]["environment"]
    assert _variables_in("agent-behind-proxy.yaml") <= environment.keys()
    key = tmp_path / "agent"
    key.write_text("sk-virtual\n", encoding="utf-8")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("/keys", str(tmp_path)))

    config = load_config(CONFIG / "agent-behind-proxy.yaml")
    for entry in config.providers.values():
        resolved = entry.resolved()
        assert (resolved.api_key and resolved.api_key.get_secret_value(), resolved.key_file) == ("sk-virtual", key)
    assert "voice" in repr(create_provider(config.provider()))
    checked = SERVICES["agent"]["healthcheck"]["test"]
    assert checked[checked.index("-p") + 1] in config.providers


def _docker(*arguments: str, timeout_s: float = 60) -> bool:
    """Run Docker and return whether it succeeded."""
    environment = {**os.environ, MASTER_KEY: "sk-master", "POSTGRES_PASSWORD": "p"}
    done = subprocess.run(
        [str(shutil.which("docker")), *arguments],
        check=False,
        capture_output=True,
        env=environment,
        timeout=timeout_s,
        text=True,
    )
    return done.returncode == 0


def test_start() -> None:
    """Docker starts all services, and each becomes healthy."""
    images = {service["image"] for service in SERVICES.values() if "image" in service} | {"python:3.13-slim"}
    if shutil.which("docker") is None or not _docker("compose", "version"):
        pytest.skip("needs Docker with its compose plugin")
    compose = ("compose", "-f", str(FILE))
    assert _docker(*compose, "config", "--quiet")
    if not all(_docker("image", "inspect", image) for image in images):
        pytest.skip("needs a running Docker with all images")
    try:
        assert _docker(*compose, "up", "--build", "--wait", "--pull", "never", timeout_s=900)
    finally:
        _docker(*compose, "down", "--volumes", timeout_s=120)
