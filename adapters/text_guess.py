"""Is this text a tool call without any mark around it: bare JSON, a fenced block, ``[get_weather(city="Oslo")]``?

It may just as well be an ordinary answer, so the judgement is made as early as possible and falls in favour of the
text: only a complete call of an offered tool is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adapters.arguments import read_value
from adapters.leaked_calls import ARGUMENT_KEYS, LIST_KEYS, NAME_KEYS, calls_in_value, read_leaked_calls

if TYPE_CHECKING:
    from adapters.leaked_calls import Tools

FIRST_CHARS = frozenset("{[`")
_FENCE = "```"
_FENCE_HEAD = re.compile(r"```[ \t]*([\w-]*)[ \t]*(\r?\n|(?=[{\[]))")
_OPEN_FENCE_HEAD = re.compile(r"`{1,2}|```[ \t]*[\w-]*[ \t]*\r?")
_LANGUAGES = ("", "json", "tool_call", "tool_calls", "tool_code", "python", "xml")
_OBJECT_HEAD = re.compile(r"(?:\[\s*)?(?:\{\s*(?:([\"'])([\w.\-]*)(\1?))?)?\s*")
_LIST_CALL_HEAD = re.compile(r"\[\s*([A-Za-z_]\w*)?(\(?)")
_OTHER_KEYS = ("type", "id", "thought", "reasoning")
_LONGEST_CHARS = 20_000  # no tool call is as long; a document in JSON may be

Verdict = Literal["call", "text", "wait"]


@dataclass(frozen=True, slots=True)
class Guess:
    """A judgement.

    Attributes:
        verdict: ``wait`` if more must be seen.
        length: How many characters of the text it holds for.
    """

    verdict: Verdict
    length: int = 1


_WAIT = Guess("wait")
_TEXT = Guess("text")


def guess(text: str, tools: Tools) -> Guess:
    """Judge the text from its first character, which is one of ``FIRST_CHARS``."""
    if not tools or len(text) > _LONGEST_CHARS:
        return _TEXT
    if text[0] == "`":
        return _guess_fence(text, tools)
    if text[0] == "[" and (judged := _guess_list_call(text, tools)) is not None:
        return judged
    return _guess_json(text, tools)


def is_cut_call(text: str, tools: Tools) -> bool:
    """Whether a text that ends too early had already named an offered tool as the one to call."""
    named = re.search(rf"[\"'](?:{'|'.join(NAME_KEYS)})[\"']\s*:\s*[\"']([\w.\-]+)[\"']", text)
    return named is not None and named.group(1) in tools


def _guess_json(text: str, tools: Tools) -> Guess:
    head = _OBJECT_HEAD.match(text)
    if head is None or head.end() == 0:
        return _TEXT
    _, key, closed = head.groups()
    keys = (*NAME_KEYS, *ARGUMENT_KEYS, *LIST_KEYS, *_OTHER_KEYS, *tools)
    if key is None:
        return _WAIT if head.end() == len(text) else _TEXT
    if closed:
        if key not in keys:
            return _TEXT
    elif head.end() < len(text) or not any(each.startswith(key) for each in keys):
        return _TEXT
    found = read_value(text) if text.rstrip().endswith(("}", "]")) or "}" in text else None
    if found is None:
        return _WAIT
    value, end = found
    return Guess("call" if list(calls_in_value(value, tools)) else "text", end)


def _guess_list_call(text: str, tools: Tools) -> Guess | None:
    head = _LIST_CALL_HEAD.match(text)
    if head is None or head.group(1) is None:
        return None
    name, opened = head.groups()
    if not opened:
        unsure = head.end() == len(text) and any(each.startswith(name) for each in tools)
        return _WAIT if unsure else _TEXT
    if name not in tools:
        return _TEXT
    end = text.find(")]")
    if end < 0:
        return _WAIT
    return Guess("call" if read_leaked_calls(text[: end + 2], tools) else "text", end + 2)


def _guess_fence(text: str, tools: Tools) -> Guess:
    head = _FENCE_HEAD.match(text)
    if head is None:
        return _WAIT if _OPEN_FENCE_HEAD.fullmatch(text) else _TEXT
    if head.group(1).lower() not in _LANGUAGES:
        return Guess("text", head.end())
    body = text[head.end() :]
    end = body.find(_FENCE)
    if end >= 0:
        whole = head.end() + end + len(_FENCE)
        return Guess("call" if read_leaked_calls(body[:end], tools) else "text", whole)
    return _WAIT if _may_go_on_as_call(body.lstrip(), tools) else Guess("text", head.end())


def _may_go_on_as_call(body: str, tools: Tools) -> bool:
    if not body:
        return True
    if body[0] in "{[":
        return guess(body, tools).verdict != "text"
    code = body.removeprefix("print(")
    return "print(".startswith(body) or any(code.startswith(name) or name.startswith(code) for name in tools)
