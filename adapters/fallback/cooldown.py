"""``Cooldowns``: which providers of a group failed and are asked last, and how they come back.

After its cooldown a provider is probed in the background, not with a user's request. If the probe fails, the cooldown
goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.errors import AllProvidersFailedError, APIError, BadRequestError, IncompleteResponseError, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.provider import LLMProvider

_logger = logging.getLogger(__name__)

_LONGEST_PROBE_S = 120.0  # an embedded server loads a large model in less
LONGEST_COOLDOWN_S = 3600.0
"""A provider that stays out for longer is tried with a request: the probe may be wrong."""


@dataclass(eq=False, slots=True)
class _Cooldown:
    """The cooldown of one provider.

    Attributes:
        error: Name of the class of the error that started it.
        probe_at_s: When the provider is probed, on the monotonic clock.
        until_s: When the cooldown ends whatever the probes find, on the same clock.
        loop: The event loop of the probe.
        timer: Starts the probe.
        probe: The probe while it runs.
    """

    error: str
    probe_at_s: float
    until_s: float
    loop: asyncio.AbstractEventLoop
    timer: asyncio.TimerHandle
    probe: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Cancel the timer and the probe."""
        self.timer.cancel()
        if self.probe is not None:
            self.probe.cancel()


class Cooldowns:
    """The cooldowns of the providers of a group.

    A cooldown that waits is a timer, not a task, and does not keep the group alive: a group that is dropped without
    ``aclose`` leaves nothing behind.

    Args:
        providers: The group.
        cooldown_s: How long a cooldown lasts until the provider is probed, and again after each probe that fails,
            unless the server named a time.
        longest_s: How long a cooldown lasts at most, whatever the server says and the probes find.
    """

    def __init__(
        self, providers: Sequence[LLMProvider], cooldown_s: float, *, longest_s: float = LONGEST_COOLDOWN_S
    ) -> None:
        self._providers = providers
        self._cooldown_s = cooldown_s
        self._longest_s = longest_s
        self._cooldowns: dict[int, _Cooldown] = {}
        self._is_closed = False

    def has(self, index: int) -> bool:
        """Whether a provider is in cooldown."""
        return self.error(index) is not None

    def error(self, index: int) -> str | None:
        """Name of the class of the error that a provider's cooldown started with, or None without a cooldown."""
        cooldown = self._cooldowns.get(index)
        # Without its event loop there is no probe: then time alone decides.
        if cooldown is None or (cooldown.loop.is_closed() and time.monotonic() >= cooldown.probe_at_s):
            return None
        return cooldown.error

    def begin(self, index: int, error: APIError) -> None:
        """Start a cooldown, if the provider is to blame for the error and the group is not closed."""
        if is_provider_fault(error) and not self._is_closed:
            self.end(index)
            wait_s = error.retry_after_s or self._cooldown_s  # 0 names no time
            self._wait(index, type(error).__name__, wait_s, time.monotonic() + self._longest_s)

    def end(self, index: int) -> None:
        """End the cooldown of a provider, if there is one: it has answered."""
        cooldown = self._cooldowns.pop(index, None)
        if cooldown is None or cooldown.loop.is_closed():
            return
        if cooldown.loop is asyncio.get_running_loop():
            cooldown.cancel()
        else:
            cooldown.loop.call_soon_threadsafe(cooldown.cancel)

    def close(self) -> list[asyncio.Task[None]]:
        """End all cooldowns for good; returns the probes of this event loop, which are cancelled."""
        self._is_closed = True
        loop = asyncio.get_running_loop()
        probes = [
            cooldown.probe
            for cooldown in self._cooldowns.values()
            if cooldown.probe is not None and cooldown.loop is loop
        ]
        for index in list(self._cooldowns):
            self.end(index)
        return probes

    def begin_probe(self, index: int) -> None:
        """Ask in the background whether a provider is available again."""
        if (cooldown := self._cooldowns.get(index)) is not None:  # it may have ended in another thread just now
            cooldown.probe = cooldown.loop.create_task(self._probe(index, cooldown))

    def _wait(self, index: int, error: str, wait_s: float, until_s: float) -> None:
        """Wait before the next probe, but no longer than the cooldown may last."""
        now_s = time.monotonic()
        wait_s = min(wait_s, until_s - now_s)
        if wait_s > 0:
            loop = asyncio.get_running_loop()
            group: weakref.ref[Cooldowns] = weakref.ref(self)
            timer = loop.call_later(wait_s, _begin_probe, group, index)
            self._cooldowns[index] = _Cooldown(error, now_s + wait_s, until_s, loop, timer)

    async def _probe(self, index: int, cooldown: _Cooldown) -> None:
        provider = self._providers[index]
        failure: Exception | None = None
        try:
            async with asyncio.timeout(_LONGEST_PROBE_S):
                await provider._probe()  # noqa: SLF001 - part of their common base class
        except Exception as error:  # noqa: BLE001 - a provider of the program may raise anything
            failure = error
        if self._cooldowns.get(index) is not cooldown:
            return  # meanwhile it ended, or another one began
        del self._cooldowns[index]
        if failure is None:
            _logger.info("%s is available again.", provider.provider_name)
            return
        wait_s = self._cooldown_s
        if isinstance(failure, APIError):
            wait_s = max(wait_s, failure.retry_after_s or 0.0)
        self._wait(index, cooldown.error, wait_s, cooldown.until_s)
        state = (
            "stays in cooldown" if self.has(index) else "is asked in its place again, though it failed its last probe"
        )
        reason = kind_of(failure) if isinstance(failure, APIError) else type(failure).__name__
        _logger.info("%s %s (%s).", provider.provider_name, state, reason)


def _begin_probe(group: weakref.ref[Cooldowns], index: int) -> None:
    """Start a probe, if the group still exists."""
    if (cooldowns := group()) is not None:
        cooldowns.begin_probe(index)


def is_provider_fault(error: APIError) -> bool:
    """Whether the provider itself is to blame for an error, and not the request, one garbled answer or a full queue."""
    if isinstance(error, AllProvidersFailedError):  # of a group; one provider that is available is enough
        return all(is_provider_fault(failure) for failure in error.errors)
    return not isinstance(error, BadRequestError | IncompleteResponseError) and error._reason not in ("closed", "queue")
