"""Two demo tools for ``adapters chat`` that need no network; the weather is invented.

They show the second form of tools that ``run_turn`` accepts: JSON schemas, and one function that runs every call.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.types import Json, ToolSpec

DEMO_TOOLS: list[ToolSpec] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Name of the city."},
                    "unit": {
                        "type": "string",
                        "enum": ["c", "f"],
                        "description": "Celsius (the default) or Fahrenheit.",
                    },
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "get_time",
            "description": "Current local date and time.",
            "parameters": {"type": "object", "properties": {}},
        },
    },
]
"""Definitions of the tools, in OpenAI format."""


async def call_demo_tool(name: str, arguments: dict[str, Json]) -> Json:
    """Run one of the demo tools.

    Args:
        name: ``get_weather`` or ``get_time``.
        arguments: Arguments that fit the tool's schema.

    Returns:
        The result, a JSON value.

    Raises:
        LookupError: If there is no such tool.
        TypeError: If an argument is missing or unknown.
        ValueError: If the schema does not allow the value of an argument.
    """
    tools: dict[str, Callable[..., Any]] = {"get_weather": _get_weather, "get_time": _get_time}
    if name not in tools:
        raise LookupError(f"there is no such tool; the tools are {', '.join(tools)}")
    return tools[name](**arguments)


def _get_weather(city: str, unit: str = "c") -> dict[str, Any]:
    if unit not in {"c", "f"}:
        raise ValueError("unit must be c or f")
    return {"city": city, "temperature": 21 if unit == "c" else 70, "unit": unit, "sky": "sunny"}


def _get_time() -> str:
    return f"{datetime.now().astimezone():%A, %d %B %Y, %H:%M}"
