"""What is asked, and the body that asks it: the fields of one chat completion request.

Which concessions a server needs beyond this is remembered in ``concessions``; how it is sent in ``wire``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from adapters.errors import ConfigError

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.types import Message, ToolSpec

_OURS = frozenset({"model", "messages", "stream", "tools"})


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a provider.

    Attributes:
        messages: The conversation.
        tools: The tools that are offered, or mentioned; empty if there are none.
        tool_choice: ``none`` if the answer must be text.
        stream: Whether the answer is streamed.
        options: Sampling parameters of this request alone.
    """

    messages: list[Message]
    tools: list[ToolSpec]
    tool_choice: Literal["auto", "none"]
    stream: bool
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def wants_text(self) -> bool:
        """Whether tool calls are forbidden."""
        return self.tool_choice == "none"

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Name of each tool -> JSON schema of each of its parameters."""
        schemas = {}
        for tool in self.tools:
            function = tool.get("function")
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                parameters = function.get("parameters")
                properties = parameters.get("properties") if isinstance(parameters, dict) else None
                schemas[function["name"]] = properties if isinstance(properties, dict) else {}
        return schemas


def body_of(ask: Ask, config: ProviderConfig) -> dict[str, Any]:
    """Build the body of a request, without model, messages and ``stream``, which LiteLLM writes.

    The caller's options win over ``extra_body``, and both over the provider's defaults. A parameter that is None is
    not sent.

    Raises:
        ConfigError: If an option is one that the provider sets itself.
    """
    if taken := sorted(_OURS & ask.options.keys()):
        message = f"{taken[0]} is not an option of a single request; it belongs to the provider or to the call."
        raise ConfigError(message)
    body: dict[str, Any] = {"temperature": config.temperature, "max_tokens": config.max_tokens}
    if config.think is not None:
        body |= _thinking(config.kind, think=config.think)
    if ask.stream:
        body["stream_options"] = {"include_usage": True}
    if ask.tools:
        body |= {"tools": ask.tools, "tool_choice": ask.tool_choice}
    body |= config.extra_body | ask.options
    if ask.tools and ask.wants_text:
        body["tool_choice"] = "none"
    return {name: value for name, value in body.items() if value is not None}


def _thinking(kind: str, *, think: bool) -> dict[str, Any]:
    """The fields that switch thinking on or off: each service has its own."""
    if kind == "openrouter":
        return {"reasoning": {"enabled": think}}
    if kind in ("ollama", "groq"):
        return {} if think else {"reasoning_effort": "none"}  # models that can think do so by default
    return {"chat_template_kwargs": {"enable_thinking": think}}  # vLLM, SGLang, llama.cpp
