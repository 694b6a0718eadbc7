"""Choose the provider entry that the options of a command describe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from adapters.config import ProviderConfig

KEY_VARIABLE = "ADAPTERS_API_KEY"
"""Environment variable with the API key of a server that is named by ``--base-url`` alone."""

PASS_THE_KEY = f"Pass the key with --api-key, or in ${KEY_VARIABLE}."
"""What to do if a server that is named by ``--base-url`` alone rejects a request without a key, or its key."""

UNNAMED_MODEL = "-"
"""Model of an entry that was made from ``--base-url`` without ``-m``."""

provider_option = click.option(
    "-p", "--provider", "provider_name", metavar="NAME", help="Provider entry. [default: the configuration's]"
)

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(),
    help="YAML file of providers. [default: $ADAPTERS_CONFIG, ./config/providers.yaml,"
    " ~/.config/caal-llm-adapters/providers.yaml or the packaged file]",
)

base_url_option = click.option(
    "--base-url",
    metavar="URL",
    help="Address of an OpenAI-compatible server, instead of a provider entry; with -p, instead of the entry's.",
)

model_option = click.option("-m", "--model", metavar="MODEL", help="Model. [default: the provider's]")

key_option = click.option(
    "--api-key",
    metavar="KEY",
    help=f"API key. With --base-url, ${KEY_VARIABLE} is safer: other users can see arguments.",
)


def is_ad_hoc(provider_name: str | None, base_url: str | None) -> bool:
    """Whether the options describe a server without a provider entry."""
    return bool(base_url) and not provider_name


def entry_for(
    config_path: str | None,
    provider_name: str | None,
    *,
    base_url: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
) -> ProviderConfig:
    """Return the provider entry that the options describe.

    Args:
        config_path: YAML file, or None for the default one.
        provider_name: Name of an entry, or None.
        base_url: Address; without a name it is an OpenAI-compatible server without an entry.
        model: Model; without one, an entry of that kind has ``UNNAMED_MODEL``.
        api_key: API key.

    Raises:
        ConfigError: If there is no such entry, or an option is not valid.
    """
    from adapters.config import ProviderConfig, load_config

    if is_ad_hoc(provider_name, base_url):
        return ProviderConfig.create(
            "openai_compatible",
            model=model or UNNAMED_MODEL,
            base_url=base_url,
            api_key=api_key or os.environ.get(KEY_VARIABLE),
        )
    changes: dict[str, Any] = {"model": model, "base_url": base_url, "api_key": api_key}
    entry = load_config(config_path).provider(provider_name)
    return entry.with_options(**{name: value for name, value in changes.items() if value})
