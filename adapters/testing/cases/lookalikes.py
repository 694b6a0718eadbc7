"""Text that only looks like markup or a tool call: emitted as it is, and as soon as that is certain."""

from __future__ import annotations

from typing import Final

from adapters.testing.answers import SSE_HEAD, answer, event, http_chunk, said
from adapters.testing.case import ALL, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import CALL_TEXT

_MARKED_CALL = f"<tool_call>{CALL_TEXT}</tool_call>"

_SCHEMA = '{"type": "object", "properties": {"city": {"type": "string"}}}'

_LOOKALIKES: tuple[tuple[str, str], ...] = (
    ("third-way", "a <third way"),
    ("less-than", "1 < 2 and 3 <4"),
    ("lone-angle-at-end", "one <"),
    ("tool-at-end", "one <tool"),
    ("bracket", "[see TOOLS] and [TOO"),
    ("html", "use <b>bold</b> or <function>"),
    ("pipe", "a <| b |> c"),
    ("json-answer", '{"answer": 42, "name": "Bob"}'),
    ("json-of-no-tool", '{"name": "Bob", "parameters": {"age": 42}}'),
    ("json-call-inside-text", f"Send {CALL_TEXT} to it."),
    ("json-list", "[1, 2, 3]"),
    ("json-unclosed", '{"name": '),
    ("fenced-code", '```python\nprint({"name": 1})\n```'),
    ("brace", "{curly} words"),
)

_TALK: tuple[tuple[str, str], ...] = (
    ("status-of-a-tool", 'Done.\n{"tool": "lights_off", "status": "ok"}'),
    ("result-of-a-tool", '{"name": "get_weather", "result": {"city": "Oslo", "degrees": 12}}'),
    ("call-and-result", '{"name": "lights_off", "arguments": {}, "result": "ok"}'),
    ("name-of-a-tool", '{"name": "lights_off"}'),
    ("tool-as-key", '{"lights_off": {}}'),
    ("unknown-argument", '{"name": "lights_off", "arguments": {"room": "kitchen"}}'),
    ("definition", f'{{"name": "get_weather", "description": "Weather in a city.", "parameters": {_SCHEMA}}}'),
    ("short-definition", '{"name": "get_weather", "parameters": {"city": {"type": "string"}}}'),
    ("call-in-backticks", f"It sends `{CALL_TEXT}`"),
    ("call-in-backticks-and-words", f"With `{CALL_TEXT}` it asks."),
    ("marked-call-in-backticks", f"It sends `{_MARKED_CALL}` then."),
    ("marked-call-in-quotes", f'It sends "{_MARKED_CALL}" then.'),
    ("example-in-a-fence", f"So:\n```json\n{CALL_TEXT}\n```\nThat asks for the weather."),
    ("mark-in-backticks", "The `<|python_tag|>` token begins code, `<think>` begins thoughts."),
    ("mark-in-a-fence", "So:\n```\n<think>\n[TOOL_CALLS] []\n</think>\n```\nThat is all."),
    ("call-in-a-program", '```python\nx = 1\nget_weather(city="Oslo")\n```'),
    ("marks-in-a-sentence", "Put it between <tool_call> and </tool_call> tags."),
    ("closer-in-quotes", 'It ends with "</tool_call>".'),
    ("word-at-the-start-of-a-line", "Two marks:\n<tool_call> opens a call,\n</tool_call> closes it."),
    ("turn-end-in-a-sentence", "The <|im_end|> token ends a turn."),
    ("thoughts-at-the-start-of-a-line", "Two marks:\n<think> opens it.\n</think> closes it."),
)

CASES: Final = (
    *[
        WireCase(
            f"looks-like-a-call-{name}",
            "text that only looks like a call is text",
            [answer(*text)],
            Success(text=text),
            ways=ALL,
            tools=True,
        )
        for name, text in _LOOKALIKES
    ],
    *[
        WireCase(
            f"talk-{name}",
            "text about tools and marks is text, and no call",
            [answer(*text)],
            Success(text=text),
            ways=ALL,
            tools=True,
        )
        for name, text in _TALK
    ],
    *[
        WireCase(
            f"not-held-back-{name}",
            "text that only looks like a call is not kept waiting for more",
            [[SSE_HEAD, http_chunk(event(said(text))), "hang"]],
            Failure("APITimeoutError", after=text),
            ways=STREAMS,
            tools=True,
            options={"timeouts": {"stall_s": 0.3}},
            within_s=2.5,
        )
        for name, text in (
            ("third-way", "a <third way"),
            ("less-than", "1 < 2 is true"),
            ("json", '{"answer": 42}.'),
            ("bracket", "[sic] he said"),
            ("mark-in-a-fence", "```text\n<think>.\n"),
        )
    ],
)
