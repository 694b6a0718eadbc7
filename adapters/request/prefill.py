"""The request that puts the beginning of a conversation into the server's prefix cache.

``adapters.client.prefill`` decides when it is sent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from adapters.request.build import body_of
from adapters.request.history import OPENING
from adapters.request.params import CallArguments
from adapters.request.rejections import TOKEN_LIMITS
from adapters.transport.endpoint import RedactedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.config import ProviderConfig
    from adapters.request.params import RequestParams
    from adapters.types import Message, ToolSpec

PREFILL_S: Final = 600.0
"""How long a prefill may take: servers load models on demand, and a slow machine evaluates a long prompt."""

_LIMITS = (*TOKEN_LIMITS, "n_predict")  # llama.cpp knows a third name


def prefill_arguments(
    messages: list[Message] | None, tools: list[ToolSpec] | None, options: Mapping[str, Any]
) -> CallArguments | None:
    """Return the arguments of ``prewarm`` as those of a call, or None if there is nothing to prefill."""
    return CallArguments(messages or [], tools, options) if messages is not None or tools or options else None


def prefill_params(params: RequestParams, config: ProviderConfig) -> RequestParams:
    """Return the parameters of a prefill for those of the question that will follow.

    Only the limit on tokens differs. A history that ends before a question gets the beginning of one: many chat
    templates refuse a conversation without a user, or continue the assistant's last message.

    Args:
        params: The parameters of a streamed request.
        config: The provider, for its own fields.
    """
    body = body_of(params, config)
    one_token = dict.fromkeys([name for name in _LIMITS if name in body] or ["max_tokens"], 1)
    if "min_tokens" in body:
        one_token["min_tokens"] = 0  # vLLM refuses a minimum above the limit
    messages = list(params.messages)
    if not messages or messages[-1].get("role") not in ("user", "tool"):
        question: Message = {"role": "user", "content": OPENING}
        messages.append(question)
    return replace(
        params,
        messages=messages,
        extra_body=RedactedDict({**params.extra_body, **one_token}),
        timeout_s=PREFILL_S,
        first_token_s=PREFILL_S,
        is_prefill=True,
    )
