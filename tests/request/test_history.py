"""``adapters.request.history``: a conversation repaired for every server, and rewritten for strict ones."""

from __future__ import annotations

import copy
import itertools
import json
import operator
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.request.history import REWRITES, repair, rewrite_history
from tests.patience import growth

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from adapters.types import Message

_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
_HELLO = {"role": "user", "content": "Hello."}
_STUB = "No result: the call was interrupted."
_MADE_ID, _NEXT_MADE_ID = "wUsajSd2h", "u5EY3Y2lO"  # for calls of weather in Paris


def _call(call_id: Any, name: str = "weather", city: str = "Paris") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps({"city": city})}}


def _calling(*calls: dict[str, Any], content: str | None = None) -> Message:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def _result(call_id: Any, content: str = "12 C", name: str | None = "weather") -> Message:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


def _user(content: Any) -> Message:
    return {"role": "user", "content": content}


def _system(content: Any) -> Message:
    return {"role": "system", "content": content}


def _results(messages: list[Message]) -> list[tuple[str, str, str]]:
    tools = [message for message in messages if message.get("role") == "tool"]
    return [(message["tool_call_id"], message["name"], message["content"]) for message in tools]


_ids = st.sampled_from(["call_1", "call_2", "abcDEF123", "", " ", None, 5])
_names = st.sampled_from(["weather", "time"])
_arguments = st.sampled_from(['{"city": "Paris"}', '{"city":', "", None, "[1]", {"city": "Rome"}])
_call_dicts = st.fixed_dictionaries(
    {"id": _ids, "function": st.fixed_dictionaries({"name": _names, "arguments": _arguments})}
)
_messages = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user"]), "content": st.text(max_size=5)}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none() | st.text(max_size=5)}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none(), "tool_calls": st.lists(_call_dicts, max_size=3)}
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "function_call": _call_dicts.map(lambda call: call["function"])}
    ),
    st.fixed_dictionaries(
        {"role": st.sampled_from(["tool", "function"]), "content": st.text(max_size=5)},
        optional={"tool_call_id": _ids, "name": _names | st.none()},
    ),
)
_histories = st.lists(_messages, max_size=8)


@given(_histories)
def test_calls_and_results_after_a_repair(messages: list[Message]) -> None:
    """Each call has exactly one result, right behind its message and in order; no result is without a call."""
    left = repair(messages)
    while left:
        calls = left.pop(0).get("tool_calls", [])
        results, left = left[: len(calls)], left[len(calls) :]

        assert [result.get("role") for result in results] == ["tool"] * len(calls)
        assert [result["tool_call_id"] for result in results] == [call["id"] for call in calls]
        assert [result["name"] for result in results] == [call["function"]["name"] for call in calls]
        assert not left or left[0].get("role") != "tool"


@given(_histories)
def test_types_after_a_repair(messages: list[Message]) -> None:
    """Ids are unique and not blank, arguments are JSON objects, contents strings, or None beside calls."""
    repaired = repair(messages)

    calls = [call for message in repaired for call in message.get("tool_calls", [])]
    ids = [call["id"] for call in calls]
    assert all(isinstance(call_id, str) and call_id.strip() for call_id in ids)
    assert len(set(ids)) == len(ids)
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    assert all(call["type"] == "function" for call in calls)
    assert all(isinstance(message["content"], str) or message.get("tool_calls") for message in repaired)
    assert not any("function_call" in message or message.get("tool_calls") == [] for message in repaired)


@given(_histories)
def test_repair_is_idempotent(messages: list[Message]) -> None:
    """A repaired history stays as it is, the same input gives the same output, and the input is not changed."""
    before = copy.deepcopy(messages)

    repaired = repair(messages)

    assert all(map(operator.is_, repair(repaired), repaired))
    assert messages == before
    assert repair(messages) == repaired


