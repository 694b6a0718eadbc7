"""``adapters.request.provider_fields``: the memory for agents that keep id, name and arguments of a call alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.request.provider_fields import ProviderFieldsMemory
from adapters.types import ToolCall

if TYPE_CHECKING:
    from adapters.types import Message

_ASKED: list[Message] = [{"role": "user", "content": "How warm is it?"}]
_FIELDS = {"message": {"reasoning_content": "Hm."}, "call": {"signature": "s"}, "function": {"mark": "m"}}


def _call(
    call_id: str = "f:0", arguments: dict[str, Any] | None = None, fields: dict[str, Any] | None = None
) -> ToolCall:
    return ToolCall(call_id, "f", arguments or {}, provider_fields=_FIELDS if fields is None else fields)


def _message(*calls: ToolCall, **extra: Any) -> Message:
    """A message of calls as an agent writes it by hand."""
    plain = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
        for call in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": plain, **extra}


def test_fields_come_back_where_they_were() -> None:
    """Message, call and function get their own fields, and what the caller gave is not changed."""
    memory = ProviderFieldsMemory()
    memory.remember(_ASKED, [_call("a"), _call("b", fields={"call": {"signature": "t"}})])
    history = [*_ASKED, _message(_call("a"), _call("b")), {"role": "tool", "tool_call_id": "a", "content": "12 C"}]
    before = json.dumps(history)

    restored = memory.restore(history)

    function = {"name": "f", "arguments": "{}"}
    assert restored[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {**function, "mark": "m"}, "signature": "s"},
            {"id": "b", "type": "function", "function": function, "signature": "t"},
        ],
        "reasoning_content": "Hm.",
    }
    assert json.dumps(history) == before
    assert (restored[0], restored[2]) == (history[0], history[2])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param(_ASKED, _message(_call("f:1")), id="another id"),
        pytest.param(_ASKED, _message(_call(arguments={"city": "Rome"})), id="other arguments"),
        pytest.param([{"role": "user", "content": "How cold is it?"}], _message(_call()), id="another question"),
        pytest.param(
            [{"role": "system", "content": "It is Bob."}, *_ASKED], _message(_call()), id="other instructions"
        ),
        pytest.param(_ASKED[:0], _message(_call()), id="trimmed"),
        pytest.param(_ASKED, _message(_call(), reasoning=""), id="a message with fields of its own"),
        pytest.param(_ASKED, {"role": "assistant", "tool_calls": "f"}, id="no calls"),
        pytest.param(_ASKED, {"role": "assistant", "tool_calls": ["f"]}, id="a call that is none"),
        pytest.param(_ASKED, {"role": "assistant", "tool_calls": [{"id": "f:0"}]}, id="a call of nothing"),
    ],
)
def test_another_call_gets_nothing(asked: list[Message], message: Message) -> None:
    """Any difference to the call that is remembered, or to what was said before it, leaves a message as it is."""
    memory = ProviderFieldsMemory()
    memory.remember(_ASKED, [_call()])

    assert memory.restore([*asked, message])[-1] is message


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([*_ASKED, {"role": "assistant", "content": "Let me see."}], id="words of the same answer"),
        pytest.param([{"role": "user", "content": [{"type": "text", "text": "How warm is it?"}]}], id="text in a part"),
    ],
)
def test_the_same_conversation_written_otherwise(history: list[Message]) -> None:
    """An agent may write the words of the answer in a message of its own, and texts as parts."""
    memory = ProviderFieldsMemory()
    memory.remember(_ASKED, [_call(arguments={"a": 1, "b": "ü"})])
    message = _message(_call(arguments={"b": "ü", "a": 1}))

    assert memory.restore([*history, message])[-1]["reasoning_content"] == "Hm."


@pytest.mark.parametrize("fields", [{"message": {"reasoning_content": "Ah."}}, {}], ids=["other fields", "no fields"])
@pytest.mark.parametrize("comes_first", [True, False])
def test_equal_calls_with_different_fields(fields: dict[str, Any], comes_first: bool) -> None:
    """Where the same call came with two different values, it goes back without any, however often they come again."""
    memory = ProviderFieldsMemory()
    calls = [_call(), _call(fields=fields)]
    for call in [*(calls if comes_first else reversed(calls)), _call()]:
        memory.remember(_ASKED, [call])
    memory.remember(_ASKED, [_call("f:1")])

    first, second = memory.restore([*_ASKED, _message(_call()), _message(_call("f:1"))])[1:]

    assert first == _message(_call())
    assert second["reasoning_content"] == "Hm."


def test_equal_calls_with_equal_fields() -> None:
    """The same value twice is one value."""
    memory = ProviderFieldsMemory()
    memory.remember(_ASKED, [_call()])
    memory.remember(_ASKED, [_call()])

    assert memory.restore([*_ASKED, _message(_call())])[1]["reasoning_content"] == "Hm."


def test_the_oldest_calls_are_forgotten() -> None:
    """The number of calls is bounded."""
    memory = ProviderFieldsMemory()
    for number in range(4097):
        memory.remember(_ASKED, [_call(f"f:{number}")])

    oldest, latest = memory.restore([*_ASKED, _message(_call("f:0")), _message(_call("f:4096"))])[1:]

    assert "reasoning_content" not in oldest
    assert latest["reasoning_content"] == "Hm."


def test_long_thoughts_are_forgotten_sooner() -> None:
    """The size of what is remembered is bounded, calls that are remembered again count once."""
    memory = ProviderFieldsMemory()
    thought = {"message": {"reasoning": "x" * 4_000_000}}
    for number in (0, 1, 1, 1, 1, 2):
        memory.remember(_ASKED, [_call(f"f:{number}", fields=thought)])
    held = [memory.restore([*_ASKED, _message(_call(f"f:{number}"))])[1] for number in range(3)]
    memory.remember(_ASKED, [_call("f:3", fields=thought)])
    later = [memory.restore([*_ASKED, _message(_call(f"f:{number}"))])[1] for number in range(4)]

    assert ["reasoning" in message for message in held] == [True, True, True]
    assert ["reasoning" in message for message in later] == [False, True, True, True]


_WORDS = st.sampled_from(["Hi", "", "How warm?", "Ünïcödé \ud83d"])
_TALK = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": _WORDS}),
    min_size=1,
    max_size=3,
)


@given(
    st.lists(st.tuples(_TALK, st.sampled_from(["f:0", "f:1"]), st.sampled_from([{}, {"city": "Rome"}])), max_size=12)
)
def test_fields_never_change_conversations(asked: list[tuple[list[Message], str, dict[str, Any]]]) -> None:
    """Whatever conversations are remembered, a restored field is of a call behind the very same words."""
    memory = ProviderFieldsMemory()
    for number, (messages, call_id, arguments) in enumerate(asked):
        memory.remember(messages, [_call(call_id, arguments, {"message": {"thought": number}})])

    def essence(messages: list[Message]) -> list[tuple[str, str]]:
        while messages and messages[-1]["role"] == "assistant":
            messages = messages[:-1]
        return [(message["role"], message["content"]) for message in messages]

    for messages, call_id, arguments in asked:
        restored = memory.restore([*messages, _message(_call(call_id, arguments))])[-1]
        same = [
            number
            for number, (other, other_id, other_arguments) in enumerate(asked)
            if (essence(other), other_id, other_arguments) == (essence(messages), call_id, arguments)
        ]
        assert restored.get("thought") == (same[0] if len(same) == 1 else None)
