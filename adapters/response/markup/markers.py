"""The marks that models write around turns, reasoning and tool calls, as data.

``MARKS`` has one row for each opening mark: what it means and what closes it. ``scanner`` finds the marks in a
stream, ``leaked_call_parser`` reads calls out of the text between them. To support a new dialect, add a row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Role = Literal["reasoning", "call", "noise", "stray_end", "turn_end", "header"]


@dataclass(frozen=True, slots=True)
class Marker:
    """One opening mark.

    Attributes:
        role: What it means. ``reasoning`` and ``call`` open a region. ``stray_end`` ends reasoning that had no opening
            mark. ``turn_end`` ends the turn. ``header`` begins a turn. ``noise`` is only removed.
        closers: Marks that end the region, or the role in a header. A region without closers lasts to the end of
            the answer; a header without closers ends with its role.
        turn_of: The role whose turn it begins, if the mark itself names it.
    """

    role: Role
    closers: tuple[str, ...] = ()
    turn_of: str = ""


_REASONING_TAGS = (
    "think", "thinking", "thought", "thoughts", "reasoning", "reflection", "seed:think", "mm:think", "antthinking",
)  # fmt: skip

# fmt: off
_REASONING = {f"<{tag}>": (f"</{tag}>",) for tag in _REASONING_TAGS} | {
    "[think]": ("[/think]",),  # Mistral Magistral
    "◁think▷": ("◁/think▷",),  # Kimi
    "<|think|>": ("<|/think|>",),
    "<|start_thinking|>": ("<|end_thinking|>",),  # Cohere
    "<|begin_of_thought|>": ("<|end_of_thought|>",),
    "<|inner_prefix|>": ("<|inner_suffix|>",),  # Apertus
    "<|channel>thought": ("<channel|>",),  # Gemma
}
_GPT_OSS_REASONING = {
    "<|channel|>analysis<|message|>": (
        "<|end|>", "<|return|>", "<|call|>", "<|start|>assistant", "<|channel|>final<|message|>",
    ),
}
"""Its closers also end or begin other things, so that none of them alone ends reasoning."""
# fmt: on

_TURN_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<|return|>",
    "<|call|>", "<|end_of_turn_token|>", "<|end_of_turn|>", "<end_of_turn>", "<turn|>", "<eos>", "</s>",
    "[|endofturn|]",
    "<｜end▁of▁sentence｜>",  # noqa: RUF001 - DeepSeek's marks really are full width
)  # fmt: skip

_SPECIAL_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>")
"""Ends of a turn that never occur in the arguments of a call, so that they end a call without its own closer."""

_CALLS = {
    "<tool_call>": ("</tool_call>",),  # Hermes, Qwen, GLM
    "<tool_calls>": ("</tool_calls>",),  # Jamba
    "<|tool_call|>": ("<|/tool_call|>", "</tool_call>"),  # Phi, Granite
    "<|tool_call>": ("<tool_call|>",),  # Gemma
    "<function_call>": ("</function_call>",),
    "<function_calls>": ("</function_calls>",),  # DeepSeek, Claude-like
    "<minimax:tool_call>": ("</minimax:tool_call>",),
    "<invoke name=": ("</invoke>",),
    "<function=": ("</function>", "<function>"),  # Llama, Groq, Qwen-Coder
    "<function(": ("</function>",),
    "<start_function_call>": ("<end_function_call>",),  # FunctionGemma
    "[tool_calls]": (),  # Mistral: to the end
    "[tool_request]": ("[end_tool_request]",),  # LM Studio
    "<|python_tag|>": ("<|eom_id|>",),  # Llama
    "<｜tool▁calls▁begin｜>": ("<｜tool▁calls▁end｜>",),  # noqa: RUF001 - as above
    "<｜tool▁call▁begin｜>": ("<｜tool▁call▁end｜>",),  # noqa: RUF001 - as above
    "<|tool_calls_section_begin|>": ("<|tool_calls_section_end|>",),  # Kimi
    "<|tool_call_begin|>": ("<|tool_call_end|>",),
    "<|start_action|>": ("<|end_action|>",),  # Cohere
    "<|action_start|>": ("<|action_end|>",),  # InternLM
    "<|channel|>commentary to=": ("<|call|>",),  # gpt-oss
}

_HEADERS = {
    "<|im_start|>": ("\n", "<|im_sep|>"),  # ChatML, Phi-4
    "<start_of_turn>": ("\n",),  # Gemma
    "<|turn>": ("\n",),  # Gemma 4
    "<|start_header_id|>": ("<|end_header_id|>",),  # Llama 3
    "<|header_start|>": ("<|header_end|>",),  # Llama 4
    "<|start_of_role|>": ("<|end_of_role|>",),  # Granite
    "<|im_assistant|>": ("<|im_middle|>",),  # Kimi
    "<|im_user|>": ("<|im_middle|>",),
    "<|im_system|>": ("<|im_middle|>",),
    "<|start|>": (),  # gpt-oss
}
"""Headers that name the role behind the mark."""

_HEADERS_WITH_ROLE = {
    "<|assistant|>": "assistant",  # Phi-3, Zephyr, GLM
    "<|user|>": "user",
    "<|system|>": "system",
    "<|observation|>": "tool",
    "<|chatbot_token|>": "assistant",  # Cohere
    "<|user_token|>": "user",
    "<|system_token|>": "system",
    "<｜assistant｜>": "assistant",  # noqa: RUF001 - as above
    "<｜user｜>": "user",  # noqa: RUF001 - as above
    "[|assistant|]": "assistant",  # EXAONE
    "[|user|]": "user",
    "[inst]": "user",  # Llama 2, Mistral
    "<s>[inst]": "user",
    "<s> [inst]": "user",
}

_NOISE = (
    "<|begin_of_text|>", "<|message|>", "<|channel|>final<|message|>", "<|channel|>commentary<|message|>",
    "<|constrain|>json", "<|end_header_id|>", "<|header_end|>", "<|end_of_role|>", "<|im_sep|>", "<|im_middle|>",
    "<|start_of_turn_token|>", "<|start_response|>", "<|end_response|>", "<|begin_of_solution|>",
    "<|end_of_solution|>",
)  # fmt: skip

_CALL_CLOSERS = frozenset(closer for closers in _CALLS.values() for closer in closers) - {"<function>"}
_STRAY_ENDS = tuple(closer for closers in _REASONING.values() for closer in closers)

MARKS: dict[str, Marker] = {
    **dict.fromkeys((*_NOISE, *sorted(_CALL_CLOSERS)), Marker("noise")),
    **dict.fromkeys(_TURN_ENDS, Marker("turn_end")),
    **dict.fromkeys(_STRAY_ENDS, Marker("stray_end")),
    **{opener: Marker("header", closers) for opener, closers in _HEADERS.items()},
    **{opener: Marker("header", turn_of=role) for opener, role in _HEADERS_WITH_ROLE.items()},
    **{opener: Marker("call", closers and (*closers, *_SPECIAL_TURN_ENDS)) for opener, closers in _CALLS.items()},
    **{opener: Marker("reasoning", closers) for opener, closers in (_REASONING | _GPT_OSS_REASONING).items()},
}
"""Every opening mark, in lower case."""

END_OF_REASONING = _STRAY_ENDS
"""What ends reasoning whose opening mark is part of the chat template."""

FIRST_CHARS = frozenset(opener[0] for opener in MARKS)
"""A text without one of these holds no mark."""

_CALL_MARKS = "\n".join((*_CALLS, *sorted(_CALL_CLOSERS)))


def _head_pattern() -> str:
    heads: dict[str, dict[str, set[str]]] = {}
    for opener in MARKS:
        heads.setdefault(opener[0], {}).setdefault(opener[1], set()).add(opener[2])
    return "|".join(
        f"(?<={re.escape(first)})(?i:{re.escape(second)})(?i:[{re.escape(''.join(sorted(thirds)))}]|\\Z)"
        for first, seconds in sorted(heads.items())
        for second, thirds in sorted(seconds.items())
    )


HEAD = _head_pattern()
"""A pattern for the next two characters of a mark, behind its first; at the end of a text, for one of them."""

LONGEST_CHARS = max(map(len, MARKS))
_PREFIXES = frozenset(opener[:length] for opener in MARKS for length in range(1, len(opener)))
_HEAD_OF_MARK_CHARS = min(map(len, MARKS)) - 1
_LENGTHS = {
    head: sorted({len(opener) for opener in MARKS if opener.startswith(head)})
    for head in {opener[:_HEAD_OF_MARK_CHARS] for opener in MARKS}
}
_SPECIAL_TOKEN = re.compile(r"<[|｜]|<[\w]+\|>|\[\|")  # noqa: RUF001 - as above


def mark_at(text: str, position: int) -> tuple[str, Marker] | None:
    """Return the mark at a position, as it is written there. No mark is the beginning of another one."""
    for length in _LENGTHS.get(text[position : position + _HEAD_OF_MARK_CHARS].lower(), ()):
        written = text[position : position + length]
        if (mark := MARKS.get(written.lower())) is not None:
            return written, mark
    return None


def may_become_mark(text: str, position: int) -> bool:
    """Whether the text from a position to its end is the beginning of a mark, so that more must be seen."""
    return len(text) - position <= LONGEST_CHARS and text[position:].lower() in _PREFIXES


def is_special_token(opener: str) -> bool:
    """Whether a mark is a special token of a model, not a tag or a word in brackets."""
    return _SPECIAL_TOKEN.match(opener) is not None


def is_part_of_call_mark(text: str) -> bool:
    """Whether a text, but for white space around it, is a part of a mark of a tool call; white space alone is one."""
    part = text.strip().lower()
    return "\n" not in part and part in _CALL_MARKS