@given(_histories)
def test_messages_that_a_repair_keeps(messages: list[Message]) -> None:
    """User and assistant messages and all calls stay, in their order."""
    repaired = repair(messages)

    for role in ("user", "assistant"):
        given_texts = [message.get("content") or None for message in messages if message["role"] == role]
        assert [message["content"] or None for message in repaired if message["role"] == role] == given_texts
    given_calls = sum(len(message.get("tool_calls", ())) + ("function_call" in message) for message in messages)
    assert sum(len(message.get("tool_calls", ())) for message in repaired) == given_calls


@given(_histories)
def test_without_tools(messages: list[Message]) -> None:
    """No call, no result and no two user messages in a row are left, and the input is not changed."""
    repaired = repair(messages)
    before = copy.deepcopy(repaired)

    plain = rewrite_history(repaired, ["without_tools"])

    roles = [message["role"] for message in plain]
    assert "tool" not in roles
    assert not any("tool_calls" in message for message in plain)
    if any("tool_calls" in message for message in repaired):
        assert ("user", "user") not in list(itertools.pairwise(roles))
    else:
        assert plain == repaired
    assert repaired == before


@given(_histories)
def test_short_ids(messages: list[Message]) -> None:
    """Each id becomes nine letters or digits, and results still have the ids of their calls."""
    repaired = repair(messages)
    before = copy.deepcopy(repaired)

    short = rewrite_history(repaired, ["short_ids"])

    ids = [call["id"] for message in short for call in message.get("tool_calls", [])]
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)
    assert len(set(ids)) == len(ids)
    assert repair(short) == short
    assert repaired == before


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [_calling(_call("a")), _result("a")],
            [("a", "weather", "12 C")],
            id="whole",
        ),
        pytest.param(
            [_calling(_call("a"))],
            [("a", "weather", _STUB)],
            id="openai-Q64-no result",
        ),
        pytest.param(
            [_calling(_call("a"), _call("b", "time")), _result("b", "noon", "time")],
            [("a", "weather", _STUB), ("b", "time", "noon")],
            id="openai-Q64-one of two results",
        ),
        pytest.param(
            [_calling(_call("a"), _call("b", "time")), _result("b", "noon", "time"), _result("a")],
            [("a", "weather", "12 C"), ("b", "time", "noon")],
            id="results in another order",
        ),
        pytest.param([_result("a")], [], id="openai-Q64-result without a call"),
        pytest.param(
            [_calling(_call("a")), _result("a"), _result("z", name="time")],
            [("a", "weather", "12 C")],
            id="result of a call that is gone",
        ),
        pytest.param(
            [_calling(_call("a")), _result("z")],
            [("a", "weather", "12 C")],
            id="unknown id, name of a waiting call",
        ),
        pytest.param(
            [_calling(_call("a"), _call("b", "time")), _result(None, "noon", "time")],
            [("a", "weather", _STUB), ("b", "time", "noon")],
            id="caal-no id, name of a waiting call",
        ),
        pytest.param(
            [_calling(_call("a"), _call("b")), _result("", "first"), _result(" ", "second")],
            [("a", "weather", "first"), ("b", "weather", "second")],
            id="blank ids, equal names",
        ),
        pytest.param(
            [_calling(_call("a"), _call("b", "time")), _result(None, name=None)],
            [("a", "weather", "12 C"), ("b", "time", _STUB)],
            id="neither id nor name",
        ),
        pytest.param(
            [_calling(_call("a")), _result(None, name="other")],
            [("a", "weather", "12 C")],
            id="no id, name of no call",
        ),
        pytest.param(
            [_calling(_call("a")), _result("z", name=None)],
            [("a", "weather", _STUB)],
            id="unknown id, no name",
        ),
        pytest.param(
            [_calling(_call("a")), _result("a", name=None)],
            [("a", "weather", "12 C")],
            id="ollama-Q67-no name",
        ),
        pytest.param(
            [_calling(_call("a")), _result("a", "still running"), _HELLO, _result("a", "12 C")],
            [("a", "weather", "12 C")],
            id="the outcome after a placeholder",
        ),
        pytest.param(
            [_calling(_call("a")), _HELLO, _calling(_call("a")), _result("a")],
            [("a", "weather", _STUB), (_MADE_ID, "weather", "12 C")],
            id="ids that start anew in every turn, the first interrupted",
        ),
        pytest.param(
            [_calling(_call("a"), _call("a")), _result("a", "first"), _result("a", "second")],
            [("a", "weather", "first"), (_MADE_ID, "weather", "second")],
            id="one id for two calls",
        ),
        pytest.param(
            [_calling(_call(5), _call(7)), _result(7, "seven"), _result(5, "five")],
            [(_MADE_ID, "weather", "five"), (_NEXT_MADE_ID, "weather", "seven")],
            id="ids that are numbers",
        ),
        pytest.param(
            [
                {"role": "assistant", "function_call": {"name": "weather", "arguments": '{"city": "Paris"}'}},
                {"role": "function", "name": "weather", "content": "12 C"},
            ],
            [(_MADE_ID, "weather", "12 C")],
            id="legacy call and result",
        ),
    ],
)
def test_matching_of_results(messages: list[Message], expected: list[tuple[str, str, str]]) -> None:
    """Results are matched by id, name or order; others are dropped, and a call without one gets a placeholder."""
    assert _results(repair(messages)) == expected


