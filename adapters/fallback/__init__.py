"""Several providers behind the contract of one: failover, hedged requests and cooldowns."""

from __future__ import annotations

from adapters.fallback.provider import FallbackProvider

__all__ = ["FallbackProvider"]
