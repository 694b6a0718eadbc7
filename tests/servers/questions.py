"""What the servers are asked while they are recorded: words that the demo model, the stand-in and real models know."""

from __future__ import annotations

from typing import Any

Messages = list[dict[str, Any]]


def user(text: str) -> Messages:
    """Start a conversation."""
    return [{"role": "user", "content": text}]


HELLO = user("Hello!")
ONE_CITY = user("What is the weather in Paris?")
TWO_CITIES = user("What is the weather in Paris and in London? Ask for both at once.")
TOO_LONG = user("word " * 1000)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tell the weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