def test_late_results() -> None:
    """Results move right behind their calls, before messages that came while the tool ran."""
    first, second = _calling(_call("a"), content="Let me see."), _calling(_call("b", "time"))

    repaired = repair([first, _HELLO, _system("Note."), second, _result("b", "noon", "time"), _result("a")])

    result_a, result_b = _result("a"), _result("b", "noon", "time")
    assert repaired == [first, result_a, _HELLO, _system("Note."), second, result_b]


def test_valid_history() -> None:
    """A history that servers accept is sent as the agent wrote it, with all fields."""
    messages = [
        _system("Be brief."),
        _user([{"type": "text", "text": "Where is this?"}, _IMAGE]),
        {**_calling({**_call("a"), "extra_content": {"google": {}}}), "reasoning_details": [{}]},
        _result("a"),
        {"role": "assistant", "content": "It is 12 C in Paris."},
    ]

    assert all(map(operator.is_, repair(messages), messages))
    assert len(repair(messages)) == len(messages)


def _talk(turns: int, *, result_id: str | None, call_id: str | None, name: str | None) -> list[Message]:
    """Make turns of question, call, result and answer; ``%`` in an id is the number of the turn."""
    talk = []
    for turn in range(turns):
        call = {**_call(call_id and call_id.replace("%", str(turn))), "extra_content": {"turn": turn}}
        result = _result(result_id and result_id.replace("%", str(turn)), name=name)
        talk += [
            _user(f"How warm is it on day {turn}?"),
            _calling(call),
            result,
            {"role": "assistant", "content": "12"},
        ]
    return talk


@pytest.mark.parametrize(
    ("call_id", "result_id", "name"),
    [
        pytest.param("call_%", "call_%", "weather", id="whole"),
        pytest.param("call_%", "call_%", None, id="no names"),
        pytest.param("call_0", "call_0", "weather", id="one id for all"),
        pytest.param("call_%", None, "weather", id="results without ids"),
        pytest.param("call_%", None, None, id="results without anything"),
        pytest.param(None, None, "weather", id="no ids at all"),
        pytest.param("call_%", "other_%", "weather", id="ids of others"),
        pytest.param("call_%", "other_%", "other", id="results of others"),
    ],
)
def test_cost_of_a_longer_history(call_id: str | None, result_id: str | None, name: str | None) -> None:
    """Twice the history costs about twice as much, however its ids and names match."""

    def mending(turns: int) -> Callable[[], object]:
        talk = _talk(turns, call_id=call_id, result_id=result_id, name=name)
        late = [message for message in talk if message["role"] != "tool"] + [m for m in talk if m["role"] == "tool"]
        return lambda: (repair(talk), repair(late))

    assert growth(mending(75), mending(300), 10) < 10  # 4 times if it is linear, 16 times if it is not


