"""The order of an examination: each step begins where the one before left off, and what cannot be looked at says so."""

from __future__ import annotations

import time
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
from adapters.request.capabilities import ServerCapabilities
from adapters.transport.endpoint import endpoint_for
from adapters.transport.provider_transport import ProviderTransport

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.doctor.finding import Tell
    from adapters.doctor.servers import Server

_NETWORK: tuple[Step, ...] = ("DNS", "TCP", "TLS")
_ONLY_IF_REFUSED: Step = "key accepted"


async def examine(config: ProviderConfig, tell: Tell) -> None:
    """Look at everything between a row of the configuration and the words of its model.

    Four short questions are asked; a provider that charges for them charges a fraction of a cent.

    Args:
        config: The row, with its secrets not looked up.
        tell: Is given what each step found, as it is found. What cannot be looked at after a failure is ``skipped``.
    """
    to_do = _steps_for(config)
    failed: Step | None = None

    def note(finding: Finding) -> None:
        nonlocal to_do, failed
        to_do = to_do[to_do.index(finding.step) + 1 :]
        failed = finding.step if finding.verdict == "failed" else failed
        tell(finding)

    try:
        await _examine(config, note)
    except AdapterError as error:
        note(Finding(to_do[0], "failed", _one_line(error), "Correct that first."))
    for step in to_do:
        if step != _ONLY_IF_REFUSED:
            tell(Finding(step, "skipped", f"because of {failed}"))


def _steps_for(config: ProviderConfig) -> list[Step]:
    foreign = (*_NETWORK, "model") if config.kind == "local" else ("embedded server",)
    return [step for step in get_args(Step) if step not in foreign]


async def _examine(config: ProviderConfig, tell: Tell) -> None:
    """Take the steps, as far as one can follow the other."""
    key = _key(config)
    tell(key)
    is_reached = True
    if config.kind != "local" and not is_reference(config.base_url):
        is_reached = await reach(config.base_url, config.timeouts.connect_s, tell)
    if key.verdict == "failed" or not is_reached:
        return
    config = config.resolved()
    server = server_of(config)
    base_url = config.base_url
    try:
        if server is not None:
            began_s = time.monotonic()
            base_url = await server.start()
            tell(Finding("embedded server", "ok", "it started", seconds=time.monotonic() - began_s))
        await _over_http(config, base_url, tell)
    finally:
        if server is not None:
            await server.stop()


def _key(config: ProviderConfig) -> Finding:
    try:
        resolved = config.resolved()
    except ConfigError as error:
        return Finding("key", "failed", _one_line(error), "Until it is set, this provider cannot be used.")
    return Finding("key", "ok", "it is set" if resolved.api_key else "none is set, and none is required")


async def _over_http(config: ProviderConfig, base_url: str, tell: Tell) -> None:
    """From the first document that the server sends on."""
    async with probing(endpoint_for(config).at(base_url), config.timeouts) as probe:
        place = await find_place(probe, base_url)
        tell(place.finding)
        if place.refuses_key:
            tell(verdicts.key_refused(config, place.reply.status))
        if place.refuses_key or place.reply.trouble:
            return
        server, version = await recognise(probe, place)
    tell(verdicts.recognised(server, version))
    if config.kind != "local":
        tell(verdicts.model_offered(config, server, place.models))
    await _conversation(config.model_copy(update={"base_url": place.base_url}), server, tell)


async def _conversation(config: ProviderConfig, server: Server, tell: Tell) -> None:
    """The questions; loading is over before the first of them, so that it is the server that is timed."""
    connection = ProviderTransport(config)
    try:
        await connection.prewarm()
        capabilities = ServerCapabilities(config.name)
        cold = await ask(connection, config, capabilities, HELLO)
        tell(verdicts.answered(cold))
        if cold.response is None:
            return
        tell(verdicts.usage_counted(cold.response))
        call = await ask(connection, config, capabilities, WEATHER, "auto")
        tell(verdicts.tool_called(call, server))
        text = await ask(connection, config, capabilities, WEATHER, "none")
        tell(verdicts.choice_respected(text))
        tell(verdicts.parameters_taken({*cold.rejected, *call.rejected, *text.rejected}))
        warm = await ask(connection, config, capabilities, HELLO)
        tell(verdicts.first_words(cold, warm, server))
    finally:
        await connection.aclose()


def _one_line(error: AdapterError) -> str:
    return "; ".join(str(error).splitlines())
