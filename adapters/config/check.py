"""Check a whole configuration file, and report all mistakes and unset variables at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from adapters.config.file import find_file, read_config
from adapters.config.provider import ProviderConfig
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from adapters.config.yaml_file import Document


@dataclass(frozen=True, slots=True)
class Report:
    """The result of ``check_config``.

    Attributes:
        file: The file that was read.
        default: Name of the default provider, or "" if the file names none.
        entries: The provider entries that can be used, by name, with their variables looked up.
        wanted: Names of the provider to check and of its fallbacks.
        errors: Problems of the wanted providers, one per line.
        warnings: Problems of all other providers, whose keys may be missing because they are not used; and settings
            without an effect.
    """

    file: Path
    default: str
    entries: dict[str, ProviderConfig] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_config(path: str | Path | None = None, name: str | None = None) -> Report:
    """Check a configuration.

    Args:
        path: The file; None for the one that ``load_config`` reads.
        name: The provider that will be used; None for the default.

    Raises:
        ConfigError: If the file does not exist or is not YAML, or if it has no provider of that name.
    """
    from adapters.config.yaml_file import read_yaml

    file = find_file(path)
    document = read_yaml(file)
    config, problems = read_config(document)
    entries = _valid_entries(document) if config is None else config.providers
    default = "" if config is None else config.default
    wanted = {name or default}
    if config is not None and not problems:
        wanted = {entry.name for entry in config.provider(name).chain()}
    report = Report(file, default, wanted=wanted, errors=str(document.source.error(problems)).splitlines())
    for entry in entries.values():
        try:
            report.entries[entry.name] = entry.resolved()
            report.warnings.extend(f"{file}: providers.{sentence}" for sentence in entry.ineffective())
        except ConfigError as error:
            (report.errors if entry.name in wanted else report.warnings).extend(str(error).splitlines())
    for server_name, server in ({} if config is None else config.mcp_servers).items():
        try:
            server.resolved(server_name)
        except ConfigError as error:
            report.errors.extend(f"{file}: mcp_servers.{line}" for line in str(error).splitlines())
    return report


def _valid_entries(document: Document) -> dict[str, ProviderConfig]:
    """Return the provider entries without mistakes, of a file that has some."""
    found = {}
    entries = document.data.get("providers") if isinstance(document.data, dict) else None
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict):
            try:
                found[name] = ProviderConfig.model_validate({"name": name, **entry}, context=document.source)
            except ValidationError:
                continue  # its mistakes have been reported
    return found
