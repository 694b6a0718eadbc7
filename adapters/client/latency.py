"""How long a provider lately took to its first token, from which a group derives ``hedge_after_s: auto``."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

_WINDOW = 100  # requests; older ones may be of another time of day, or of another load
_FEWEST = 10  # before that, one slow request would decide
_SHARE = 0.95


class FirstTokenTimes(deque[float]):
    """Seconds from a request to its first useful token, for the latest requests. ``append`` adds one."""

    def __init__(self, seconds: tuple[float, ...] = ()) -> None:
        super().__init__(seconds, maxlen=_WINDOW)

    def __reduce__(self) -> tuple[Any, ...]:
        return FirstTokenTimes, (tuple(self),)

    @property
    def percentile_s(self) -> float | None:
        """The 95th percentile, or None before there are ten times."""
        seconds = sorted(self)
        return seconds[math.ceil(_SHARE * len(seconds)) - 1] if len(seconds) >= _FEWEST else None

    def add_silence(self, seconds: float) -> None:
        """Note a request that ended without a token: its time would have been longer.

        It counts if it is above the percentile already. Without those, hedged requests that lose would be missing at
        the upper end, and the percentile would sink with each of them.
        """
        percentile_s = self.percentile_s
        if percentile_s is not None and seconds > percentile_s:
            self.append(seconds)
