"""Tool calls that arrive as text, in every dialect: returned as calls, and never emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.testing.answers import answer
from adapters.testing.case import CALLING, CHAT_STREAM, STREAM_EVENTS, Success, WireCase
from adapters.testing.cases.common import CALL_TEXT, HISTORY, OSLO, SUNNY, WEATHER, asked_in_plain_words

if TYPE_CHECKING:
    from collections.abc import Iterator


_DIALECTS: tuple[tuple[str, str], ...] = (
    ("hermes-tool-call", f"<tool_call>\n{CALL_TEXT}\n</tool_call>"),
    ("hermes-tool-call-one-line", f"<tool_call>{CALL_TEXT}</tool_call>"),
    ("hermes-tool-call-unclosed", f"<tool_call>\n{CALL_TEXT}"),
    ("hermes-tool-call-parameters", '<tool_call>{"name": "get_weather", "parameters": {"city": "Oslo"}}</tool_call>'),
    ("hermes-tool-call-python", "<tool_call>{'name': 'get_weather', 'arguments': {'city': 'Oslo'}}</tool_call>"),
    (
        "qwen3-coder-xml",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>",
    ),
    ("mistral-tool-calls-list", f"[TOOL_CALLS][{CALL_TEXT}]"),
    ("mistral-tool-calls-space", f"[TOOL_CALLS] [{CALL_TEXT}]"),
    ("mistral-tool-calls-name", '[TOOL_CALLS]get_weather{"city": "Oslo"}'),
    ("mistral-tool-calls-args", '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}'),
    ("llama-function", '<function=get_weather>{"city": "Oslo"}</function>'),
    ("llama-function-sloppy", '<function=get_weather{"city": "Oslo"}</function>'),
    ("llama-function-unclosed", '<function=get_weather>{"city": "Oslo"}'),
    ("llama-python-tag", '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo"}}<|eom_id|>'),
    ("llama-bare-json", '{"name": "get_weather", "parameters": {"city": "Oslo"}}'),
    ("llama-bare-json-typed", '{"type": "function", "name": "get_weather", "parameters": {"city": "Oslo"}}'),
    (
        "clone-bare-json-nested",
        '{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}',
    ),
    ("clone-fenced-json", f"```json\n{CALL_TEXT}\n```"),
    ("lmstudio-tool-request", f"[TOOL_REQUEST]{CALL_TEXT}[END_TOOL_REQUEST]"),
    (
        "deepseek-tool-calls",
        "<{0}tool▁calls▁begin{0}><{0}tool▁call▁begin{0}>function<{0}tool▁sep{0}>get_weather\n```json\n{1}\n```"
        "<{0}tool▁call▁end{0}><{0}tool▁calls▁end{0}>".format("\uff5c", OSLO),  # a bar of full width
    ),
)


def _dialect(name: str, text: str) -> Iterator[WireCase]:
    """Yield the cases of one dialect: as a call, letter by letter as a call, and never emitted."""
    call = Success(calls=(WEATHER,))
    yield WireCase(f"{name}-leaked", "a known call as text is a call", [answer(text)], call, ways=CALLING, tools=True)
    yield WireCase(
        f"{name}-leaked-in-letters",
        "the same, letter by letter",
        [answer(*text)],
        call,
        ways=STREAM_EVENTS,
        tools=True,
    )
    yield WireCase(
        f"{name}-never-emitted",
        "with tools forbidden: asked once more without tools",
        [answer(*text), answer(SUNNY)],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        tools=True,
        messages=HISTORY,
        requests=2,
        saw=asked_in_plain_words,
    )


CASES: Final = tuple(case for name, text in _DIALECTS for case in _dialect(name, text))
