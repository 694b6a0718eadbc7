"""``adapters.request.messages``: one message, repaired before it is sent."""

from __future__ import annotations

import copy
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.request.messages import (
    TOOL_IMAGES,
    content_as_text,
    is_empty,
    name_tool_images,
    object_of,
    repair_message,
    text_of,
    without_empty_parts,
)

if TYPE_CHECKING:
    from adapters.types import Message

_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
_CACHED = {"type": "text", "text": "Rules.", "cache_control": {"type": "ephemeral"}}

_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _calling(arguments: Any) -> Message:
    call = {"id": "abcDEF123", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _holding_itself() -> dict[str, Any]:
    knot: dict[str, Any] = {}
    knot["self"] = knot
    return knot


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({"city": "Zürich"}, '{"city": "Zürich"}', id="vllm-Q66-an object"),
        pytest.param('{"city":"Paris"}', '{"city":"Paris"}', id="an object as string stays byte for byte"),
        pytest.param(' {"b": 1,"a":1.0,\n"b": 2} ', ' {"b": 1,"a":1.0,\n"b": 2} ', id="however it is laid out"),
        pytest.param("{'city': 'Paris',}", '{"city": "Paris"}', id="a literal of Python"),
        pytest.param('{"city": "Paris"}<|im_end|>', '{"city": "Paris"}', id="litter behind it"),
        pytest.param('"{\\"city\\": \\"Paris\\"}"', '{"city": "Paris"}', id="encoded twice"),
        pytest.param("", "{}", id="ollama-Q66-empty string"),
        pytest.param(None, "{}", id="None"),
        pytest.param("null", "{}", id="null"),
        pytest.param("[1]", "{}", id="a list as string"),
        pytest.param([1], "{}", id="a list"),
        pytest.param("false", "{}", id="a scalar"),
        pytest.param('{"city": "Par', "{}", id="vllm-Q66-cut off"),
        pytest.param('{"text": "two\nlines"}', '{"text": "two\\nlines"}', id="raw newline"),
        pytest.param('{"x": NaN, "y": 1}', "{}", id="NaN"),
        pytest.param('{"x": 1e999}', '{"x": 1e999}', id="a number too large for us"),
        pytest.param({"when": datetime(2026, 1, 2, tzinfo=UTC)}, '{"when": "2026-01-02 00:00:00+00:00"}', id="a date"),
        pytest.param({(1, 2): 3}, "{}", id="a key that is not a string"),
        pytest.param(_holding_itself(), "{}", id="an object that holds itself"),
        pytest.param('{"x": "\\ud83d\\ude00"}', '{"x": "\\ud83d\\ude00"}', id="an escaped emoji"),
        pytest.param('{"x": "\\ud83d"}', '{"x": "\ufffd"}', id="half an emoji"),
        pytest.param("[" * 100_000, "{}", id="deeply nested"),
    ],
)
def test_arguments(arguments: Any, expected: str) -> None:
    """Any arguments of an agent or a model are sent as a JSON object in a string."""
    assert object_of(arguments) == expected
    assert repair_message(_calling(arguments))["tool_calls"][0]["function"]["arguments"] == expected


@given(_json_values)
def test_arguments_of_any_type(arguments: Any) -> None:
    """Arguments of any type become a strict JSON object, which is not changed again."""
    written = object_of(arguments)

    assert isinstance(json.loads(written, parse_constant=pytest.fail), dict)
    assert object_of(written) == written