def test_cost_of_a_repair() -> None:
    """The number of function calls for each message of a history is bounded."""
    talk = _talk(100, call_id="call_%", result_id="call_%", name="weather")
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        repair(talk)
    finally:
        sys.setprofile(None)

    assert 1 < calls / len(talk) < 60


def test_made_ids_in_the_next_request() -> None:
    """A call without an id gets the same id in each request, so that the server's prefix cache still applies."""
    messages = [_calling(_call("")), _result("")]

    assert repair([*messages, _HELLO, _calling(_call(None, "time"))])[:2] == repair(messages)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [_system("Be brief."), _system(""), {"role": "developer", "content": "Be kind."}, _HELLO],
            [_system("Be brief.\n\nBe kind."), _HELLO],
            id="vllm-Q68-several in front",
        ),
        pytest.param(
            [_system("Be brief."), _result("a"), _system("Be kind."), _HELLO],
            [_system("Be brief.\n\nBe kind."), _HELLO],
            id="a dropped result between them",
        ),
        pytest.param([_HELLO, _system("a"), _system("b")], [_HELLO, _system("a"), _system("b")], id="later ones"),
        pytest.param(
            [_system([{"type": "text", "text": "a", "cache_control": {}}]), _system("b")],
            [_system([{"type": "text", "text": "a", "cache_control": {}}]), _system("b")],
            id="parts with a mark",
        ),
        pytest.param([], [], id="nothing"),
    ],
)
def test_leading_system_messages(messages: list[Message], expected: list[Message]) -> None:
    """System messages at the start are joined by a blank line, unless they hold parts."""
    assert repair(messages) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [_user("How warm?"), _calling(_call("a")), _result("a")],
            [_user("How warm?\n\nResult of weather (city: Paris): 12 C")],
            id="a call without text",
        ),
        pytest.param(
            [_user("How warm?"), _calling(_call("a"), content="Let me see."), _result("a")],
            [
                _user("How warm?"),
                {"role": "assistant", "content": "Let me see."},
                _user("Result of weather (city: Paris): 12 C"),
            ],
            id="a call with text",
        ),
        pytest.param(
            [_calling(_call("a"), _call("b", city="Rome")), _result("a"), _result("b", "20 C")],
            [_user("Result of weather (city: Paris): 12 C\n\nResult of weather (city: Rome): 20 C")],
            id="two calls of one tool",
        ),
        pytest.param(
            [
                _calling({"id": "a", "type": "function", "function": {"name": "time", "arguments": "{}"}}),
                _result("a", "noon", "time"),
            ],
            [_user("Result of time: noon")],
            id="no arguments",
        ),
        pytest.param(
            [
                _calling({**_call("a"), "function": {"name": "find", "arguments": '{"tags": ["a", "b"], "max": 2}'}}),
                _result("a", "none", "find"),
            ],
            [_user('Result of find (tags: ["a", "b"], max: 2): none')],
            id="arguments that are not text",
        ),
        pytest.param(
            [_calling(_call("a")), _result("a"), _user([_IMAGE])],
            [_user([{"type": "text", "text": "Result of weather (city: Paris): 12 C"}, _IMAGE])],
            id="a picture after the result",
        ),
        pytest.param(
            [_user([_IMAGE]), _calling(_call("a")), _result("a")],
            [_user([_IMAGE, {"type": "text", "text": "Result of weather (city: Paris): 12 C"}])],
            id="a picture before the call",
        ),
        pytest.param(
            [_system("Be brief."), _HELLO, {"role": "assistant", "content": "Hi."}],
            [_system("Be brief."), _HELLO, {"role": "assistant", "content": "Hi."}],
            id="no tools",
        ),
    ],
)
def test_calls_and_results_as_text(messages: list[Message], expected: list[Message]) -> None:
    """Calls are left out, and results become user messages that name their call."""
    assert rewrite_history(repair(messages), ["without_tools"]) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [_system("Be brief."), _HELLO, _system("Greet the user.")],
            [_system("Be brief."), _user("Hello.\n\nSystem: Greet the user.")],
            id="qwen-Q68-after the user",
        ),
        pytest.param(
            [_HELLO, {"role": "assistant", "content": "Hi."}, _system([{"type": "text", "text": "Be kind."}])],
            [_HELLO, {"role": "assistant", "content": "Hi."}, _user("System: Be kind.")],
            id="as parts, none in front",
        ),
        pytest.param([], [], id="nothing"),
    ],
)
def test_later_system_messages(messages: list[Message], expected: list[Message]) -> None:
    """Only the first message may be a system message; later ones become user messages, merged with their neighbours."""
    before = copy.deepcopy(messages)

    assert rewrite_history(messages, ["systems_first"]) == expected
    assert messages == before


