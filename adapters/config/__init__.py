"""The configuration: its models, and how it is read from YAML.

``provider`` has the settings of one provider entry, ``file`` those of a whole YAML file, and ``kinds`` what all entries
of one kind share. ``values`` validates single values, and ``problems`` words the errors.
"""

from __future__ import annotations

from adapters.config.check import Report, check_config
from adapters.config.file import Config, load_config
from adapters.config.kinds import KINDS, Kind, KindName
from adapters.config.provider import ProviderConfig
from adapters.config.sections import LimitConfig, RetryConfig, TimeoutConfig, TLSConfig

__all__ = [
    "KINDS",
    "Config",
    "Kind",
    "KindName",
    "LimitConfig",
    "ProviderConfig",
    "Report",
    "RetryConfig",
    "TLSConfig",
    "TimeoutConfig",
    "check_config",
    "load_config",
]
