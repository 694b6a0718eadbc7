"""Reasoning: kept out of the text, in each spelling, wherever a stream cuts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import STOP, Answer, answer, call, chunk, completion, reply, said, stream
from adapters.testing.case import CALLING, CHAT, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import OSLO, WEATHER

if TYPE_CHECKING:
    from collections.abc import Iterator

_HI = Success(text="Hi there", reasoning="secret")
_ONLY_REASONING = Failure(
    "IncompleteResponseError", retryable=True, says=("reasoning but no answer",), hides=("secret",)
)

_TAGS: tuple[tuple[str, str, str], ...] = (
    ("think", "<think>", "</think>"),
    ("think-upper", "<THINK>", "</Think>"),
    ("thinking", "<thinking>", "</thinking>"),
    ("thought", "<thought>", "</thought>"),
    ("reasoning", "<reasoning>", "</reasoning>"),
    ("mistral-think", "[THINK]", "[/THINK]"),
    ("kimi-think", "◁think▷", "◁/think▷"),
    ("seed-think", "<seed:think>", "</seed:think>"),
    ("harmony-analysis", "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("gemma-thought", "<|channel>thought\n", "<channel|>"),
)

_FIELDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("deepseek-reasoning-content", {"reasoning_content": "secret"}),
    ("openrouter-reasoning", {"reasoning": "secret"}),
    ("openrouter-reasoning-and-content", {"reasoning": "secret", "reasoning_content": None}),
    ("vllm-both-fields", {"reasoning": "secret", "reasoning_content": "secret"}),
    ("openrouter-reasoning-details", {"reasoning_details": [{"type": "reasoning.text", "text": "secret", "index": 0}]}),
    (
        "openrouter-reasoning-and-details",
        {"reasoning": "secret", "reasoning_details": [{"type": "reasoning.text", "text": "secret", "index": 0}]},
    ),
    ("openrouter-reasoning-summary", {"reasoning_details": [{"type": "reasoning.summary", "summary": "secret"}]}),
)


def _tag(name: str, opening: str, closing: str) -> Iterator[WireCase]:
    """Yield the cases of one spelling: whole, letter by letter, and without text after it."""
    text = f"{opening}secret{closing}\n\nHi there"
    yield WireCase(f"{name}-tags", "the block is whole", [answer(text)], _HI)
    yield WireCase(f"{name}-tags-in-letters", "the block comes letter by letter", [answer(*text)], _HI, ways=STREAMS)
    yield WireCase(
        f"{name}-unclosed",
        "the block never ends",
        [answer(*f"{opening}secret", finish="length")],
        Failure(
            "IncompleteResponseError", retryable=True, says=("reasoning but no answer", "max_tokens"), hides=("secret",)
        ),
    )


def _details(text: str) -> dict[str, Any]:
    return chunk({"content": "", "reasoning": text, "reasoning_details": [{"type": "reasoning.text", "text": text}]})


CASES: Final = (
    *[case for tag in _TAGS for case in _tag(*tag)],
    *[
        WireCase(name, "reasoning comes in a field", [answer("Hi", " there", **fields)], _HI, kind="openrouter")
        for name, fields in _FIELDS
    ],
    WireCase(
        "qwen-empty-think",
        "an empty block",
        [answer("<think>\n\n</think>\n\n", "Hi there")],
        Success(text="Hi there", reasoning=None),
    ),
    WireCase(
        "qwen-two-think-blocks",
        "a second block after some text",
        [answer("<think>one</think>Hi ", "<think>two</think>", "there")],
        Success(text="Hi there", holds=lambda outcome: "one" not in outcome.text),
    ),
    WireCase("lookalike-think", "a word that only looks like a tag", [answer(*"I <thin")], Success(text="I <thin")),
    WireCase("lookalike-think-in-text", "a comparison is no tag", [answer(*"a <t and b")], Success(text="a <t and b")),
    WireCase("lookalike-harmony", "a vertical bar is no channel", [answer(*"a <| b")], Success(text="a <| b")),
    WireCase(
        "deepseek-template-ate-opening-tag",
        "the block has no opening tag: everything before its end is reasoning",
        [answer("secret\n</think>\n\nHi there")],
        _HI,
        ways=CHAT,
    ),
    WireCase(
        "deepseek-template-ate-opening-tag-third-turn",
        "emitted text cannot be withdrawn; after two such responses, the next is held back until reasoning ends",
        [answer("sec", "ret\n</thi", "nk>\n\nHi", " there")],
        Success(text="Hi there"),
        ways=STREAMS,
        turns=3,
        requests=3,
    ),
    WireCase(
        "model-only-thinks-in-tags",
        "the block is whole, and nothing comes after it",
        [answer("<think>secret</think>")],
        _ONLY_REASONING,
    ),
    WireCase(
        "vllm-parser-calls-all-of-it-reasoning",
        "a parser takes the whole response for reasoning",
        [answer(reasoning="secret", content=None)],
        _ONLY_REASONING,
    ),
    WireCase(
        "openrouter-reasoning-ate-budget",
        "reasoning used up max_tokens",
        [answer(reasoning="secret", content="", finish="length")],
        Failure(
            "IncompleteResponseError", retryable=True, says=("reasoning but no answer", "max_tokens"), hides=("secret",)
        ),
        kind="openrouter",
    ),
    WireCase(
        "openrouter-reasoning-in-pieces",
        "reasoning comes in pieces, in two fields",
        [stream(_details("sec"), _details("ret"), said("Hi there"), STOP)],
        _HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "mlx-reasoning-then-white-space",
        "white space between reasoning and text",
        [answer("\n\n", "Hi there", reasoning="\nsecret\n")],
        _HI,
    ),
    WireCase(
        "deepseek-reasoning-then-call",
        "reasoning, then a call",
        [answer(calls=[call("get_weather", OSLO)], reasoning_content="secret")],
        Success(calls=(WEATHER,), reasoning="secret"),
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "groq-reasoning-object",
        "reasoning that is an object does no harm",
        [answer("Hi there", reasoning={"text": "secret"})],
        Success(text="Hi there"),
        kind="groq",
    ),
    WireCase(
        "openrouter-reasoning-encrypted",
        "encrypted reasoning is neither text nor reasoning",
        [answer("Hi there", reasoning_details=[{"type": "reasoning.encrypted", "data": "c2VjcmV0"}])],
        Success(text="Hi there", reasoning=None),
        kind="openrouter",
    ),
    WireCase(
        "tag-and-field",
        "the field has the reasoning, and the text begins with an empty block",
        [
            Answer(
                reply(completion({"content": "<think></think>Hi there", "reasoning": "secret"})),
                stream(chunk({"reasoning": "secret"}), said("<think></think>"), said("Hi there"), STOP),
            )
        ],
        _HI,
    ),
)
