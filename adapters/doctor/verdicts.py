"""Judge what a server sent, and say what to do about it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from adapters.doctor.finding import Finding
from adapters.models import nearest_names
from adapters.transport.errors.redact import plain, shorten

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.doctor.conversation import CallOutcome
    from adapters.doctor.finding import Step
    from adapters.doctor.probe import Reply
    from adapters.doctor.servers import Server
    from adapters.types import Json, LLMResponse

_NAMES_SHOWN = 3
_REFUSALS = (402, 429)
_FIRST_SERVER_FAILURE = 500
_SLOW_S = 1.0  # a pause that a person takes for a lost connection
_COLD_FACTOR = 2.0  # a smaller difference may be chance
_BUFFERED_S = 0.5  # a text that is complete before may have been generated that fast
_BUFFERED_PIECES = 5  # of a text of forty words that was generated slowly
_BUFFERED_SHARE = 0.05  # of the whole time, between the first and the last piece of a long text
_CACHED_SHARE = 0.5  # of a prompt whose end alone is new
_MEASURABLE_S = 0.1  # a shorter prefill is not told from chance
_CACHE_ADVICE = (
    "Each turn evaluates the whole prompt again. Turn on prefix caching (vLLM) or cache_prompt (llama.cpp). A proxy"
    " must send a conversation to the same server each time."
)
_TOOL_FIELDS = {"tools", "tool_choice"}
_EXCERPT_CHARS = 60
_NETWORK_STEPS: tuple[Step, ...] = ("DNS", "TCP", "TLS")
_LIST_STEPS: tuple[Step, ...] = ("address", "server", "model")
_SET_KEY = "Set api_key, or pass the key with --api-key or in $ADAPTERS_API_KEY."
_NOTHING_TO_DO = "Nothing: tools are left out of requests that allow text only."
_BUFFERED_ADVICE = (
    "A proxy buffers the stream. In nginx set proxy_buffering off, and gzip off for text/event-stream; then the first"
    " words can be spoken while the rest is generated."
)


def recognized(server: Server, version: str) -> Finding:
    """Which server responds."""
    return Finding("server", "passed", f"{server.name} ({version})" if version else server.name)


def routed(config: ProviderConfig) -> list[Finding]:
    """The steps that a route of LiteLLM does without: LiteLLM knows the address, and there is no list of models."""
    route = config.model.partition("/")[0]
    no_address = f"LiteLLM knows the address of {route}"
    no_list = f"LiteLLM's route {route} has no list of models here"
    network = [] if config.base_url else [Finding(step, "skipped", no_address) for step in _NETWORK_STEPS]
    return [*network, *(Finding(step, "skipped", no_list) for step in _LIST_STEPS)]


def model_names(models: list[dict[str, Json]]) -> list[str]:
    """Return the names in a list of models."""
    return [name for model in models if isinstance(name := model.get("id") or model.get("name"), str)]


def model_chosen(models: list[dict[str, Json]]) -> Finding:
    """Whether there is a model to use if the user named none."""
    names = model_names(models)
    if not names:
        return Finding("model", "failed", "the server lists no models", "Name a model with -m.")
    return Finding("model", "passed", f"{names[0]}, the first of {len(names)} that the server lists")


def model_offered(config: ProviderConfig, server: Server, models: list[dict[str, Json]]) -> Finding:
    """Whether the server lists the model."""
    offered = model_names(models)
    wanted = {config.model, f"{config.model}:latest"}  # Ollama's full name of it
    if config.kind == "openrouter":
        wanted.add(config.model.partition(":")[0])  # the suffix selects a routing variant
    if not offered:
        return Finding("model", "warning", "the server lists no models", "The response below shows whether it has it.")
    if any(name in wanted or fnmatchcase(config.model, name) for name in offered):
        return Finding("model", "passed", f"{config.model} is offered")
    near = nearest_names(config.model, offered) or offered[:_NAMES_SHOWN]
    detail = f"{config.model} is not among the {len(offered)} models that the server lists"
    advice = f"Set model to one of: {', '.join(near)}"
    if server.any_model:
        return Finding("model", "warning", f"{detail}, but this server accepts any name", advice)
    return Finding("model", "failed", detail, advice)


def key_rejected(config: ProviderConfig, status: int) -> Finding:
    """The server rejects the key."""
    if config.api_key is None:
        return Finding("key accepted", "failed", f"the server requires a key (status {status})", _SET_KEY)
    detail = f"the server rejects the key (status {status})"
    return Finding("key accepted", "failed", detail, f"Correct {config.key_name}.")


def responded(outcome: CallOutcome) -> Finding:
    """Whether there was a response at all."""
    if outcome.response is None:
        advice = "The lines above, or the server's log, may say why."
        return Finding("response", "failed", str(outcome.error), advice)
    return Finding("response", "passed", f"“{_excerpt(outcome.response.content)}”", seconds=outcome.total_s)


def usage_reported(response: LLMResponse) -> Finding:
    """Whether a stream reports its token usage."""
    if response.usage is None:
        advice = "Token counts are unknown then. A newer server may send them (stream_options.include_usage)."
        return Finding("usage", "warning", "streams do not report token usage", advice)
    usage = response.usage
    return Finding("usage", "passed", f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out")


def tool_called(outcome: CallOutcome, server: Server) -> Finding:
    """Whether the model called the tool that the prompt asks for."""
    if outcome.response is None:
        return Finding("tool call", "failed", str(outcome.error), server.tools_advice)
    if not outcome.response.tool_calls:
        text = _excerpt(outcome.response.content)
        detail = f"the model answered without the tool: “{text}”"
        return Finding("tool call", "warning", detail, server.tools_advice)
    call = outcome.response.tool_calls[0]
    if not outcome.sent_calls:
        detail = f"the call of {call.name} arrived as text; it was recovered, but not every form of it can be"
        return Finding("tool call", "warning", detail, server.tools_advice)
    return Finding("tool call", "passed", f"{call.name} was called", seconds=outcome.first_event_s)


def choice_respected(outcome: CallOutcome) -> Finding:
    """Whether ``tool_choice`` "none" prevents tool calls."""
    if outcome.called_instead or outcome.sent_calls:
        return Finding("tool_choice none", "warning", "the model called a tool nevertheless", _NOTHING_TO_DO)
    if outcome.response is None:
        return Finding("tool_choice none", "failed", str(outcome.error), "See the server's log.")
    if _TOOL_FIELDS & set(outcome.rejected):
        return Finding("tool_choice none", "warning", "the server rejects it", _NOTHING_TO_DO)
    return Finding("tool_choice none", "passed", "the response was text")


def available(config: ProviderConfig, reply: Reply) -> Finding:
    """Whether a server that sent this reply to ``GET /models`` takes requests."""
    if reply.problem:
        return Finding("address", "failed", reply.problem, "Check that the server is running.")
    if reply.status in _REFUSALS or reply.status >= _FIRST_SERVER_FAILURE:
        detail = f"{config.base_url} is not available (status {reply.status})"
        return Finding("address", "failed", detail, "See the server's log.")
    if not reply.is_good:
        detail = f"{config.base_url} responds, but has no list of models (status {reply.status})"
        return Finding("address", "warning", detail, "Run adapters doctor without --quick once.")
    return Finding("address", "passed", f"{config.base_url} is available")


def parameters_accepted(rejected: set[str], config: ProviderConfig) -> Finding:
    """Whether the server accepted all parameters of the configuration, and all of them have an effect."""
    names = sorted(rejected - _TOOL_FIELDS)
    if names:
        advice = (
            "Each program's first request is sent twice because of it. Set it to null, or remove it from extra_body."
        )
        return Finding("parameters", "warning", f"rejected: {', '.join(names)}", advice)
    if ineffective := config.ineffective():
        detail, _, advice = ineffective[0].removeprefix(f"{config.name}: ").partition(". ")
        return Finding("parameters", "warning", detail, advice)
    return Finding("parameters", "passed", "none was rejected")


def streamed(long: CallOutcome, short: CallOutcome) -> Finding:
    """Whether the pieces of a long text arrive as they are generated.

    Args:
        long: A text of many words.
        short: A text of a few words, with the same server warm; its time to first text is what streaming would show.
    """
    if long.response is None or long.first_event_s is None or long.last_event_s is None:
        return Finding("streaming", "failed", f"a longer response failed: {long.error}", "See the server's log.")
    spread_s = long.last_event_s - long.first_event_s
    took_too_long = long.first_event_s > max(_BUFFERED_S, _COLD_FACTOR * (short.first_event_s or 0.0))
    reasoned = long.response.reasoning is not None  # which takes its time before the first word
    if took_too_long and not reasoned:
        if spread_s < _BUFFERED_SHARE * long.total_s:
            detail = f"all words arrived at once, after {long.first_event_s:.1f} s"
            return Finding("streaming", "warning", detail, _BUFFERED_ADVICE)
        if long.pieces <= _BUFFERED_PIECES:  # a buffer that was full in the middle of the text
            detail = f"a longer text arrived in {long.pieces} pieces, the first after {long.first_event_s:.1f} s"
            return Finding("streaming", "warning", detail, _BUFFERED_ADVICE)
    arrived = f"in {long.pieces} pieces over {spread_s * 1000:.0f} ms" if long.pieces > 1 else "in one piece, very fast"
    return Finding("streaming", "passed", f"a longer text arrived {arrived}")


def first_text(
    cold: CallOutcome, warm: CallOutcome, server: Server, prefill: tuple[CallOutcome, CallOutcome] | None = None
) -> Finding:
    """How long the first text takes, at the first request and later.

    Args:
        cold: The first request.
        warm: A later one.
        server: The kind of server.
        prefill: A longer prompt without and with a prefill, or None.
    """
    if cold.first_event_s is None or warm.first_event_s is None:
        return Finding("first text", "failed", f"the same prompt failed: {warm.error}", "See the server's log.")
    detail = f"{cold.first_event_s * 1000:.0f} ms cold, {warm.first_event_s * 1000:.0f} ms warm{_waits(cold, warm)}"
    if prefill is not None:
        detail += _prefilled(*prefill)
    if warm.first_event_s > _SLOW_S:
        reasons = warm.response is not None and warm.response.reasoning is not None
        remedy = "Turn reasoning off (think: false)." if reasons else "Use a smaller model, or a faster server."
        return Finding("first text", "warning", detail, f"A pause of more than a second is noticeable. {remedy}")
    if cold.first_event_s > _SLOW_S and cold.first_event_s > warm.first_event_s * _COLD_FACTOR:
        return Finding("first text", "warning", detail, server.warm_advice)
    return Finding("first text", "passed", detail)


def prefix_cache(prefill: tuple[CallOutcome, CallOutcome] | None) -> Finding:
    """Whether the server keeps the beginning of a prompt that it has evaluated.

    Args:
        prefill: A new prompt, and one whose beginning was sent before; None if neither was sent.
    """
    if prefill is None:
        return Finding("prefix cache", "skipped", "only a local server is asked twice with a long prompt")
    new, known = prefill
    if known.response is None or new.first_event_s is None or known.first_event_s is None:
        return Finding("prefix cache", "skipped", f"a longer prompt failed: {known.error or new.error}")
    usage = known.response.usage
    if usage is not None and usage.cached_tokens is not None:
        detail = f"{usage.cached_tokens} of {usage.prompt_tokens} tokens of a known prompt came from it"
        if usage.cached_tokens >= _CACHED_SHARE * usage.prompt_tokens:
            return Finding("prefix cache", "passed", detail)
        return Finding("prefix cache", "warning", detail, _CACHE_ADVICE)
    times = f"{new.first_event_s * 1000:.0f} ms for a new prompt, {known.first_event_s * 1000:.0f} ms for a known one"
    if new.first_event_s > max(_COLD_FACTOR * known.first_event_s, _MEASURABLE_S):
        return Finding("prefix cache", "passed", f"the server reports no cached tokens; {times}")
    return Finding("prefix cache", "skipped", f"unknown: the server reports no cached tokens; {times}")


def _waits(cold: CallOutcome, warm: CallOutcome) -> str:
    """Return the parts of both waits side by side, or "" if they are not known."""
    outcomes = (("cold", cold), ("warm", warm))
    waits = [(name, outcome.response.wait) for name, outcome in outcomes if outcome.response is not None]
    return "".join(f"; {name}: {wait}" for name, wait in waits if wait is not None)


def _prefilled(without: CallOutcome, prefilled: CallOutcome) -> str:
    """Return how long a longer prompt takes without and with a prefill, or "" if one of them failed."""
    if without.first_event_s is None or prefilled.first_event_s is None:
        return ""
    return (
        f"; a new long prompt: {without.first_event_s * 1000:.0f} ms, {prefilled.first_event_s * 1000:.0f} ms prefilled"
    )


def _excerpt(text: str | None) -> str:
    return shorten(plain(text or ""), _EXCERPT_CHARS)