@given(st.text(st.characters()))
def test_arguments_of_any_text(arguments: str) -> None:
    """Any text as arguments becomes an object that can be encoded."""
    assert object_of(arguments).encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("12 C", "12 C", id="text"),
        pytest.param(None, "", id="None"),
        pytest.param([], "", id="no parts"),
        pytest.param({"celsius": 12}, '{"celsius": 12}', id="vllm-Q67-an object"),
        pytest.param(12.5, "12.5", id="a number"),
        pytest.param(math.nan, "NaN", id="not a number"),
        pytest.param([{"type": "text", "text": "12 C"}, "dry"], "12 C\ndry", id="tgi-Q67-text parts"),
        pytest.param([{"type": "output_text", "text": "12 C"}], "12 C", id="a part of the responses API"),
        pytest.param([{"text": "row", "score": 1}], '[{"text": "row", "score": 1}]', id="rows that look like parts"),
        pytest.param([1, 2], "[1, 2]", id="a list"),
        pytest.param({1: {2}}, '{"1": "{2}"}', id="values that JSON does not know"),
        pytest.param({(1, 2): 3}, "{(1, 2): 3}", id="keys that JSON does not know"),
        pytest.param("cut \ud83d", "cut \ufffd", id="half an emoji"),
        pytest.param("\ud83d\ude00", "😀", id="an emoji in two halves"),
    ],
)
def test_content_of_a_result(content: Any, expected: str) -> None:
    """The content of a tool message is a string that can be encoded, whatever the tool returned."""
    assert text_of(content) == expected
    assert repair_message({"role": "tool", "content": content})["content"] == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param({"role": "user", "content": None}, {"role": "user", "content": ""}, id="ollama-Q65-user, None"),
        pytest.param({"role": "user", "content": []}, {"role": "user", "content": ""}, id="user, no parts"),
        pytest.param({"role": "system"}, {"role": "system", "content": ""}, id="system, no content"),
        pytest.param(
            {"role": "user", "content": [{"type": "text", "text": "Look."}, _IMAGE]},
            {"role": "user", "content": [{"type": "text", "text": "Look."}, _IMAGE]},
            id="user, text and picture",
        ),
        pytest.param(
            {"role": "user", "content": [{"type": "text", "text": "cut \ud83d"}, _IMAGE, "?"]},
            {"role": "user", "content": [{"type": "text", "text": "cut \ufffd"}, _IMAGE, "?"]},
            id="half an emoji in a part",
        ),
        pytest.param(
            {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
            {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
            id="user, text parts",
        ),
        pytest.param(
            {"role": "system", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
            {"role": "system", "content": "Be\nbrief."},
            id="system, text parts",
        ),
        pytest.param(
            {"role": "system", "content": [_CACHED]},
            {"role": "system", "content": [_CACHED]},
            id="openrouter-system, cached part",
        ),
        pytest.param(
            {"role": "assistant", "content": [{"type": "text", "text": "Hi."}]},
            {"role": "assistant", "content": "Hi."},
            id="assistant, text parts",
        ),
        pytest.param(
            {"role": "assistant", "content": None},
            {"role": "assistant", "content": ""},
            id="ollama-Q65-assistant, None",
        ),
        pytest.param(
            {"role": "assistant", "content": "Hi.", "tool_calls": []},
            {"role": "assistant", "content": "Hi."},
            id="no calls",
        ),
        pytest.param(
            {"role": "assistant", "content": "Hi.", "tool_calls": None, "refusal": None, "function_call": None},
            {"role": "assistant", "content": "Hi."},
            id="groq-keys that are null",
        ),
        pytest.param(
            {"role": "assistant", "content": "Hi.", "reasoning_details": [{"type": "reasoning.text"}]},
            {"role": "assistant", "content": "Hi.", "reasoning_details": [{"type": "reasoning.text"}]},
            id="openrouter-keys that must come back",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": "Hi.",
                "tool_calls": ["?", {"function": None}, {"function": {"name": " "}}],
            },
            {"role": "assistant", "content": "Hi."},
            id="calls that name no tool",
        ),
        pytest.param(
            {"role": "developer", "content": "Be brief."},
            {"role": "system", "content": "Be brief."},
            id="vllm-Q68-developer",
        ),
        pytest.param(
            {"role": "function", "name": "weather", "content": "12 C"},
            {"role": "tool", "name": "weather", "content": "12 C"},
            id="legacy result",
        ),
        pytest.param({"content": "?"}, {"content": "?"}, id="no role"),
        pytest.param(
            {"role": "user", "content": "Hi.", "tool_calls": [{"id": 1}]},
            {"role": "user", "content": "Hi."},
            id="calls of a user",
        ),
        pytest.param(
            {"role": "user", "content": "cut \ud83d"}, {"role": "user", "content": "cut \ufffd"}, id="half an emoji"
        ),
    ],
)
def test_repaired_message(message: Message, expected: Message) -> None:
    """A message gets the form of its role, a repaired one is the same object, and the input is not changed."""
    before = copy.deepcopy(message)

    repaired = repair_message(message)

    assert repaired == expected
    assert repair_message(repaired) is repaired
    assert message == before


