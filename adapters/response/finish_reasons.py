"""What the servers' finish reasons mean for a response: whole, cut, filtered or failed.

Sources: the API references of OpenAI, Anthropic, Google, Mistral, Cohere, DeepSeek, Z.ai, Moonshot and Amazon Bedrock,
the source code of vLLM, SGLang, TGI and llama.cpp, and the table that LiteLLM maps from
(``litellm/litellm_core_utils/core_helpers.py``). LiteLLM's results are not used: it maps most failures to ``stop``.

Words are compared in lower case and with underscores, so that ``STOP`` (Google) and ``tool-calls`` (Vercel) are known.
"""

# pyright: reportReturnType=false
# Names of the table are its own literals.

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Literal, TypeAlias

logger = logging.getLogger(__name__)

Ending: TypeAlias = Literal["good", "called", "cut", "filtered", "failed", "unknown"]
"""How a response ended.

``good``: whole. ``called``: whole, with tool calls. ``cut``: at a length limit. ``filtered``: by a content filter.
``failed``: an error, whatever came. Of a response that is cut, filtered or ``unknown``, the text is kept, and a call
only if it is surely whole.
"""

_CALLED = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})
# OpenAI, Cohere and OpenTelemetry, Anthropic and Bedrock, OpenAI's legacy functions

_GOOD = frozenset({
    "stop",  # OpenAI and nearly all others
    "end_turn",  # Anthropic, Bedrock, xAI
    "stop_sequence",  # Anthropic, Bedrock, Cohere, TGI
    "eos_token",  # TGI
    "eos",  # Together
    "complete",  # Cohere
    "normal",  # Baidu
})  # fmt: skip

_CUT = frozenset({
    "length",  # OpenAI and nearly all others
    "max_tokens",  # Anthropic, Bedrock, Google, Cohere, watsonx
    "max_output_tokens",  # OpenAI's Responses API behind a gateway
    "max_new_tokens",  # SageMaker
    "model_length",  # Mistral: the context window
    "model_context_window_exceeded",  # Z.ai, Anthropic, Bedrock
    "context_length_exceeded",  # gateways, the code of OpenAI's error
    "token_limit",  # watsonx
    "time_limit",  # watsonx
    "error_limit",  # Cohere: the context window
    "compaction",  # Anthropic
    "pause_turn",  # Anthropic: a server-side tool loop paused
    "continuation",  # Google
    "repetition",  # vLLM: a loop was detected
})  # fmt: skip

_FILTERED = frozenset({
    "content_filter",  # OpenAI, Azure, DeepSeek, Moonshot
    "content_filtered",  # Bedrock
    "guardrail_intervened",  # Bedrock
    "refusal",  # Anthropic: a classifier intervened
    "sensitive",  # Z.ai, Hunyuan
    "blacklist",  # GigaChat
    "error_toxic",  # Cohere
    "safety", "recitation", "blocklist", "prohibited_content", "spii", "language", "image_safety",  # Google
    "escalation",  # Google
})  # fmt: skip

_FAILED = frozenset({
    "error",  # OpenRouter, vLLM, Mistral, Cohere
    "abort",  # vLLM, SGLang, LMDeploy: the engine gave the request up
    "aborted", "cancelled", "canceled",  # gateways, TensorRT-LLM, watsonx
    "user_cancel",  # Cohere
    "timeout",  # Cohere, TensorRT-LLM
    "insufficient_system_resource",  # DeepSeek
    "network_error",  # Z.ai
    "server_error", "internal_error",  # gateways
    "failed",  # LM Studio
    "malformed_function_call", "unexpected_tool_call", "too_many_tool_calls", "malformed_response",  # Google
    "missing_thought_signature",  # Google
    "function_call_filter",  # Google's OpenAI-compatible API, before one of the words above
    "malformed_tool_use", "malformed_model_output",  # Bedrock
})  # fmt: skip

_BY_SEVERITY: tuple[tuple[Ending, frozenset[str]], ...] = (
    ("failed", _FAILED),
    ("filtered", _FILTERED),
    ("cut", _CUT),
    ("called", _CALLED),
    ("good", _GOOD),
)
_PREFIX = re.compile(r"^finish_?reason[._]")  # the names of enumerations: FinishReason.STOP, FINISH_REASON_STOP
_LONGEST_LOGGED_CHARS = 60


def ending_of(finish_reason: str) -> Ending:
    """Classify a finish reason. Of several words in one (``content_filter: SAFETY``), the worst counts."""
    words = {_PREFIX.sub("", word.strip().replace("-", "_")) for word in finish_reason.lower().split(":")}
    return next((ending for ending, known in _BY_SEVERITY if not known.isdisjoint(words)), "unknown")


def worst_of(ending: Ending, native: Ending) -> Ending:
    """Return how a response ended of which a gateway and the server behind it say different things.

    Args:
        ending: By the gateway, which may turn words that it does not know into ``stop``.
        native: By the server behind it.
    """
    bad: tuple[Ending, ...] = ("failed", "filtered", "cut")
    return next((worse for worse in bad if worse in (ending, native)), ending)


def log_unknown(provider: str, finish_reason: str) -> None:
    """Log an unknown finish reason, once for each provider."""
    _log_once(provider, finish_reason[:_LONGEST_LOGGED_CHARS])


@lru_cache(maxsize=256)  # the server chooses the words, so their number has no limit
def _log_once(provider: str, finish_reason: str) -> None:
    logger.warning("%s ended an answer with an unknown finish reason: %r.", provider, finish_reason)
