"""``adapters.request.provider_fields``: what came beside a call comes back with it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.request.provider_fields import Extras
from adapters.types import ToolCall

_CALL = ToolCall("call00001", "get_weather", {"city": "Oslo"})


def _message(*ids: str) -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def test_fields_beside_a_call_come_back_beside_it() -> None:
    """Gemini's thought signature stands again where it stood, inside the function too."""
    extras = Extras()
    beside = {"extra_content": {"google": {"thought_signature": "s"}}, "function": {"signature": "t"}}
    extras.remember([_CALL], {"call00001": beside}, {})

    message = extras.attach(_message("call00001"))

    assert message["tool_calls"][0] == {
        "id": "call00001",
        "type": "function",
        "function": {"name": "f", "arguments": "{}", "signature": "t"},
        "extra_content": {"google": {"thought_signature": "s"}},
    }
    assert "reasoning_details" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("reasoning_details", [{"type": "reasoning.encrypted", "data": "x"}], id="openrouter"),
        pytest.param("reasoning_content", "Hm.", id="deepseek"),
        pytest.param("reasoning", "Hm.", id="gpt-oss"),
    ],
)
def test_what_a_message_held_comes_back_with_its_calls(name: str, value: Any) -> None:
    """What the model thought before it called stands in the message again, under the name that it came in."""
    extras = Extras()
    extras.remember([_CALL], {}, {name: value})

    assert extras.attach(_message("call00001"))[name] == value


def test_a_call_that_nobody_remembers_stays_as_it_is() -> None:
    """A call of another provider gets nothing."""
    assert Extras().attach(_message("foreign01")) == _message("foreign01")


def test_the_oldest_calls_are_forgotten() -> None:
    """A long conversation does not fill the memory."""
    extras = Extras()
    for number in range(300):
        extras.remember([ToolCall(f"call{number:05}", "f", {})], {f"call{number:05}": {"mark": number}}, {})

    first, last = extras.attach(_message("call00000", "call00299"))["tool_calls"]

    assert "mark" not in first
    assert last["mark"] == 299


def test_long_thoughts_are_forgotten_too() -> None:
    """What is remembered has a size, whatever the number of calls; calls that are told again count once."""
    extras = Extras()
    thought = "x" * 1_000_000
    for number in (0, 1, 1, 1, 1, 2, 3, 4, 5, 6):
        extras.remember([ToolCall(f"call{number:05}", "f", {})], {}, {"reasoning": thought})
    everything = [extras.attach(_message(f"call{number:05}")) for number in range(7)]
    extras.remember([_CALL], {}, {"reasoning": "x" * 9_000_000})

    assert all(message["reasoning"] == thought for message in everything)
    extras.remember([_CALL], {}, {"reasoning": thought})
    extras.remember([ToolCall("call00009", "f", {})], {}, {"reasoning": thought * 7})
    assert "reasoning" not in extras.attach(_message("call00001"))
    assert extras.attach(_message("call00009"))["reasoning"] == thought * 7