def test_calls_without_text() -> None:
    """Beside calls an empty content is None, because text-generation-inference drops calls beside an empty string."""
    assert repair_message({**_calling("{}"), "content": ""})["content"] is None
    assert repair_message({**_calling("{}"), "content": "Let me see."})["content"] == "Let me see."


def test_other_fields_of_a_call() -> None:
    """Unknown fields of a call stay, and a missing ``type`` is added."""
    extra = {"google": {"thought_signature": "c2ln"}}
    call = {"id": "abcDEF123", "function": {"name": "weather"}, "extra_content": extra}

    repaired = repair_message({"role": "assistant", "tool_calls": [call]})

    function = {"name": "weather", "arguments": "{}"}
    assert repaired["tool_calls"] == [
        {"id": "abcDEF123", "type": "function", "function": function, "extra_content": extra}
    ]
    assert call == {"id": "abcDEF123", "function": {"name": "weather"}, "extra_content": extra}


@pytest.mark.parametrize("tool_calls", [pytest.param(None, id="null"), pytest.param([], id="empty")])
def test_legacy_function_call(tool_calls: list[Any] | None) -> None:
    """``function_call``, OpenAI's field until 2023, is sent as ``tool_calls``."""
    legacy = {"name": "weather", "arguments": '{"city": "Paris"}'}

    repaired = repair_message({"role": "assistant", "content": "", "function_call": legacy, "tool_calls": tool_calls})

    assert repaired == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": legacy}],
    }


_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
_TEXT = {"type": "text", "text": "Here:"}


def test_result_with_images() -> None:
    """A result of texts and images stays a list of parts; any other list becomes text."""
    result = {"role": "tool", "tool_call_id": "c", "content": [_TEXT, _IMAGE]}
    other = {"role": "tool", "tool_call_id": "c", "content": [_IMAGE, {"temperature": 3}]}

    assert repair_message(result) is result
    assert repair_message(other)["content"] == json.dumps([_IMAGE, {"temperature": 3}])


@pytest.mark.parametrize(
    ("part", "name"),
    [
        pytest.param(_IMAGE, "[image, image/png]", id="data"),
        pytest.param({"type": "image_url", "image_url": "data:image/jpeg,AAAA"}, "[image, image/jpeg]", id="bare data"),
        pytest.param({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, "[image]", id="address"),
        pytest.param({"type": "image_url", "image_url": {"url": None}}, "[image]", id="nothing"),
    ],
)
def test_images_of_tools_by_name(part: Any, name: str) -> None:
    """For a model without vision an image that a tool returned is its name."""
    result = {"role": "tool", "tool_call_id": "c", "content": [_TEXT, part]}
    behind = {"role": "user", "content": [{"type": "text", "text": TOOL_IMAGES}, part]}

    assert name_tool_images(result) == {**result, "content": f"Here:\n{name}"}
    assert name_tool_images(behind) == {**behind, "content": f"{TOOL_IMAGES}\n{name}"}
    assert result["content"] == [_TEXT, part]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("Hi.", id="text"),
        pytest.param([_TEXT], id="parts-without-images"),
        pytest.param([_TEXT, _IMAGE], id="image-of-the-user"),
        pytest.param([_IMAGE, {"type": "text", "text": TOOL_IMAGES}], id="image-of-the-user-first"),
        pytest.param(None, id="nothing"),
    ],
)
def test_images_of_the_user_stay(content: Any) -> None:
    """The user's own image stays, because an answer that ignores it would be made up."""
    message = {"role": "user", "content": content}

    assert name_tool_images(message) is message


