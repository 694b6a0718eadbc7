"""What the schemas of the offered tools say about the name and the arguments of a call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from adapters._arguments import read_arguments

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Tools: TypeAlias = "Mapping[str, Mapping[str, Any]]"
"""The offered tools: name -> JSON schema of each parameter, ``{"get_weather": {"city": {"type": "string"}}}``."""

_NAMESPACE = re.compile(r"^(?:functions?|tools?|default_api)[.:/]\s*")
_LITTER = re.compile(r"<\|.*$|:\d+$", re.DOTALL)  # harmony's channel marks, Kimi's counter
_WRAPPERS = ("arguments", "parameters", "args", "params", "input")
_BESIDE_WRAPPED = ("name", "tool_name", "function_name", "tool", "function", "id", "type")


def takes_none(name: str, tools: Tools) -> bool:
    """Whether a tool is known to have no parameters."""
    return name in tools and not tools[name]


def may_take(name: str, arguments: Mapping[str, Any], tools: Tools) -> bool:
    """Whether arguments may be meant for a tool: it is unknown, it has one of them, or there are none."""
    parameters = tools.get(name)
    return parameters is None or not arguments or not parameters.keys().isdisjoint(arguments)


def unwrapped(name: str, arguments: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """Take arguments out of ``{"arguments": {…}}`` or ``{"name": …, "parameters": {…}}``.

    They are only wrapped if the tool has no such parameter and knows all names that are inside.
    """
    parameters = tools.get(name)
    wrapper = next((key for key in arguments if key in _WRAPPERS), None)
    if parameters is None or wrapper is None or wrapper in parameters:
        return arguments
    beside = {key: value for key, value in arguments.items() if key != wrapper}
    if any(key not in _BESIDE_WRAPPED or (key in parameters and beside[key] != name) for key in beside):
        return arguments
    inner, error = read_arguments(arguments[wrapper])
    return arguments if error or not inner.keys() <= parameters.keys() else inner


def clean_name(name: str, tool_names: Collection[str] = ()) -> str:
    """Strip white space and what models put around a name (``functions.``, channel marks, counters)."""
    name = name.strip().strip("\"'`").strip()
    if name in tool_names:
        return name
    bare = _LITTER.sub("", _NAMESPACE.sub("", name)).strip()
    if bare in tool_names or "." not in bare:
        return bare
    last = bare.rsplit(".", 1)[-1]
    return last if last in tool_names else bare
