"""``adapters.response.finish_reasons``: what the servers' finish reasons mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.response.finish_reasons import ending_of, worst_of

if TYPE_CHECKING:
    from adapters.response.finish_reasons import Ending


@pytest.mark.parametrize(
    ("finish_reason", "ending"),
    [
        pytest.param("stop", "good", id="OpenAI"),
        pytest.param("STOP", "good", id="upper-case"),
        pytest.param("tool-calls", "called", id="hyphen"),
        pytest.param("TOOL_CALL", "called", id="Cohere"),
        pytest.param("FINISH_REASON_STOP", "good", id="name-of-an-enumeration"),
        pytest.param("FinishReason.MAX_TOKENS", "cut", id="member-of-an-enumeration"),
        pytest.param("length", "cut", id="length"),
        pytest.param("model_context_window_exceeded", "cut", id="context"),
        pytest.param("sensitive", "filtered", id="Z.ai"),
        pytest.param("content_filter: SAFETY", "filtered", id="two-words"),
        pytest.param("function_call_filter: MALFORMED_FUNCTION_CALL", "failed", id="Gemini"),
        pytest.param("stop: error", "failed", id="the-worst-counts"),
        pytest.param("abort", "failed", id="vLLM"),
        pytest.param("insufficient_system_resource", "failed", id="DeepSeek"),
        pytest.param("whatever", "unknown", id="unknown"),
        pytest.param("", "unknown", id="empty"),
    ],
)
def test_ending(finish_reason: str, ending: str) -> None:
    """Words are known in each spelling; of several, the worst counts."""
    assert ending_of(finish_reason) == ending


@pytest.mark.parametrize(
    ("ending", "native", "worst"),
    [
        ("good", "good", "good"),
        ("good", "failed", "failed"),
        ("good", "filtered", "filtered"),
        ("called", "cut", "cut"),
        ("cut", "good", "cut"),
        ("called", "good", "called"),
        ("good", "unknown", "good"),
        ("unknown", "good", "unknown"),
    ],
)
def test_two_endings(ending: Ending, native: Ending, worst: Ending) -> None:
    """The finish reason behind a gateway counts if it is worse."""
    assert worst_of(ending, native) == worst
