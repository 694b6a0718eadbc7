"""``adapters.response.chunks``: payloads of all servers become one type; what cannot be used is left out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.response.chunks import CallFragment, logprobs_of, parse_chunk, text_of
from adapters.types import TokenUsage


def choice(**fields: Any) -> dict[str, Any]:
    """Build a payload with one choice."""
    return {"choices": [{"index": 0, **fields}]}


def delta(**fields: Any) -> dict[str, Any]:
    """Build a payload with one delta."""
    return choice(delta=fields)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        pytest.param(delta(content="Hi"), "Hi", id="delta"),
        pytest.param(choice(message={"content": "Hi"}), "Hi", id="message"),
        pytest.param(choice(text="Hi"), "Hi", id="legacy completion"),
        pytest.param(choice(delta={}, message={"content": "Hi"}), "Hi", id="an empty delta beside a message"),
        pytest.param(choice(delta={"x": 1}, message={"content": "Hi"}), "", id="a delta beside the whole message"),
        pytest.param(delta(content=None, audio={"transcript": "Hi"}), "Hi", id="transcript of a delta"),
        pytest.param(choice(message={"audio": {"id": "a", "transcript": "Hi", "data": ""}}), "Hi", id="transcript"),
        pytest.param(delta(content="Hi", audio={"transcript": "Ho"}), "Hi", id="a transcript beside text"),
        pytest.param(delta(audio={"data": "UklG"}), "", id="sound without a transcript"),
        pytest.param(delta(audio="UklG"), "", id="sound that is no object"),
        pytest.param(choice(delta=None, message={"content": "Hi"}), "Hi", id="a null delta beside a message"),
        pytest.param(choice(delta="Hi"), "", id="a delta that is no object"),
        pytest.param({"choices": {"delta": {"content": "Hi"}}}, "Hi", id="choices that are an object"),
        pytest.param({"choices": [{"delta": {"content": "Hi"}}]}, "Hi", id="no index"),
        pytest.param({"choices": [{"index": None, "delta": {"content": "Hi"}}]}, "Hi", id="null index"),
        pytest.param({"choices": [{"index": "0", "delta": {"content": "Hi"}}]}, "Hi", id="index in a string"),
        pytest.param({"choices": [{"index": 1, "delta": {"content": "Ho"}}]}, "", id="another choice alone"),
        pytest.param(
            {"choices": [{"index": 1, "delta": {"content": "Ho"}}, {"index": 0, "delta": {"content": "Hi"}}]},
            "Hi",
            id="another choice before it",
        ),
        pytest.param({"choices": [None, 7, {"delta": {"content": "Hi"}}]}, "Hi", id="choices that are none"),
        pytest.param([{"choices": [{"delta": {"content": "Hi"}}]}], "Hi", id="a list of one"),
        pytest.param(delta(content=None), "", id="null content"),
        pytest.param(delta(content=7), "", id="content that is a number"),
        pytest.param(delta(content=None, refusal="I will not."), "I will not.", id="refusal"),
        pytest.param(delta(content=[{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]), "Hi", id="parts"),
        pytest.param({"choices": []}, "", id="no choice"),
        pytest.param({}, "", id="empty"),
        pytest.param([], "", id="empty list"),
        pytest.param(["Hi"], "", id="list of a string"),
        pytest.param("Hi", "", id="string"),
        pytest.param(None, "", id="null"),
    ],
)
def test_text(payload: Any, text: str) -> None:
    """The text of choice 0 is read from a delta, a message and a legacy completion, and from nothing else."""
    assert parse_chunk(payload).text == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("Hi", "Hi", id="string"),
        pytest.param(["H", "i"], "Hi", id="strings"),
        pytest.param([{"type": "text", "text": "Hi"}], "Hi", id="part"),
        pytest.param([{"type": "output_text", "content": "Hi"}], "Hi", id="part with content"),
        pytest.param([{"type": "refusal", "refusal": "No."}], "No.", id="part that is a refusal"),
        pytest.param([{"type": "text", "text": {"content": "Hi"}}], "Hi", id="text that is an object"),
        pytest.param([{"type": "image_url", "image_url": {"url": "x"}}], "", id="picture"),
        pytest.param([{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hi"}], "Hi", id="thinking"),
        pytest.param([{"type": "reasoning", "text": "Hm"}], "", id="reasoning"),
        pytest.param({"type": [], "text": "Hi"}, "Hi", id="type that is a list"),
        pytest.param([[[["Hi"]]]], "Hi", id="as deep as is read"),
        pytest.param([[[[["Hi"]]]]], "", id="deeper"),
        pytest.param(None, "", id="null"),
        pytest.param(7, "", id="number"),
    ],
)
def test_content_in_parts(content: Any, text: str) -> None:
    """Parts are joined; reasoning, images and deep nesting are left out."""
    assert text_of(content) == text


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        pytest.param({"reasoning_content": "Hm"}, "Hm", id="DeepSeek, vLLM, llama.cpp"),
        pytest.param({"reasoning": "Hm"}, "Hm", id="OpenRouter, Groq, Ollama"),
        pytest.param({"thinking": "Hm"}, "Hm", id="Ollama's own"),
        pytest.param({"reasoning_text": "Hm"}, "Hm", id="GitHub Copilot"),
        pytest.param({"reasoning_content": "Hm", "reasoning": "Hm"}, "Hm", id="the same twice"),
        pytest.param({"reasoning_content": None, "reasoning": "Hm"}, "Hm", id="null beside it"),
        pytest.param({"reasoning": {"content": "Hm"}}, "Hm", id="an object"),
        pytest.param(
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}, "Hm", id="Mistral"
        ),
        pytest.param(
            {"content": [{"type": "reasoning", "text": "H"}, {"type": "reasoning", "text": "m"}]}, "Hm", id="parts"
        ),
        pytest.param({"content": [{"type": "text", "text": "Hi"}]}, "", id="parts of text"),
        pytest.param({"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}, "Hm", id="details"),
        pytest.param({"reasoning_details": [{"summary": "Hm"}, "x", {"data": "encrypted"}]}, "Hm", id="summary"),
        pytest.param({"reasoning": "Hm", "reasoning_details": [{"text": "Hm"}]}, "Hm", id="details say the same"),
        pytest.param({"reasoning_details": "Hm"}, "", id="details that are a string"),
        pytest.param({}, "", id="none"),
    ],
)
def test_reasoning(message: dict[str, Any], reasoning: str) -> None:
    """Reasoning is read from all its fields, once."""
    assert parse_chunk(delta(**message)).reasoning == reasoning


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(
            {"tool_calls": [{"index": 1, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            [CallFragment(1, "a", "f", "{}", {})],
            id="OpenAI",
        ),
        pytest.param(
            {"tool_calls": [{"index": 0, "function": {"arguments": '"x'}}]},
            [CallFragment(0, None, None, '"x', {})],
            id="more of one",
        ),
        pytest.param(
            {"tool_calls": [{"id": " ", "function": {"name": "", "arguments": None}}]},
            [CallFragment(None, None, None, None, {})],
            id="blank id and name",
        ),
        pytest.param(
            {"tool_calls": [{"id": 7, "index": [0], "function": {"name": ["f"], "arguments": {"a": 1}}}]},
            [CallFragment(None, None, None, {"a": 1}, {})],
            id="other types",
        ),
        pytest.param({"tool_calls": [{"index": "12"}]}, [CallFragment(12, None, None, None, {})], id="index as text"),
        pytest.param(
            {"tool_calls": [{"index": "-1"}]}, [CallFragment(None, None, None, None, {})], id="negative index"
        ),
        pytest.param(
            {"function_call": {"name": "f", "arguments": "{}"}}, [CallFragment(None, None, "f", "{}", {})], id="legacy"
        ),
        pytest.param(
            {"tool_calls": [{"name": "f", "arguments": {}}]}, [CallFragment(None, None, "f", {}, {})], id="not wrapped"
        ),
        pytest.param(
            {"tool_calls": {"function": {"name": "f"}}}, [CallFragment(None, None, "f", None, {})], id="not in a list"
        ),
        pytest.param(
            {"tool_calls": [{"function": {"name": "f"}, "extra_content": {"google": {"thought_signature": "s"}}}]},
            [CallFragment(None, None, "f", None, {"call": {"extra_content": {"google": {"thought_signature": "s"}}}})],
            id="Gemini: thought signature",
        ),
        pytest.param(
            {"tool_calls": [{"function": {"name": "f", "thought_signature": "s", "x": None}, "y": None}]},
            [CallFragment(None, None, "f", None, {"function": {"thought_signature": "s"}})],
            id="extras inside the function",
        ),
        pytest.param(
            {"tool_calls": [{"function": {"name": "f", "description": "d", "parameters": {}}}]},
            [CallFragment(None, None, "f", None, {})],
            id="TGI: the tool's own fields",
        ),
        pytest.param({"tool_calls": [None, "f", []]}, [], id="no calls"),
        pytest.param({"tool_calls": []}, [], id="empty"),
        pytest.param({"tool_calls": None}, [], id="null"),
    ],
)
def test_calls(message: dict[str, Any], expected: list[CallFragment]) -> None:
    """Calls and parts of calls are read in every wrapping, and the provider's own fields are kept."""
    assert list(parse_chunk(delta(**message)).calls) == expected


