"""``adapters.extras``: what came beside a call comes back with it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.extras import Extras, merge_details
from adapters.types import ToolCall

_CALL = ToolCall("call00001", "get_weather", {"city": "Oslo"})


def _message(*ids: str) -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def test_fields_beside_a_call_come_back_beside_it() -> None:
    """Gemini's thought signature stands again where it stood, inside the function too."""
    extras = Extras()
    beside = {"extra_content": {"google": {"thought_signature": "s"}}, "function": {"signature": "t"}}
    extras.remember([_CALL], {"call00001": beside}, [])

    message = extras.attach(_message("call00001"))

    assert message["tool_calls"][0] == {
        "id": "call00001",
        "type": "function",
        "function": {"name": "f", "arguments": "{}", "signature": "t"},
        "extra_content": {"google": {"thought_signature": "s"}},
    }
    assert "reasoning_details" not in message


def test_details_of_a_message_come_back_with_its_calls() -> None:
    """OpenRouter's reasoning_details stand in the message again."""
    extras = Extras()
    extras.remember([_CALL], {}, [{"type": "reasoning.encrypted", "data": "x"}])

    assert extras.attach(_message("call00001"))["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "x"}]


def test_a_call_that_nobody_remembers_stays_as_it_is() -> None:
    """A call of another provider gets nothing."""
    assert Extras().attach(_message("foreign01")) == _message("foreign01")


def test_the_oldest_calls_are_forgotten() -> None:
    """A long conversation does not fill the memory."""
    extras = Extras()
    for number in range(300):
        extras.remember([ToolCall(f"call{number:05}", "f", {})], {f"call{number:05}": {"mark": number}}, [])

    first, last = extras.attach(_message("call00000", "call00299"))["tool_calls"]

    assert "mark" not in first
    assert last["mark"] == 299


@pytest.mark.parametrize(
    ("pieces", "merged"),
    [
        pytest.param([[], []], [], id="none"),
        pytest.param(
            [
                [{"type": "reasoning.text", "index": 0, "text": "so"}],
                [{"type": "reasoning.text", "index": 0, "text": "!"}],
            ],
            [{"type": "reasoning.text", "index": 0, "text": "so!"}],
            id="openrouter-text-in-pieces",
        ),
        pytest.param(
            [[{"type": "t", "index": 0, "text": "a", "format": None}], [{"type": "t", "index": 0, "signature": "s"}]],
            [{"type": "t", "index": 0, "text": "a", "format": None, "signature": "s"}],
            id="openrouter-signature-at-the-end",
        ),
        pytest.param(
            [[{"type": "t", "index": 0, "id": "r1"}], [{"type": "t", "index": 0, "id": None}]],
            [{"type": "t", "index": 0, "id": "r1"}],
            id="null-takes-nothing-away",
        ),
        pytest.param(
            [[{"type": "t", "index": 0, "text": "a"}], [{"type": "t", "index": 1, "text": "b"}]],
            [{"type": "t", "index": 0, "text": "a"}, {"type": "t", "index": 1, "text": "b"}],
            id="two-entries",
        ),
        pytest.param(
            [[{"type": "t", "text": "a"}], [{"type": "t", "text": "b"}]],
            [{"type": "t", "text": "a"}, {"type": "t", "text": "b"}],
            id="without-index-each-is-its-own",
        ),
    ],
)
def test_pieces_of_one_detail_become_one_again(
    pieces: list[list[dict[str, Any]]], merged: list[dict[str, Any]]
) -> None:
    """What a stream cut up is sent back whole."""
    details: list[dict[str, Any]] = []
    for piece in pieces:
        merge_details(details, piece)

    assert details == merged
