"""Checks a whole file: every mistake in it, and every variable that it names, all at once."""

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
    """What there is to say of a file.

    Attributes:
        file: The file that was read.
        default: The provider that is used when none is named, or "" if it names none.
        rows: The providers that can be used, by their names, with their variables looked up.
        wanted: The names of the providers that are asked: the one that was named, or the default, and its fallbacks.
        errors: What must be mended before these can be used; a line each.
        warnings: The same for providers that nobody asked for: a key may be missing because it is not needed.
    """

    file: Path
    default: str
    rows: dict[str, ProviderConfig] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_config(path: str | Path | None = None, name: str | None = None) -> Report:
    """Check a configuration.

    Args:
        path: The file; without it, the one that ``load_config`` would read.
        name: The provider that is wanted; None for the default.

    Returns:
        All that is wrong, mistakes in the file and variables that are not set together.

    Raises:
        ConfigError: If the file is not there or is not YAML, or has no provider of that name.
    """
    from adapters.config.yaml_file import read_yaml

    file = find_file(path)
    document = read_yaml(file)
    config, problems = read_config(document)
    rows = _good_rows(document) if config is None else config.providers
    default = "" if config is None else config.default
    wanted = {name or default}
    if config is not None and not problems:
        wanted = {row.name for row in config.provider(name).chain()}
    report = Report(file, default, wanted=wanted, errors=str(document.source.error(problems)).splitlines())
    for row in rows.values():
        try:
            report.rows[row.name] = row.resolved()
        except ConfigError as error:
            (report.errors if row.name in wanted else report.warnings).extend(str(error).splitlines())
    return report


def _good_rows(document: Document) -> dict[str, ProviderConfig]:
    """The providers that have no mistakes, of a file that has some."""
    found = {}
    rows = document.data.get("providers") if isinstance(document.data, dict) else None
    for name, row in rows.items() if isinstance(rows, dict) else ():
        if isinstance(row, dict):
            try:
                found[name] = ProviderConfig.model_validate({"name": name, **row}, context=document.source)
            except ValidationError:
                continue  # its mistakes are told already
    return found