_FAULT = {"message": "No."}


@pytest.mark.parametrize(
    ("payload", "usage"),
    [
        pytest.param({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, TokenUsage(3, 4), id="OpenAI"),
        pytest.param({"usage": {"input_tokens": 3, "output_tokens": 4}}, TokenUsage(3, 4), id="Anthropic's names"),
        pytest.param({"x_groq": {"usage": {"prompt_tokens": 3}}}, TokenUsage(3, 0), id="Groq"),
        pytest.param(choice(usage={"prompt_tokens": 3}), TokenUsage(3, 0), id="Moonshot: in the choice"),
        pytest.param(
            {"usage": {"prompt_tokens": "3", "completion_tokens": 4.0}}, TokenUsage(3, 4), id="string and float"
        ),
        pytest.param({"usage": {"prompt_tokens": -3, "completion_tokens": 4}}, TokenUsage(0, 4), id="negative"),
        pytest.param({"usage": {"prompt_tokens": None, "completion_tokens": 4}}, TokenUsage(0, 4), id="null count"),
        pytest.param(
            {"usage": {"prompt_tokens": float("inf"), "completion_tokens": 4}}, TokenUsage(0, 4), id="infinite"
        ),
        pytest.param({"usage": {"prompt_tokens": float("nan"), "completion_tokens": "x"}}, None, id="no numbers"),
        pytest.param({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}, None, id="zeros"),
        pytest.param({"usage": None}, None, id="null"),
        pytest.param({"usage": 7, "x_groq": None}, None, id="number"),
        pytest.param({}, None, id="none"),
    ],
)
def test_usage(payload: dict[str, Any], usage: TokenUsage | None) -> None:
    """Usage is read from every place; zeros and invalid values are no usage."""
    assert parse_chunk(payload).usage == usage


@pytest.mark.parametrize(
    ("usage", "beside", "expected"),
    [
        pytest.param({"prompt_tokens_details": {"cached_tokens": 2}}, {}, TokenUsage(3, 4, 2), id="OpenAI"),
        pytest.param({"input_tokens_details": {"cached_tokens": 2}}, {}, TokenUsage(3, 4, 2), id="OpenAI-responses"),
        pytest.param({"prompt_tokens_details": {"cached_tokens": 0}}, {}, TokenUsage(3, 4, 0), id="none cached"),
        pytest.param({"prompt_tokens_details": None}, {}, TokenUsage(3, 4), id="vLLM"),
        pytest.param({"prompt_tokens_details": {"cached_tokens": None}}, {}, TokenUsage(3, 4), id="null"),
        pytest.param({"cached_tokens": 2}, {}, TokenUsage(3, 4, 2), id="Moonshot"),
        pytest.param({"prompt_cache_hit_tokens": 2}, {}, TokenUsage(3, 4, 2), id="DeepSeek"),
        pytest.param({"cache_read_input_tokens": "2"}, {}, TokenUsage(3, 4, 2), id="Anthropic"),
        pytest.param({}, {"timings": {"cache_n": 2}}, TokenUsage(3, 4, 2), id="older llama.cpp"),
        pytest.param({}, {"timings": []}, TokenUsage(3, 4), id="timings that are a list"),
        pytest.param(
            {"completion_tokens_details": {"reasoning_tokens": 1}}, {}, TokenUsage(3, 4, None, 1), id="reasoning"
        ),
        pytest.param({"cost": 4.2e-06}, {}, TokenUsage(3, 4, cost=Decimal("0.0000042")), id="OpenRouter"),
        pytest.param({"cost": 0.1}, {}, TokenUsage(3, 4, cost=Decimal("0.1")), id="no binary fraction"),
        pytest.param({"cost": 0}, {}, TokenUsage(3, 4, cost=Decimal(0)), id="free"),
        pytest.param({"cost": "0.01"}, {}, TokenUsage(3, 4, cost=Decimal("0.01")), id="cost in a string"),
        *(
            pytest.param({"cost": cost}, {}, TokenUsage(3, 4), id=f"cost {cost}")
            for cost in (True, None, "free", -1, float("nan"), float("inf"), {"total": 1})
        ),
    ],
)
def test_details_of_the_usage(usage: dict[str, Any], beside: dict[str, Any], expected: TokenUsage) -> None:
    """Cached tokens, reasoning tokens and cost are read under each name; missing is None, and zero is zero."""
    assert parse_chunk({"usage": {"prompt_tokens": 3, "completion_tokens": 4, **usage}, **beside}).usage == expected


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        pytest.param({"content": [{"token": "H"}, 7], "refusal": None}, [{"token": "H"}], id="OpenAI"),
        pytest.param({"content": None, "refusal": [{"token": "N"}]}, [{"token": "N"}], id="refusal"),
        pytest.param({"tokens": ["H"]}, [], id="legacy"),
        pytest.param([{"token": "H"}], [], id="list"),
    ],
)
def test_logprobs(logprobs: Any, expected: list[Any]) -> None:
    """OpenAI's entries are kept as they are; other types are left out."""
    assert logprobs_of(parse_chunk(choice(logprobs=logprobs)).logprobs) == expected