def test_model_without_a_system_role() -> None:
    """The first system message becomes a user message as well."""
    messages = [_system("Be brief."), _HELLO, {"role": "assistant", "content": "Hi."}]

    expected = [_user("System: Be brief.\n\nHello."), {"role": "assistant", "content": "Hi."}]
    assert rewrite_history(messages, ["no_system"]) == expected


def test_short_ids_in_a_longer_history() -> None:
    """A call has the same short id in each request, and an id that is short already stays."""
    call, result = _calling(_call("call_1"), _call("abcDEF123")), [_result("call_1"), _result("abcDEF123")]
    messages = [call, *result]

    short = rewrite_history(messages, ["short_ids"])

    assert [call["id"] for call in short[0]["tool_calls"]] == ["HHxOXUZex", "abcDEF123"]
    assert [message["tool_call_id"] for message in short[1:]] == ["HHxOXUZex", "abcDEF123"]
    assert (
        rewrite_history([_HELLO, *messages, _calling(_call("call_2")), _result("call_2")], ["short_ids"])[1:4] == short
    )


def test_short_id_that_is_taken() -> None:
    """An id whose short form is the id of another call gets a different one."""
    messages = [_calling(_call("call_1"), _call("HHxOXUZex")), _result("call_1"), _result("HHxOXUZex")]

    made, kept = (call["id"] for call in rewrite_history(messages, ["short_ids"])[0]["tool_calls"])

    assert kept == "HHxOXUZex"
    assert made != kept


