"""The same tools are sent as the same bytes, whatever order they come in; other tools are never replaced by them."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.request.tool_order import ToolOrder


def _tool_name(tool: Any) -> str:
    return str(tool["function"]["name"])


_SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab", max_size=2)
_VALUES = st.recursive(
    _SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "type"]), part, max_size=3),
    max_leaves=6,
)
_TOOLS = st.lists(
    st.builds(
        lambda name, required, properties, rest: {
            "type": "function",
            "function": {"name": name, "parameters": {"required": required, "properties": properties}, **rest},
        },
        st.sampled_from("fghi"),
        st.lists(st.sampled_from("xyz"), unique=True),
        st.dictionaries(st.sampled_from("xyz"), _VALUES),
        st.dictionaries(st.just("strict"), st.booleans()),
    ),
    max_size=4,
    unique_by=_tool_name,
)


def _shuffled(value: Any, draw: st.DataObject, keyword: str = "") -> Any:
    """Return a value in another order: of keys, of lists that have none, and those as sets, too."""
    if isinstance(value, dict):
        return {key: _shuffled(value[key], draw, key) for key in draw.draw(st.permutations(list(value)))}
    if isinstance(value, list) and keyword == "required":
        return draw.draw(st.sampled_from([set(value), draw.draw(st.permutations(value))]))
    return [_shuffled(part, draw) for part in value] if isinstance(value, list) else value


@given(tools=_TOOLS, data=st.data())
def test_order_and_bytes_are_kept(tools: list[Any], data: st.DataObject) -> None:
    """Only the first request decides; and what it sent is what the caller gave."""
    order = ToolOrder()
    first = json.dumps(order.settle(tools))
    assert first == json.dumps(tools)
    for _ in range(3):
        again = _shuffled(data.draw(st.permutations(tools)), data)
        before = copy.deepcopy(again)
        assert json.dumps(order.settle(again)) == first
        assert again == before


@given(first=_TOOLS, second=_TOOLS)
def test_other_tools_are_sent_as_they_are(first: list[Any], second: list[Any]) -> None:
    """Tools that are not equal but for their order replace the former ones."""
    order = ToolOrder()
    order.settle(first)
    sent = order.settle(second)
    assert sorted(map(_key, sent)) == sorted(map(_key, second))


def _key(tool: Any) -> str:
    function = tool["function"]
    parameters = function["parameters"] | {"required": sorted(function["parameters"]["required"])}
    return (
        json.dumps({**tool, "function": {**function, "parameters": parameters}}, sort_keys=True)
        .replace("true", "1")
        .replace("false", "0")
    )


def test_sets_and_tools_without_a_function() -> None:
    """Sets become sorted lists; anything else is the server's to judge."""
    order = ToolOrder()
    tools: list[Any] = [{"type": "web_search", "domains": {"b", "a"}}, {"type": "web_search", "domains": [{"c"}, 1]}]
    assert order.settle(tools) == [
        {"type": "web_search", "domains": ["a", "b"]},
        {"type": "web_search", "domains": [["c"], 1]},
    ]
    assert order.settle([*reversed(tools)]) == order.settle(tools)
    assert order.settle([tools[0], tools[0]])[0]["domains"] == ["a", "b"]


def test_bounded_memory() -> None:
    """The oldest set of tools is forgotten."""
    order = ToolOrder()
    for number in range(40):
        order.settle([{"type": "function", "function": {"name": str(number)}}])
    reordered = {"function": {"name": "0"}, "type": "function"}
    assert list(order.settle([reordered])[0]) == ["function", "type"]
