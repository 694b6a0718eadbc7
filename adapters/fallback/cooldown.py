"""``Cooldowns``: which providers of a group rest because they failed, and how they come back.

While one rests it is asked last. When its time is over it is not tried on a person: one cheap request in the
background tells whether it can be reached, and else it rests once more.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.errors import AllProvidersFailedError, BadRequestError, IncompleteResponseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.errors import APIError
    from adapters.provider import LLMProvider

_logger = logging.getLogger(__name__)

_LONGEST_PROBE_S = 120.0  # an embedded server loads a large model in less


@dataclass(eq=False, slots=True)
class _Cooldown:
    """One provider's rest.

    Attributes:
        until_s: When it is over, on the monotonic clock, should nobody be there to probe.
        loop: The event loop that will probe.
        timer: Begins the probe.
        probe: The probe, while it runs.
    """

    until_s: float
    loop: asyncio.AbstractEventLoop
    timer: asyncio.TimerHandle
    probe: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End it, and its probe."""
        self.timer.cancel()
        if self.probe is not None:
            self.probe.cancel()


class Cooldowns:
    """The rests of a group of providers.

    What waits is a timer and no task, and it does not keep the group alive: a group that nobody closes leaves nothing
    behind. Use ``aclose`` all the same.

    Args:
        providers: The group.
        cooldown_s: How long one rests, and how long again if it cannot be reached then.
    """

    def __init__(self, providers: Sequence[LLMProvider], cooldown_s: float) -> None:
        self._providers = providers
        self._cooldown_s = cooldown_s
        self._cooldowns: dict[int, _Cooldown] = {}

    def has(self, index: int) -> bool:
        """Tell whether a provider rests."""
        cooldown = self._cooldowns.get(index)
        # Without its event loop there is no probe: then time alone decides.
        return cooldown is not None and (not cooldown.loop.is_closed() or time.monotonic() < cooldown.until_s)

    def begin(self, index: int, wait_s: float | None = None) -> None:
        """Let a provider rest.

        Args:
            index: Which one.
            wait_s: For how long, if its server said when to come back.
        """
        self.end(index)
        wait_s = self._cooldown_s if wait_s is None else wait_s
        if wait_s > 0:
            loop = asyncio.get_running_loop()
            myself: weakref.ref[Cooldowns] = weakref.ref(self)
            timer = loop.call_later(wait_s, _wake, myself, index)
            self._cooldowns[index] = _Cooldown(time.monotonic() + wait_s, loop, timer)

    def end(self, index: int) -> None:
        """End a rest, if there is one: the provider has answered."""
        cooldown = self._cooldowns.pop(index, None)
        if cooldown is None or cooldown.loop.is_closed():
            return
        if cooldown.loop is asyncio.get_running_loop():
            cooldown.stop()
        else:
            cooldown.loop.call_soon_threadsafe(cooldown.stop)

    async def aclose(self) -> None:
        """End all rests, and wait for the probes of this event loop to end."""
        loop = asyncio.get_running_loop()
        probes = [
            cooldown.probe
            for cooldown in self._cooldowns.values()
            if cooldown.probe is not None and cooldown.loop is loop
        ]
        for index in list(self._cooldowns):
            self.end(index)
        await asyncio.gather(*probes, return_exceptions=True)

    def begin_probe(self, index: int) -> None:
        """Ask in the background whether a provider is there again."""
        if (cooldown := self._cooldowns.get(index)) is not None:  # it may have ended in another thread just now
            cooldown.probe = cooldown.loop.create_task(self._probe(index, cooldown))

    async def _probe(self, index: int, cooldown: _Cooldown) -> None:
        provider = self._providers[index]
        try:
            async with asyncio.timeout(_LONGEST_PROBE_S):
                await provider._prewarm()  # noqa: SLF001 - the public one would only log what it finds
        except Exception as error:  # noqa: BLE001 - nobody waits for it: what is wrong is told when it is asked
            cooldown.probe = None  # else it would end itself here
            _logger.info("%s still rests (%s).", provider.provider_name, type(error).__name__)
            self.begin(index)
        else:
            cooldown.probe = None
            self.end(index)
            _logger.info("%s is there again, and is asked in its place.", provider.provider_name)


def _wake(cooldowns: weakref.ref[Cooldowns], index: int) -> None:
    """Begin a probe, if the group is still there."""
    if (alive := cooldowns()) is not None:
        alive.begin_probe(index)


def is_provider_fault(error: APIError) -> bool:
    """Whether a provider failed for a reason of its own, and not for the request or by bad luck."""
    if isinstance(error, AllProvidersFailedError):  # a group: one that is there may take the next request
        return all(is_provider_fault(each) for each in error.errors)
    return not isinstance(error, BadRequestError | IncompleteResponseError)
