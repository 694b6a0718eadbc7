"""The settings and where they are read from.

``provider`` holds the settings of one provider, ``file`` those of a whole YAML file, ``kinds`` what all providers of
one kind share.
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
