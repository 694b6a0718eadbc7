"""Find and read a configuration file."""

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
    """A configuration: named provider entries, one of them the default, and MCP servers."""

    default: str = Field(description="The provider that is used if none is named.")
    providers: dict[str, ProviderConfig] = Field(
        min_length=1, description="The provider entries, by name; the names are yours."
    )
    mcp_servers: dict[str, McpServerConfig] = Field(
        default_factory=dict, description="MCP servers whose tools a turn can use, by name; the names are yours."
    )

    _source: Source = PrivateAttr()

    def model_post_init(self, context: Source | None, /) -> None:
        """Store the source of the settings, which is the context of the validation."""
        self._source = context or Source("configuration")
        for entry in self.providers.values():
            entry.with_others(self.providers, self.mcp_servers)

    def provider(self, name: str | None = None) -> ProviderConfig:
        """Return a provider entry; its variables are not looked up yet.

        Args:
            name: Its name; None for the default.

        Raises:
            ConfigError: If there is no provider of that name.
        """
        name = self.default if name is None else name
        if name not in self.providers:
            raise ConfigError(f"{self._source.label}: there is no provider {name!r}; {suggest(name, self.providers)}")
        return self.providers[name]

    @field_validator("providers", mode="before")
    @classmethod
    def _add_names(cls, entries: Json) -> Json:
        if not isinstance(entries, dict):
            return entries
        return {name: {"name": name} | entry if isinstance(entry, dict) else entry for name, entry in entries.items()}


def load_config(path: str | Path | None = None) -> Config:
    """Read a YAML file of providers. Variables that it names are not looked up yet.

    Args:
        path: The file. If it is None: the file that ``ADAPTERS_CONFIG`` names, else ``config/providers.yaml`` in the
            working directory, else ``caal-llm-adapters/providers.yaml`` in the user's configuration folder
            (``XDG_CONFIG_HOME``, or ``~/.config``), else the packaged file.

    Raises:
        ConfigError: If the file is missing or invalid; lists all problems, one per line.
    """
    from adapters.config.yaml_file import read_yaml

    document = read_yaml(find_file(path))
    config, problems = read_config(document)
    if config is None or problems:
        raise document.source.error(problems)
    return config


def read_config(document: Document) -> tuple[Config | None, list[Problem]]:
    """Validate the content of a file.

    Returns:
        The configuration, or None if it is invalid; and the problems.
    """
    problems = document.problems + _problems_between_entries(document.data)
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


def _problems_between_entries(data: Json) -> list[Problem]:
    """Find the problems that involve several entries; the models find all others."""
    entries = data.get("providers") if isinstance(data, dict) else None
    if not isinstance(entries, dict) or not entries:
        return []
    problems = [
        Problem(("providers", name, "name"), "is not needed; the key above it is the provider's name")
        for name, entry in entries.items()
        if isinstance(entry, dict) and "name" in entry
    ]
    default = data.get("default")
    if isinstance(default, str) and default not in entries:
        problems.append(Problem(("default",), f"names no provider; {suggest(default, entries)}"))
    names = {name: _fallbacks_of(entry) for name, entry in entries.items()}
    paths_back = _paths_back(names)
    return problems + [
        problem for name in entries for problem in _problems_of_fallbacks(name, names, paths_back.get(name, {}))
    ]


def _fallbacks_of(entry: Json) -> list[str]:
    fallbacks = entry.get("fallbacks") if isinstance(entry, dict) else None
    return [name for name in fallbacks if isinstance(name, str)] if isinstance(fallbacks, list) else []


def _problems_of_fallbacks(
    name: str, names: Mapping[str, list[str]], paths_back: Mapping[str, list[str]]
) -> Iterator[Problem]:
    """Yield the fallbacks of one provider that are unknown, repeated, or lead back to it."""
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
    """Return, for each provider, the shortest paths of fallbacks that lead back to it, by their first provider."""
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
    for name in queue:  # which grows in the loop
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