def test_the_rest_of_a_chunk() -> None:
    """Finish reasons and details are kept if they have the right type."""
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    payload = choice(finish_reason="stop", native_finish_reason="STOP", delta={"reasoning_details": details})

    chunk, other = parse_chunk(payload), parse_chunk(choice(finish_reason="", native_finish_reason=7))

    assert (chunk.finish_reason, chunk.native_finish_reason) == ("stop", "STOP")
    assert (chunk.details, chunk.has_choices) == (details, True)
    assert (other.finish_reason, other.native_finish_reason) == (None, None)
    assert parse_chunk(choice(finish_reason="null")).finish_reason is None
    litellm_choice = choice(finish_reason="stop", provider_specific_fields={"native_finish_reason": "SAFETY"})
    assert parse_chunk(litellm_choice).native_finish_reason == "SAFETY"
    assert not parse_chunk({}).has_choices


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        pytest.param([{"type": "thinking"}, "x"], [{"type": "thinking"}], id="blocks"),
        pytest.param({"type": "thinking"}, [], id="no list"),
    ],
)
def test_thinking_blocks(blocks: Any, expected: list[Any]) -> None:
    """LiteLLM's blocks of thinking are kept as they are."""
    assert list(parse_chunk(delta(thinking_blocks=blocks)).blocks) == expected


