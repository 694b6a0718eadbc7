"""Headers and ends of turns in the text: removed, and nothing that follows the model's own turn is emitted."""

from __future__ import annotations

from typing import Final

from adapters.testing.answers import answer
from adapters.testing.case import ALL, CALLING, Success, WireCase
from adapters.testing.cases.common import CALL_TEXT, WEATHER

_HEADERS: tuple[tuple[str, str, str, str], ...] = (
    ("chatml", "<|im_start|>assistant\n", "<|im_end|>\n", "<|im_start|>user\n"),
    (
        "llama",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n",
    ),
    ("gemma", "<start_of_turn>model\n", "<end_of_turn>\n", "<start_of_turn>user\n"),
    ("phi", "<|assistant|>\n", "<|end|>\n", "<|user|>\n"),
    ("glm", "<|assistant|>\n", "", "<|user|>\n"),
    (
        "granite",
        "<|start_of_role|>assistant<|end_of_role|>",
        "<|end_of_text|>\n",
        "<|start_of_role|>user<|end_of_role|>",
    ),
    ("gpt-oss", "<|start|>assistant<|channel|>final<|message|>", "<|return|>", "<|start|>user<|message|>"),
    ("tool-result", "<|im_start|>assistant\n", "<|im_end|>\n", "<|im_start|>tool\n"),
)

CASES: Final = (
    *[
        WireCase(
            f"{name}-header",
            "the header of the model's turn is not emitted",
            [answer(*f"{header}Hi there")],
            Success(text="Hi there"),
            ways=ALL,
        )
        for name, header, _, _ in _HEADERS
    ],
    *[
        WireCase(
            f"{name}-invented-turn",
            "a model that goes on with the user's next turn invents it",
            [answer(*f"Hi there{end}{other}And now?{end}{header}More")],
            Success(text="Hi there"),
            ways=ALL,
        )
        for name, header, end, other in _HEADERS
    ],
    WireCase(
        "chatml-call-in-an-invented-turn",
        "a call that answers an invented question is none",
        [
            answer(
                f"<tool_call>{CALL_TEXT}</tool_call><|im_end|>\n<|im_start|>user\nAnd the lights?<|im_end|>\n",
                '<|im_start|>assistant\n<tool_call>{"name": "lights_off", "arguments": {}}</tool_call>',
            )
        ],
        Success(calls=(WEATHER,)),
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "chatml-invented-turn-cut",
        "the answer was whole before the invented turn was cut",
        [answer("Hi there<|im_end|>\n<|im_start|>user\nAnd the", finish="length")],
        Success(text="Hi there"),
        ways=ALL,
    ),
    WireCase(
        "chatml-two-turns",
        "the model goes on with a turn of its own",
        [answer(*"Hi<|im_end|>\n<|im_start|>assistant\nthere")],
        Success(text="Hi\n\nthere"),
        ways=ALL,
    ),
    *[
        WireCase(
            f"half-a-mark-cut-{name}",
            "half a mark at a length limit is not emitted",
            [answer(f"Hi there{half}", finish="length")],
            Success(text="Hi there"),
            ways=ALL,
            tools=True,
        )
        for name, half in (("chatml", "<|im_e"), ("header", "<|im_end|><|im_start|>assis"), ("tag", "<tool_ca"))
    ],
)
