"""Run the steps of an examination in order; a step that cannot run is reported as skipped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, get_args

from adapters.config.kinds import KINDS
from adapters.config.values import is_reference
from adapters.doctor import verdicts
from adapters.doctor.address import KEY_REJECTED, locate_api
from adapters.doctor.conversation import GREETING, LONG_TEXT, WEATHER, ask, time_prefill
from adapters.doctor.finding import Finding, Step
from adapters.doctor.network import reach
from adapters.doctor.probe import probing
from adapters.doctor.servers import ROUTED, recognize
from adapters.errors import AdapterError, ConfigError
from adapters.factory import server_of
from adapters.request.capabilities import ServerCapabilities
from adapters.transport.endpoint import endpoint_for
from adapters.transport.provider_transport import ProviderTransport

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.doctor.finding import Report
    from adapters.doctor.servers import Server

_COLD_START_S = 60.0  # a server that loads the model at the first request needs this long; it is reported as cold
_NETWORK: tuple[Step, ...] = ("DNS", "TCP", "TLS")
_ONLY_IF_REJECTED: Step = "key accepted"


async def examine(config: ProviderConfig, report: Report, *, any_model: bool = False, quick: bool = False) -> None:
    """Examine everything between a provider entry and the text of its model.

    Five short prompts are sent; a provider that charges for them charges a fraction of a cent. A local server gets two
    longer ones and a prefill.

    Args:
        config: The provider entry, with its variables not looked up.
        report: Receives the finding of each step as soon as it is made. Steps that cannot run after a failure are
            ``skipped``.
        any_model: Whether to use the first model that the server lists, instead of the entry's.
        quick: Whether to check the key and the availability only: one ``GET /models``, and no prompt. Nothing is
            requested of a route of LiteLLM, and the embedded server is not started.
    """
    to_do = _steps_for(config, quick=quick)
    failed: Step | None = None

    def record(finding: Finding) -> None:
        nonlocal to_do, failed
        to_do = to_do[to_do.index(finding.step) + 1 :]
        failed = finding.step if finding.verdict == "failed" else failed
        report(finding)

    try:
        if quick:
            await _examine_quickly(config, record)
        else:
            await _examine(config, record, any_model=any_model)
    except AdapterError as error:
        record(Finding(to_do[0], "failed", _one_line(error), "Correct that first."))
    for step in to_do:
        if step != _ONLY_IF_REJECTED:
            report(Finding(step, "skipped", f"because of {failed}"))


def _steps_for(config: ProviderConfig, *, quick: bool) -> list[Step]:
    if quick:
        return ["key", "embedded server"] if config.kind == "local" else ["key", "address", "key accepted"]
    absent = (*_NETWORK, "model") if config.kind == "local" else ("embedded server",)
    return [step for step in get_args(Step) if step not in absent]


async def _examine(config: ProviderConfig, report: Report, *, any_model: bool) -> None:
    """Run the steps until one makes the following ones impossible."""
    key = _key(config)
    report(key)
    is_reached = True
    if config.base_url and not is_reference(config.base_url):
        is_reached = await reach(config.base_url, config.timeouts.connect_s, report, config.tls)
    if key.verdict == "failed" or not is_reached:
        return
    config = config.resolved()
    if KINDS[config.kind].routed:
        for finding in verdicts.routed(config):
            report(finding)
        await _conversation(config, ROUTED, report)
        return
    server = server_of(config)
    base_url = config.base_url
    try:
        if server is not None:
            began_s = time.monotonic()
            base_url = await server.start()
            report(Finding("embedded server", "passed", "it started", seconds=time.monotonic() - began_s))
        await _over_http(config, base_url, report, any_model=any_model)
    finally:
        if server is not None:
            await server.stop()


async def _examine_quickly(config: ProviderConfig, report: Report) -> None:
    """Check that the key is there and that the server responds to one GET request."""
    key = _key(config)
    report(key)
    if key.verdict == "failed":
        return
    config = config.resolved()
    if (server := server_of(config)) is not None:
        server.check()
        report(Finding("embedded server", "passed", "it can be started"))
        return
    if KINDS[config.kind].routed:
        report(Finding("address", "skipped", "LiteLLM's routes have no list of models"))
        return
    async with probing(endpoint_for(config), config.timeouts, config.tls) as probe:
        reply = await probe.get(f"{config.base_url}/models")
    if reply.status in KEY_REJECTED:
        report(Finding("address", "passed", f"{config.base_url} is available"))
        report(verdicts.key_rejected(config, reply.status))
    else:
        report(verdicts.available(config, reply))


def _key(config: ProviderConfig) -> Finding:
    try:
        resolved = config.resolved()
    except ConfigError as error:
        return Finding("key", "failed", _one_line(error), "This provider cannot be used until it is set.")
    if resolved.api_key:
        return Finding("key", "passed", "it is set")
    if KINDS[config.kind].routed:
        return Finding("key", "passed", "none is set; LiteLLM looks for one in the environment")
    return Finding("key", "passed", "none is set, and none is required")


async def _over_http(config: ProviderConfig, base_url: str, report: Report, *, any_model: bool) -> None:
    """Run the steps from the first HTTP request on."""
    async with probing(endpoint_for(config).at(base_url), config.timeouts, config.tls) as probe:
        location = await locate_api(probe, base_url)
        report(location.finding)
        if location.rejects_key:
            report(verdicts.key_rejected(config, location.reply.status))
        if location.rejects_key or location.reply.problem:
            return
        server, version = await recognize(probe, location)
    report(verdicts.recognized(server, version))
    if any_model:
        chosen = verdicts.model_chosen(location.models)
        report(chosen)
        if not chosen.passed:
            return
        config = config.model_copy(update={"model": verdicts.model_names(location.models)[0]})
    elif config.kind != "local":
        report(verdicts.model_offered(config, server, location.models))
    await _conversation(config.model_copy(update={"base_url": location.base_url}), server, report)


async def _conversation(config: ProviderConfig, server: Server, report: Report) -> None:
    """Send the prompts. LiteLLM is loaded before the first of them, so that the durations are the server's."""
    # A diagnosis can be repeated; a server that takes no temperature still gets none.
    config = config.model_copy(update={"temperature": config.temperature and 0.0})
    transport = ProviderTransport(config)
    try:
        await transport.prewarm()
        capabilities = ServerCapabilities(config.name)
        cold = await ask(transport, _patient(config), capabilities, GREETING)
        report(verdicts.responded(cold))
        if cold.response is None:
            return
        report(verdicts.usage_reported(cold.response))
        call = await ask(transport, config, capabilities, WEATHER, "auto")
        report(verdicts.tool_called(call, server))
        text = await ask(transport, config, capabilities, WEATHER, "none")
        report(verdicts.choice_respected(text))
        report(verdicts.parameters_accepted({*cold.rejected, *call.rejected, *text.rejected}, config))
        warm = await ask(transport, config, capabilities, GREETING)
        long = await ask(transport, config, capabilities, LONG_TEXT)
        report(verdicts.streamed(long, warm))
        with_prefill = config.is_local and config.prefill is not False
        prefill = await time_prefill(transport, _patient(config), capabilities) if with_prefill else None
        report(verdicts.first_text(cold, warm, server, prefill))
        report(verdicts.prefix_cache(prefill))
    finally:
        await transport.aclose()


def _patient(config: ProviderConfig) -> ProviderConfig:
    """Give the first prompt time for a server that loads its model only now."""
    timeouts = config.timeouts
    longer = timeouts.model_copy(
        update={
            "first_token_s": max(_COLD_START_S, timeouts.first_token_s),
            "total_s": max(2 * _COLD_START_S, timeouts.total_s),
        }
    )
    return config.model_copy(update={"timeouts": longer})


def _one_line(error: AdapterError) -> str:
    return "; ".join(str(error).splitlines())
