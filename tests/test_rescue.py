"""``adapters.rescue``: calls in text, text in calls."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.rescue import finished_calls, read_generation, without_pseudo_tools
from adapters.tool_calls import FinishedCall
from adapters.types import ToolCall

_TOOLS = {"get_weather": {"city": {"type": "string"}}, "lights_off": {}}


@pytest.mark.parametrize(
    ("written", "calls", "text"),
    [
        pytest.param(
            '<function=get_weather={"city": "Oslo"}</function>', [("get_weather", {"city": "Oslo"})], "", id="tag"
        ),
        pytest.param('{"name": "lights_off", "arguments": {}}', [("lights_off", {})], "", id="json"),
        pytest.param("maybe", [], "maybe", id="text"),
        pytest.param('{"name": "open_file", "arguments": {}}', [], "", id="unknown-tool-is-not-spoken"),
        pytest.param("<tool_call>nonsense", [], "", id="garbled-markup-is-not-spoken"),
        pytest.param("", [], "", id="nothing"),
    ],
)
def test_what_a_server_could_not_read(written: str, calls: list[tuple[str, dict[str, Any]]], text: str) -> None:
    """A failed generation is a call of an offered tool, or plain text, or nothing of use."""
    found, said = read_generation(written, _TOOLS)

    assert [(call.tool_call.name, call.tool_call.arguments) for call in found] == calls
    assert said == text


def test_calls_that_were_found_have_ids_of_their_own() -> None:
    """Two equal calls in a text are two calls."""
    found, _ = read_generation(
        '<tool_call>{"name": "lights_off"}</tool_call><tool_call>{"name": "lights_off"}</tool_call>', _TOOLS
    )

    assert len({call.tool_call.id for call in found}) == 2
    assert finished_calls([], _TOOLS) == []


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        pytest.param("answer", {"message": "It rains."}, "It rains.", id="localai-answer"),
        pytest.param("no_tool", {"content": "It rains."}, "It rains.", id="tgi-no-tool"),
        pytest.param("answer", {"message": 1}, "", id="no-sentence"),
        pytest.param("answer", {"message": "a", "tone": "b"}, "", id="two-arguments"),
        pytest.param("open_file", {"path": "x"}, "", id="any-other-tool"),
    ],
)
def test_a_tool_that_means_text_becomes_text(name: str, arguments: dict[str, Any], said: str) -> None:
    """A pseudo tool that nobody offered and that carries a sentence is that sentence."""
    call = FinishedCall(ToolCall("call00001", name, arguments), {})

    assert without_pseudo_tools([call], _TOOLS) == ([] if said else [call], said)


def test_an_offered_tool_is_never_a_pseudo_tool() -> None:
    """An agent may have a tool with the name answer."""
    call = FinishedCall(ToolCall("call00001", "answer", {"message": "It rains."}), {})

    assert without_pseudo_tools([call], {"answer": {}}) == ([call], "")
