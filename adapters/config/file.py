"""A whole file of providers: where it is, and its content."""

from __future__ import annotations

import os
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adapters.config.yaml_file import Document
    from adapters.types import Json

from pydantic import Field, PrivateAttr, ValidationError, field_validator

from adapters.config.mcp import McpServerConfig
from adapters.config.problems import KeyPath, Problem, Source, read_problems, suggest
from adapters.config.provider import ProviderConfig
from adapters.config.provider import keys_beside as keys_of_provider
from adapters.config.sections import Section
from adapters.errors import ConfigError

_PROXY_KEY = "model_list"
_IS_PROXY_FILE = "is for LiteLLM's own proxy server: this file is not ours; name one that has providers"


class Config(Section):
    """Several named providers, one of them the default."""

    default: str = Field(description="The provider that is used when none is named.")
    providers: dict[str, ProviderConfig] = Field(min_length=1, description="Each provider, under a name of your own.")
    mcp_servers: dict[str, McpServerConfig] = Field(
        default_factory=dict, description="MCP servers for the tools of a turn, each under a name of your own."
    )

    _source: Source = PrivateAttr()

    def model_post_init(self, context: Source | None, /) -> None:
        """Keep the place of the settings, which is the context of the validation."""
        self._source = context or Source("configuration")
        for row in self.providers.values():
            row.with_others(self.providers)

    def provider(self, name: str | None = None) -> ProviderConfig:
        """Return the settings of one provider.

        Args:
            name: Its name in the file; None for the default.

        Returns:
            Its settings, with secrets not looked up yet.

        Raises:
            ConfigError: If there is none of that name.
        """
        name = self.default if name is None else name
        if name not in self.providers:
            raise ConfigError(f"{self._source.label}: there is no provider {name!r}; {suggest(name, self.providers)}")
        return self.providers[name]

    @field_validator("providers", mode="before")
    @classmethod
    def _name_rows(cls, rows: Json) -> Json:
        if not isinstance(rows, dict):
            return rows
        return {name: {"name": name} | row if isinstance(row, dict) else row for name, row in rows.items()}


def load_config(path: str | Path | None = None) -> Config:
    """Read the providers from a YAML file.

    Args:
        path: The file. Without it: the one that ``ADAPTERS_CONFIG`` names, else ``config/providers.yaml`` in the
            working directory, else ``caal-llm-adapters/providers.yaml`` in the user's configuration folder
            (``XDG_CONFIG_HOME``, or ``~/.config``), else the packaged one.

    Returns:
        The providers, with secrets not looked up yet.

    Raises:
        ConfigError: If the file is missing or wrong; all problems, one a line.
    """
    from adapters.config.yaml_file import read_yaml

    document = read_yaml(find_file(path))
    config, problems = read_config(document)
    if config is None or problems:
        raise document.source.error(problems)
    return config


def read_config(document: Document) -> tuple[Config | None, list[Problem]]:
    """Read the providers of a file.

    Returns:
        The providers, or None if they cannot be used at all; and the problems.
    """
    problems = document.problems + _problems_between_rows(document.data)
    if isinstance(document.data, dict) and _PROXY_KEY in document.data:
        return None, [*document.problems, Problem((_PROXY_KEY,), _IS_PROXY_FILE)]
    try:
        return Config.model_validate(document.data, context=document.source), problems
    except ValidationError as error:
        return None, problems + read_problems(error, _keys_beside)


def find_file(path: str | Path | None) -> Path:
    """Find the file that ``load_config`` reads."""
    if path is None:
        path = os.environ.get("ADAPTERS_CONFIG")
    if path:
        return Path(path).expanduser()
    package = Path(__file__).parents[1]
    places = [
        Path("config/providers.yaml"),
        Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "caal-llm-adapters/providers.yaml"),  # noqa: PTH111 - unlike Path.expanduser it does not raise for a user without a home
        package / "providers.yaml",
        package.parent / "config" / "providers.yaml",
    ]
    return next((place for place in places if place.is_file()), places[0])


def _problems_between_rows(data: Json) -> list[Problem]:
    """Find the problems that no single value shows; the models find the others."""
    rows = data.get("providers") if isinstance(data, dict) else None
    if not isinstance(rows, dict) or not rows:
        return []
    problems = [
        Problem(("providers", name, "name"), "is not needed; the key above it is the provider's name")
        for name, row in rows.items()
        if isinstance(row, dict) and "name" in row
    ]
    default = data.get("default")
    if isinstance(default, str) and default not in rows:
        problems.append(Problem(("default",), f"names no provider; {suggest(default, rows)}"))
    names = {name: _fallbacks_of(row) for name, row in rows.items()}
    paths_back = _paths_back(names)
    return problems + [
        problem for name in rows for problem in _problems_of_fallbacks(name, names, paths_back.get(name, {}))
    ]


def _fallbacks_of(row: Json) -> list[str]:
    fallbacks = row.get("fallbacks") if isinstance(row, dict) else None
    return [name for name in fallbacks if isinstance(name, str)] if isinstance(fallbacks, list) else []


def _problems_of_fallbacks(
    name: str, names: Mapping[str, list[str]], paths_back: Mapping[str, list[str]]
) -> Iterator[Problem]:
    """Find the fallbacks of one provider that are unknown, repeated, or lead back to it."""
    path = ("providers", name, "fallbacks")
    seen = set()
    for index, other in enumerate(names[name]):
        if other not in names:
            yield Problem((*path, str(index)), f"names no provider; {suggest(other, names)}")
        elif other in seen:
            yield Problem((*path, str(index)), "is there twice; remove one")
        elif other in paths_back:
            leads = " -> ".join([name, *paths_back[other]])
            yield Problem((*path, str(index)), f"leads back to its own provider ({leads}); remove one of these")
        seen.add(other)


def _paths_back(names: Mapping[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    """Find for each provider the shortest paths along fallbacks that lead back to it, by their first provider."""
    try:
        TopologicalSorter(names).prepare()
    except CycleError:
        return {name: _paths_to(name, names) for name in names}
    return {}


def _paths_to(end: str, names: Mapping[str, list[str]]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for name, fallbacks in names.items():
        for fallback in fallbacks:
            users.setdefault(fallback, []).append(name)
    paths, queue = {end: [end]}, [end]
    for name in queue:  # it grows meanwhile
        for user in users.get(name, ()):
            if user not in paths:
                paths[user] = [user, *paths[name]]
                queue.append(user)
    return paths


def _keys_beside(path: KeyPath) -> list[str]:
    if path[0] == "mcp_servers" and len(path) > 1:
        return list(McpServerConfig.model_fields)
    provider_path = path[2:]
    if not provider_path:
        return list(Config.model_fields)
    return [key for key in keys_of_provider(provider_path) if key != "name"]
