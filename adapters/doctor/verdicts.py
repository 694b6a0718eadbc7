"""What the answers of a server amount to, and what to do about it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from adapters.doctor.finding import Finding
from adapters.models import nearest_names
from adapters.transport.errors.redact import plain, shorten

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.doctor.conversation import CallOutcome
    from adapters.doctor.servers import Server
    from adapters.types import Json, LLMResponse

_NAMES_TOLD = 3
_SLOW_S = 1.0  # a pause that a person takes for a lost connection
_COLD_FACTOR = 2.0  # more is no accident
_TOOL_FIELDS = {"tools", "tool_choice"}
_FEW_WORDS_CHARS = 60
_NOTHING_TO_DO = "Nothing: the tools are left out where text alone is wanted."


def recognised(server: Server, version: str) -> Finding:
    """Which server it is."""
    return Finding("server", "ok", f"{server.name} ({version})" if version else server.name)


def model_offered(config: ProviderConfig, server: Server, models: list[dict[str, Json]]) -> Finding:
    """Whether the model stands in the list of the server."""
    offered = [name for each in models if isinstance(name := each.get("id") or each.get("name"), str)]
    wanted = {config.model, f"{config.model}:latest"}  # Ollama's full name of it
    if config.kind == "openrouter":
        wanted.add(config.model.partition(":")[0])  # what follows is a way of routing
    if not offered:
        return Finding("model", "warning", "the server lists no models", "The answer below shows whether it has it.")
    if any(name in wanted or fnmatchcase(config.model, name) for name in offered):
        return Finding("model", "ok", f"{config.model} is offered")
    near = nearest_names(config.model, offered) or offered[:_NAMES_TOLD]
    detail = f"{config.model} is not among the {len(offered)} that it lists"
    advice = f"Set model to one of them: {', '.join(near)}"
    if server.any_model:
        return Finding("model", "warning", f"{detail}, but it answers whatever the name", advice)
    return Finding("model", "failed", detail, advice)


def key_refused(config: ProviderConfig, status: int) -> Finding:
    """The server does not take the key."""
    if config.api_key is None:
        return Finding("key accepted", "failed", f"it wants a key (status {status})", "Set api_key.")
    return Finding("key accepted", "failed", f"it refuses the key (status {status})", f"Correct {config.key_name}.")


def answered(outcome: CallOutcome) -> Finding:
    """Whether there was an answer at all."""
    if outcome.response is None:
        return Finding("answer", "failed", str(outcome.error), "The lines above, or the server's log, may tell more.")
    return Finding("answer", "ok", f"“{_few_words(outcome.response.content)}”", seconds=outcome.total_s)


def usage_counted(response: LLMResponse) -> Finding:
    """Whether a stream tells how many tokens it took."""
    if response.usage is None:
        advice = "Tokens are unknown then. A newer server may send them (stream_options.include_usage)."
        return Finding("usage", "warning", "streams do not tell how many tokens they took", advice)
    usage = response.usage
    return Finding("usage", "ok", f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out")


def tool_called(outcome: CallOutcome, server: Server) -> Finding:
    """Whether the model called the tool that it was told to use."""
    if outcome.response is None:
        return Finding("tool call", "failed", str(outcome.error), server.tools_advice)
    if not outcome.response.tool_calls:
        said = _few_words(outcome.response.content)
        return Finding("tool call", "warning", f"the model answered without the tool: “{said}”", server.tools_advice)
    call = outcome.response.tool_calls[0]
    if not outcome.sent_calls:
        detail = f"{call.name} came as text; it is read back, but not every form of it can be"
        return Finding("tool call", "warning", detail, server.tools_advice)
    return Finding("tool call", "ok", f"{call.name} was called", seconds=outcome.first_s)


def choice_respected(outcome: CallOutcome) -> Finding:
    """Whether ``tool_choice`` "none" keeps the model from calling."""
    if outcome.called_instead or outcome.sent_calls:
        return Finding("tool_choice none", "warning", "the model called a tool all the same", _NOTHING_TO_DO)
    if outcome.response is None:
        return Finding("tool_choice none", "failed", str(outcome.error), "Look at the server's log.")
    if _TOOL_FIELDS & set(outcome.rejected):
        return Finding("tool_choice none", "warning", "the server refuses it", _NOTHING_TO_DO)
    return Finding("tool_choice none", "ok", "the answer was text")


def parameters_taken(refused: set[str]) -> Finding:
    """Whether the server took all parameters of the configuration."""
    names = sorted(refused - _TOOL_FIELDS)
    if names:
        advice = "The first request of each program is sent twice for it. Set it to null, or take it out of extra_body."
        return Finding("parameters", "warning", f"refused: {', '.join(names)}", advice)
    return Finding("parameters", "ok", "none was refused")


def first_words(cold: CallOutcome, warm: CallOutcome, server: Server) -> Finding:
    """How long a person waits for the first word."""
    if cold.first_s is None or warm.first_s is None:
        return Finding("first word", "failed", f"the same question failed: {warm.error}", "Look at the server's log.")
    detail = f"{cold.first_s * 1000:.0f} ms cold, {warm.first_s * 1000:.0f} ms warm"
    if warm.first_s > _SLOW_S:
        thinks = warm.response is not None and warm.response.reasoning is not None
        mend = "Switch thinking off (think: false)." if thinks else "Take a smaller model, or a faster server."
        return Finding("first word", "warning", detail, f"A pause of more than a second is felt. {mend}")
    if cold.first_s > _SLOW_S and cold.first_s > warm.first_s * _COLD_FACTOR:
        return Finding("first word", "warning", detail, server.warm_advice)
    return Finding("first word", "ok", detail)


def _few_words(text: str | None) -> str:
    return shorten(plain(text or ""), _FEW_WORDS_CHARS)