def test_result_with_images_in_words() -> None:
    """Without tools, a result with images becomes a user message with these images."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": "Hall"}, image]
    history = repair([_calling(_call("a")), {"role": "tool", "tool_call_id": "a", "content": content}])

    [message] = rewrite_history(history, ["without_tools"])

    assert message["role"] == "user"
    assert message["content"] == [{"type": "text", "text": "Result of weather (city: Paris):"}, *content]


_ASSISTANT = {"role": "assistant", "content": "Hi."}
_CALLS, _TWELVE = _calling(_call("a")), _result("a")


@pytest.mark.parametrize(
    ("rewrite", "messages", "expected"),
    [
        pytest.param(
            "assistant_after_tools",
            [_HELLO, _CALLS, _TWELVE, _user("Stop.")],
            [_HELLO, _CALLS, _TWELVE, {"role": "assistant", "content": "OK."}, _user("Stop.")],
            id="mistral-user-who-interrupts",
        ),
        pytest.param(
            "assistant_after_tools",
            [_CALLS, _TWELVE, _ASSISTANT, _HELLO, _CALLS, _TWELVE],
            [_CALLS, _TWELVE, _ASSISTANT, _HELLO, _CALLS, _TWELVE],
            id="mistral-nothing-to-do",
        ),
        pytest.param(
            "alternating_roles",
            [
                _system("Be brief."),
                _HELLO,
                _user("Are you there?"),
                _ASSISTANT,
                {"role": "assistant", "content": "Yes?"},
            ],
            [
                _system("Be brief."),
                _user("Hello.\n\nAre you there?"),
                {"role": "assistant", "content": "Hi.\n\nYes?"},
            ],
            id="ministral-equal-roles",
        ),
        pytest.param(
            "alternating_roles",
            [_system("Be brief."), _ASSISTANT, _HELLO],
            [_system("Be brief."), _user("."), _ASSISTANT, _HELLO],
            id="gemma-greeting",
        ),
        pytest.param(
            "alternating_roles",
            [_HELLO, _ASSISTANT, _CALLS, _TWELVE, _system("Hurry."), _user("Stop.")],
            [
                _HELLO,
                {**_CALLS, "content": "Hi."},
                _TWELVE,
                {"role": "assistant", "content": "OK."},
                _user("System: Hurry.\n\nStop."),
            ],
            id="ministral-all-of-it",
        ),
        pytest.param(
            "alternating_roles",
            [
                {**_HELLO, "name": "Anna"},
                {**_HELLO, "name": "Bob"},
                {**_ASSISTANT, "reasoning": "a", "reasoning_details": [1], "x": 1},
                {**_CALLS, "content": "", "reasoning": "b", "reasoning_details": [2]},
                _TWELVE,
            ],
            [
                _user("Hello.\n\nHello."),
                {
                    **_CALLS,
                    "content": "Hi.",
                    "reasoning": "a\n\nb",
                    "reasoning_details": [1, 2],
                    "x": 1,
                },
                _TWELVE,
            ],
            id="ministral-other-fields",
        ),
        pytest.param(
            "user_first",
            [_system("Greet.")],
            [_system("Greet."), _user(".")],
            id="qwen-system-alone",
        ),
        pytest.param("user_first", [_CALLS, _TWELVE], [_user("."), _CALLS, _TWELVE], id="bedrock-window"),
        pytest.param(
            "user_last", [_HELLO, _ASSISTANT], [_HELLO, _ASSISTANT, _user("Continue.")], id="claude-assistant"
        ),
        pytest.param("user_last", [_HELLO, _CALLS, _TWELVE], [_HELLO, _CALLS, _TWELVE], id="claude-tool"),
        pytest.param(
            "user_last", [_HELLO, _ASSISTANT, _system("Ask.")], [_HELLO, _ASSISTANT, _user("System: Ask.")], id="system"
        ),
        pytest.param("user_last", [_system("Ask.")], [_system("Ask."), _user("Continue.")], id="system-alone"),
        pytest.param(
            "reasoning_beside_calls",
            [_ASSISTANT, _CALLS, _TWELVE, {**_CALLS, "reasoning": "Hm."}, {**_CALLS, "reasoning_content": "So."}],
            [
                _ASSISTANT,
                {**_CALLS, "reasoning_content": ""},
                _TWELVE,
                {**_CALLS, "reasoning": "Hm.", "reasoning_content": "Hm."},
                {**_CALLS, "reasoning_content": "So."},
            ],
            id="kimi",
        ),
        pytest.param(
            "reasoning_everywhere",
            [_HELLO, {**_ASSISTANT, "reasoning": [1]}, _CALLS, _TWELVE],
            [
                _HELLO,
                {**_ASSISTANT, "reasoning": [1], "reasoning_content": ""},
                {**_CALLS, "reasoning_content": ""},
                _TWELVE,
            ],
            id="deepseek",
        ),
        pytest.param(
            "text_content",
            [_user([{"type": "text", "text": "a"}]), _CALLS, {**_TWELVE, "content": [_IMAGE]}],
            [_user("a"), {**_CALLS, "content": ""}, {**_TWELVE, "content": "[image, image/png]"}],
            id="groq-text",
        ),
        pytest.param(
            "no_empty_messages",
            [_HELLO, {"role": "assistant", "content": ""}, _user(" "), _CALLS, {**_TWELVE, "content": ""}, _ASSISTANT],
            [_HELLO, _CALLS, {**_TWELVE, "content": "(no output)"}, _ASSISTANT],
            id="anthropic-empty",
        ),
        pytest.param("no_empty_messages", [_user("")], [_user(".")], id="nothing-but-empty"),
    ],
)
def test_rewrite(rewrite: Any, messages: list[Message], expected: list[Message]) -> None:
    """A history gets the shape that a server insists on, and the input is not changed."""
    before = copy.deepcopy(messages)

    assert rewrite_history(messages, [rewrite]) == expected
    assert messages == before
    assert rewrite_history([], [rewrite]) == []


_words = st.text("abc", min_size=1, max_size=4)
_contents = (
    _words
    | st.just("")
    | st.lists(
        st.fixed_dictionaries({"type": st.just("text"), "text": _words | st.just("")}) | st.just(_IMAGE),
        min_size=1,
        max_size=3,
    )
)
_spoken = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": _contents}),
        st.fixed_dictionaries({"role": st.just("assistant"), "content": _words, "reasoning": _words}),
        st.fixed_dictionaries(
            {
                "role": st.just("assistant"),
                "content": st.none(),
                "tool_calls": st.lists(_call_dicts, min_size=1, max_size=2),
            }
        ),
        st.fixed_dictionaries({"role": st.just("tool"), "content": _contents, "tool_call_id": _ids}),
    ),
    min_size=1,
    max_size=7,
)


def _all_words(messages: list[Message]) -> list[str]:
    """List all words of a history."""
    texts = []
    for message in messages:
        content = message["content"]
        texts += [content or ""] if not isinstance(content, list) else [part.get("text", "") for part in content]
        texts.append(message.get("reasoning") or "")
    return sorted(word for text in texts for word in text.replace("System:", "").split())


def _calls_and_results(messages: list[Message]) -> list[tuple[int, bool]]:
    """List the number of calls of each message, and whether their results follow it."""
    found = []
    for index, message in enumerate(messages):
        if calls := message.get("tool_calls"):
            behind = messages[index + 1 : index + 1 + len(calls)]
            found.append(
                (len(calls), [result.get("tool_call_id") for result in behind] == [call["id"] for call in calls])
            )
    assert sum(count for count, _ in found) == sum(message["role"] == "tool" for message in messages)
    return found


@given(_spoken, st.sets(st.sampled_from(sorted(REWRITES))))
def test_rewrites_together(messages: list[Message], rewrites: set[Any]) -> None:
    """In any combination no word is lost, results stay behind their calls, and every shape holds in the end."""
    history = repair(messages)
    assume(history)

    rewritten = rewrite_history(history, rewrites)

    for rewrite in rewrites:
        assert REWRITES[rewrite](rewritten) == rewritten, rewrite
    lost = [word for word in _all_words(history) if word not in " ".join(_all_words(rewritten))]
    assert lost == []
    assert "without_tools" in rewrites or _calls_and_results(rewritten) == _calls_and_results(history)
    roles = [message["role"] for message in rewritten]
    pairs = set(itertools.pairwise(roles))
    if "alternating_roles" in rewrites:
        assert not pairs & {("user", "user"), ("assistant", "assistant"), ("tool", "user")}
        assert roles[0] == "user" or roles[:2] == ["system", "user"] or roles == ["system"]
    if "assistant_after_tools" in rewrites:
        assert ("tool", "user") not in pairs
    if "user_last" in rewrites:
        assert roles[-1] in ("user", "tool")
    if "text_content" in rewrites:
        images = [message for message in rewritten if not isinstance(message["content"], str)]
        assert all(message["role"] != "tool" and _IMAGE in message["content"] for message in images)
