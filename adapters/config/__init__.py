"""What a user may set, and where it is read from.

``provider`` holds the settings of one provider and ``file`` those of a whole YAML file; ``kinds`` has what all
providers of one kind share. Nothing here sends anything.
"""

from __future__ import annotations

from adapters.config.check import Report, check_config
from adapters.config.file import Config, load_config
from adapters.config.kinds import KINDS, Kind, KindName
from adapters.config.provider import ProviderConfig
from adapters.config.sections import LimitConfig, RetryConfig, TimeoutConfig

__all__ = [
    "KINDS",
    "Config",
    "Kind",
    "KindName",
    "LimitConfig",
    "ProviderConfig",
    "Report",
    "RetryConfig",
    "TimeoutConfig",
    "check_config",
    "load_config",
]
