"""The order of an examination: each step begins where the one before left off, and what cannot be looked at says so."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, get_args

from adapters.config.values import is_reference
from adapters.doctor import verdicts
from adapters.doctor.address import find_place
from adapters.doctor.conversation import HELLO, WEATHER, ask
from adapters.doctor.finding import Finding, Step
from adapters.doctor.network import reach
from adapters.doctor.probe import probing
from adapters.doctor.servers import recognise
from adapters.errors import AdapterError, ConfigError
from adapters.factory import server_of
from adapters.request.learned import Learned
from adapters.wire.connection import Connection
from adapters.wire.origin import origin_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from adapters.config import ProviderConfig
    from adapters.doctor.servers import Server

_NETWORK: tuple[Step, ...] = ("DNS", "TCP", "TLS")
_ONLY_IF_REFUSED: Step = "key accepted"


async def examine(config: ProviderConfig) -> AsyncGenerator[Finding, None]:
    """Look at everything between a row of the configuration and the words of its model.

    Four short questions are asked; a provider that charges for them charges a fraction of a cent.

    Args:
        config: The row, with its secrets not looked up.

    Yields:
        What each step found, as it is found. What cannot be looked at after a failure is ``skipped``.
    """
    to_do = _steps_for(config)
    failed: Step | None = None
    try:
        async with aclosing(_findings(config)) as findings:
            async for finding in findings:
                to_do = to_do[to_do.index(finding.step) + 1 :]
                failed = finding.step if finding.verdict == "failed" else failed
                yield finding
    except AdapterError as error:
        failed, *to_do = to_do
        yield Finding(failed, "failed", _one_line(error), "Correct that first.")
    for step in to_do:
        if step != _ONLY_IF_REFUSED:
            yield Finding(step, "skipped", f"because of {failed}")


def _steps_for(config: ProviderConfig) -> list[Step]:
    foreign = (*_NETWORK, "model") if config.kind == "local" else ("embedded server",)
    return [step for step in get_args(Step) if step not in foreign]


async def _findings(config: ProviderConfig) -> AsyncGenerator[Finding, None]:
    """What the steps find, as far as one can follow the other."""
    key = _key(config)
    yield key
    if config.kind != "local" and not is_reference(config.base_url):
        async with aclosing(reach(config.base_url, config.timeouts.connect_s)) as findings:
            async for finding in findings:
                yield finding
                if finding.verdict == "failed":
                    return
    if key.verdict == "failed":
        return
    config = config.resolved()
    server = server_of(config)
    base_url = config.base_url
    try:
        if server is not None:
            began_s = time.monotonic()
            base_url = await server.start()
            yield Finding("embedded server", "ok", "it started", seconds=time.monotonic() - began_s)
        async with aclosing(_over_http(config, base_url)) as findings:
            async for finding in findings:
                yield finding
    finally:
        if server is not None:
            await server.stop()


def _key(config: ProviderConfig) -> Finding:
    try:
        resolved = config.resolved()
    except ConfigError as error:
        return Finding("key", "failed", _one_line(error), "Until it is set, this provider cannot be used.")
    return Finding("key", "ok", "it is set" if resolved.api_key else "none is set, and none is required")


async def _over_http(config: ProviderConfig, base_url: str) -> AsyncGenerator[Finding, None]:
    """From the first document that the server sends on."""
    async with probing(origin_of(config).at(base_url), config.timeouts) as probe:
        place = await find_place(probe, base_url)
        yield place.finding
        if place.refuses_key:
            yield verdicts.key_refused(config, place.reply.status)
        if place.refuses_key or place.reply.trouble:
            return
        server, version = await recognise(probe, place)
    yield verdicts.recognised(server, version)
    if config.kind != "local":
        yield verdicts.model_offered(config, server, place.models)
    async with aclosing(_conversation(config.model_copy(update={"base_url": place.base_url}), server)) as findings:
        async for finding in findings:
            yield finding


async def _conversation(config: ProviderConfig, server: Server) -> AsyncGenerator[Finding, None]:
    """The questions; loading is over before the first of them, so that it is the server that is timed."""
    connection = Connection(config)
    try:
        await connection.prewarm()
        learned = Learned(config.name)
        cold = await ask(connection, config, learned, HELLO)
        yield verdicts.answered(cold)
        if cold.response is None:
            return
        yield verdicts.usage_counted(cold.response)
        call = await ask(connection, config, learned, WEATHER, "auto")
        yield verdicts.tool_called(call, server)
        text = await ask(connection, config, learned, WEATHER, "none")
        yield verdicts.choice_respected(text)
        yield verdicts.parameters_taken({*cold.refused, *call.refused, *text.refused})
        warm = await ask(connection, config, learned, HELLO)
        yield verdicts.first_words(cold, warm, server)
    finally:
        await connection.aclose()


def _one_line(error: AdapterError) -> str:
    return "; ".join(str(error).splitlines())
