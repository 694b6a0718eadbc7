"""Text that only looks like a tool call: spoken as it is, and not kept waiting longer than it takes to be sure."""

from __future__ import annotations

from typing import Final

from adapters.testing.answers import SSE_HEAD, answer, event, http_chunk, said
from adapters.testing.case import ALL, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import CALL_TEXT

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
        )
    ],
)
