"""The marks that models write around reasoning and tool calls, as data.

A mark opens a ``MarkedRegion`` that must not be spoken. Each row names its openers and what closes it; ``text_filter`` finds
them in a stream, ``leaked_calls`` reads calls out of what stood between them. To teach the library a new dialect,
add a row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

Role = Literal["reasoning", "call", "noise", "stray_end"]


@dataclass(frozen=True, slots=True)
class Marker:
    """One opening mark.

    Attributes:
        role: What stands behind it: reasoning, a tool call, nothing (``noise`` is only taken out), or the end of
            reasoning that began without a mark (``stray_end``).
        closers: Marks that end it; without one that comes, it lasts to the end of the answer.
    """

    role: Role
    closers: tuple[str, ...] = ()


_TAGS_OF_REASONING = (
    "think", "thinking", "thought", "thoughts", "reasoning", "reflection", "seed:think", "mm:think", "antthinking",
)  # fmt: skip

# fmt: off
_REASONING = {f"<{tag}>": (f"</{tag}>",) for tag in _TAGS_OF_REASONING} | {
    "[think]": ("[/think]",),  # Mistral Magistral
    "◁think▷": ("◁/think▷",),  # Kimi
    "<|think|>": ("<|/think|>",),
    "<|start_thinking|>": ("<|end_thinking|>",),  # Cohere
    "<|begin_of_thought|>": ("<|end_of_thought|>",),
    "<|inner_prefix|>": ("<|inner_suffix|>",),  # Apertus
    "<|channel>thought": ("<channel|>",),  # Gemma
    "<|channel|>analysis<|message|>": (  # gpt-oss
        "<|end|>", "<|return|>", "<|call|>", "<|start|>assistant", "<|channel|>final<|message|>",
    ),
}
# fmt: on

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
    "<|python_tag|>": ("<|eom_id|>", "<|eot_id|>"),  # Llama
    "<｜tool▁calls▁begin｜>": ("<｜tool▁calls▁end｜>",),  # noqa: RUF001 - DeepSeek's marks really are full width
    "<|tool_calls_section_begin|>": ("<|tool_calls_section_end|>",),  # Kimi
    "<|start_action|>": ("<|end_action|>",),  # Cohere
    "<|action_start|>": ("<|action_end|>",),  # InternLM
    "<|channel|>commentary to=": ("<|call|>",),  # gpt-oss
}

_NOISE = (
    "<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "<|begin_of_text|>",
    "<|end|>", "<|return|>", "<|call|>", "<|assistant|>", "<|user|>", "<|start|>assistant", "<|message|>",
    "<|channel|>final<|message|>", "<|channel|>commentary<|message|>", "<|constrain|>json",
    "<|start_of_role|>", "<|end_of_role|>", "<|start_response|>", "<|end_response|>", "<|end_of_turn_token|>",
    "<end_of_turn>", "<start_of_turn>model", "<|begin_of_solution|>", "<|end_of_solution|>", "</s>",
    "<｜end▁of▁sentence｜>",  # noqa: RUF001 - as above
    "</tool_call>", "</tool_calls>", "</function>", "</function_call>", "</function_calls>", "</invoke>",
    "<|/tool_call|>", "[end_tool_request]",
)  # fmt: skip

_STRAY_ENDS = tuple(closer for closers in _REASONING.values() for closer in closers if not closer.startswith("<|"))

MARKS: dict[str, Marker] = {
    **dict.fromkeys(_NOISE, Marker("noise")),
    **dict.fromkeys(_STRAY_ENDS, Marker("stray_end")),
    **{opener: Marker("call", closers) for opener, closers in _CALLS.items()},
    **{opener: Marker("reasoning", closers) for opener, closers in _REASONING.items()},
}
"""Every opening mark, in lower case."""

END_OF_REASONING = _STRAY_ENDS
"""What ends reasoning whose beginning the chat template ate."""

FIRST_CHARS = frozenset(opener[0] for opener in MARKS)
"""A text without one of these holds no mark."""


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
_LONGEST_CLOSER_CHARS = max(len(closer) for mark in MARKS.values() for closer in mark.closers)
_HEAD_CHARS = 200
_PLAIN = re.compile(r"<(?![|｜])|\[")  # noqa: RUF001 - as above; other marks are special tokens, which nobody talks about
_CALL_HEAD = re.compile(r"[{\[<(]|```|[\"']?[\w.\-:/]+[\"']?\s*(?:[\n<{(\[=)]|>\s*[\n<{(\[])")
_OPEN_HEAD = re.compile(r"`{0,2}|[\"']?([\w.\-:/]*)[\"']?\s*(?:>\s*)?")

_PREFIXES = frozenset(opener[:length] for opener in MARKS for length in range(1, len(opener)))
_HEAD_OF_MARK_CHARS = min(map(len, MARKS)) - 1
_LENGTHS = {
    head: sorted({len(opener) for opener in MARKS if opener.startswith(head)})
    for head in {opener[:_HEAD_OF_MARK_CHARS] for opener in MARKS}
}


def mark_at(text: str, position: int) -> tuple[str, Marker] | None:
    """The mark that stands at a position, as it is written there; no mark begins another one."""
    for length in _LENGTHS.get(text[position : position + _HEAD_OF_MARK_CHARS].lower(), ()):
        written = text[position : position + length]
        if (mark := MARKS.get(written.lower())) is not None:
            return written, mark
    return None


def may_become_mark(text: str, position: int) -> bool:
    """Whether what stands from a position to the end is the beginning of a mark, so that more must be seen."""
    return len(text) - position <= LONGEST_CHARS and text[position:].lower() in _PREFIXES


class MarkedRegion:
    """What stands behind an opening mark, until a closing mark comes.

    Args:
        opener: The opening mark as it was written, or "" if there was none.
        mark: What it means.
        in_sentence: Whether text stands before it on the same line.

    Attributes:
        head: How the text begins, without white space in front.
        closer: The closing mark as it was written, or "" as long as there is none.
    """

    def __init__(self, opener: str, mark: Marker, *, in_sentence: bool = False) -> None:
        self.opener = opener
        self.mark = mark
        self.head = ""
        self.closer = ""
        self._may_be_talk = mark.role == "call" and in_sentence and _PLAIN.match(opener) is not None
        self._closing = _any_of(mark.closers)
        self._body: list[str] = []
        self._tail = ""  # may hold the beginning of a closing mark

    @property
    def body(self) -> str:
        """The text between the marks."""
        return "".join(self._body) + self._tail

    def taken_body(self) -> str:
        """Take out of the body what is surely no closing mark, so that it need not be kept twice."""
        taken = "".join(self._body)
        self._body.clear()
        return taken

    @property
    def is_talk(self) -> bool:
        """Whether what follows the opening mark cannot be a call any more: somebody talks about the mark."""
        return self._may_be_talk and not (_CALL_HEAD.match(self.head) or _OPEN_HEAD.fullmatch(self.head))

    @property
    def has_opener_of_its_own(self) -> bool:
        """Whether the text begins with the opening mark that was thought to be missing."""
        opened = mark_at(self.head, 0) if not self.opener else None
        return opened is not None and opened[1].role == "reasoning"

    @property
    def is_none(self) -> bool:
        """Whether what was taken for an opening mark, or for a missing one, was none."""
        return self.is_talk or self.has_opener_of_its_own

    @property
    def only_word(self) -> str | None:
        """The word behind a mark that somebody may talk about, if there is nothing else: a tool's name, or no call."""
        word = _OPEN_HEAD.fullmatch(self.head) if self._may_be_talk else None
        return (word.group(1) or "") if word is not None else None

    def feed(self, text: str) -> str | None:
        """Take more text; return what follows the closing mark, or None if that has not come."""
        if len(self.head) < _HEAD_CHARS:
            self.head = (self.head + text).lstrip()[:_HEAD_CHARS]
        text, self._tail = self._tail + text, ""
        closed = self._closing.search(text)
        if closed is None:
            keep = max(len(text) - _LONGEST_CLOSER_CHARS, 0)
            self._body.append(text[:keep])
            self._tail = text[keep:]
            return None
        self._body.append(text[: closed.start()])
        self.closer = closed.group()
        return text[closed.end() :]


@cache
def _any_of(closers: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for any of some marks; of none, one that nothing matches."""
    return re.compile("|".join(map(re.escape, closers)) or r"(?!)", re.IGNORECASE | re.ASCII)