@pytest.mark.parametrize(
    ("message", "content"),
    [
        pytest.param({"role": "user", "content": "Hi."}, "Hi.", id="text"),
        pytest.param({"role": "user", "content": [_TEXT, _TEXT]}, "Here:\nHere:", id="parts"),
        pytest.param({"role": "system", "content": [_CACHED]}, "Rules.", id="marked part"),
        pytest.param({**_calling("{}"), "content": None}, "", id="calls"),
        pytest.param({"role": "tool", "content": [_TEXT, _IMAGE]}, "Here:\n[image, image/png]", id="image of a tool"),
        pytest.param({"role": "user", "content": [_TEXT, _IMAGE]}, [_TEXT, _IMAGE], id="image of the user"),
    ],
)
def test_content_as_text(message: Message, content: Any) -> None:
    """Everything that text can replace becomes text, and a message that is text is the same object."""
    rewritten = content_as_text(message)

    assert rewritten == {**message, "content": content}
    assert content_as_text(rewritten) is rewritten


def test_parts_without_text() -> None:
    """Empty text parts are left out, whatever their marks; a message without any is the same object."""
    blank, cached = {"type": "text", "text": " "}, {**_CACHED, "text": ""}

    assert without_empty_parts({"role": "user", "content": [blank, _TEXT, cached]}) == {
        "role": "user",
        "content": [_TEXT],
    }
    assert without_empty_parts({"role": "user", "content": [blank]}) == {"role": "user", "content": ""}
    for content in ([_TEXT, _IMAGE], "", None):
        message = {"role": "user", "content": content}
        assert without_empty_parts(message) is message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param({"role": "user", "content": " \n"}, True, id="white space"),
        pytest.param({"role": "assistant", "content": None}, True, id="None"),
        pytest.param({"role": "assistant", "content": []}, True, id="no parts"),
        pytest.param({"role": "user", "content": [_IMAGE]}, False, id="image"),
        pytest.param(_calling("{}"), False, id="calls"),
    ],
)
def test_empty_message(message: Message, expected: bool) -> None:
    """A message is empty if it holds neither words nor other parts nor calls."""
    assert is_empty(message) is expected


@pytest.mark.parametrize("keeps_parts", [False, True])
@pytest.mark.parametrize(
    ("content", "is_kept"),
    [
        pytest.param([_CACHED], (True, True), id="mark"),
        pytest.param([_TEXT, _CACHED], (True, True), id="text-and-mark"),
        pytest.param([_TEXT, _IMAGE], (True, True), id="image"),
        pytest.param([_TEXT], (False, True), id="texts"),
        pytest.param([_CACHED, {"row": 1}], (False, False), id="rows"),
        pytest.param([], (False, False), id="empty"),
    ],
)
def test_parts_of_a_result(content: list[Any], is_kept: tuple[bool, bool], keeps_parts: bool) -> None:
    """Parts that text cannot replace stay; texts stay parts for a server that is known to take them."""
    message = {"role": "tool", "tool_call_id": "a", "content": content}

    repaired = repair_message(message, keeps_parts=keeps_parts)

    assert (repaired["content"] is content) == is_kept[keeps_parts]
    assert is_kept[keeps_parts] or repaired["content"] == text_of(content)


_HALF, _REPAIRED = "cut \ud83d", "cut \ufffd"


def test_half_characters_in_any_field() -> None:
    """Half a surrogate pair in a name, an id, reasoning or an unknown field is replaced, else nothing could be sent."""
    call = {"id": _HALF, "type": "function", "function": {"name": _HALF, "arguments": "{}", "signature": [_HALF]}}
    message = {
        "role": "assistant",
        "content": "Hi.",
        "tool_calls": [call],
        "reasoning": _HALF,
        "extra": {_HALF: {"a": _HALF}},
    }

    repaired = repair_message(message)

    assert json.loads(json.dumps(repaired).replace("\\ufffd", "\\ud83d")) == message
    assert json.dumps(repaired, ensure_ascii=False).encode()
    assert repair_message({"role": "user", "name": _HALF, "content": "Hi."})["name"] == _REPAIRED
    assert repair_message(repaired) is repaired