@pytest.mark.parametrize(
    ("payload", "useful"),
    [
        pytest.param(delta(content="Hi"), True, id="text"),
        pytest.param(delta(reasoning="Hm"), True, id="reasoning"),
        pytest.param(delta(tool_calls=[{"index": 0, "function": {"arguments": ""}}]), True, id="call"),
        pytest.param(delta(reasoning_details=[{}]), True, id="details"),
        pytest.param(
            {"model": "m", "usage": {"prompt_tokens": 1}, **choice(finish_reason="stop")}, False, id="nothing of it"
        ),
        pytest.param(delta(role="assistant", content=""), False, id="role"),
    ],
)
def test_what_brings_an_answer_forward(payload: dict[str, Any], useful: bool) -> None:
    """A role, a usage or a finish reason is not useful."""
    assert parse_chunk(payload).is_useful is useful


@pytest.mark.parametrize(
    ("message", "name"),
    [
        pytest.param({"reasoning_content": "Hm"}, "reasoning_content", id="DeepSeek, Kimi"),
        pytest.param({"reasoning": "Hm"}, "reasoning", id="gpt-oss servers"),
        pytest.param({"reasoning_content": "Hm", "reasoning": "Hm"}, "reasoning_content", id="the same twice"),
        pytest.param({"reasoning": {"content": "Hm"}}, "", id="an object"),
        pytest.param({"content": [{"type": "thinking", "thinking": "Hm"}]}, "", id="parts"),
        pytest.param({"content": "Hi"}, "", id="none"),
    ],
)
def test_field_of_reasoning(message: dict[str, Any], name: str) -> None:
    """The field of the reasoning is named, because some servers require it back under its name."""
    assert parse_chunk(delta(**message)).reasoning_field == name


_KEYS = st.sampled_from(
    [
        *("choices", "index", "delta", "message", "content", "text", "refusal", "type", "reasoning", "thinking"),
        *("reasoning_details", "tool_calls", "function_call", "function", "name", "arguments", "id", "error"),
        *("usage", "x_groq", "prompt_tokens", "finish_reason", "model", "object", "detail", "summary"),
    ]
)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=15,
)


@given(_ANY, _ANY)
def test_any_json_is_a_chunk(payload: Any, message: Any) -> None:
    """Any JSON is read without an exception, and text fields are text."""
    for chunk in (parse_chunk(payload), parse_chunk(choice(delta=message)), parse_chunk(choice(message=message))):
        assert isinstance(chunk.text, str)
        assert isinstance(chunk.reasoning, str)
        assert all(call.id is None or call.id.strip() for call in chunk.calls)
        assert chunk.usage is None or min(chunk.usage.prompt_tokens, chunk.usage.completion_tokens) >= 0
