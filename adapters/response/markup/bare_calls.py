"""Detects tool calls without marks: bare JSON, a fenced block, ``[get_weather(city="Oslo")]``.

The same text may be an ordinary answer, so a verdict is given as early as possible, and in favour of the text. Only
text that is nothing but complete calls of offered tools is a call. A verdict depends on the text up to the place
where it is final, and not on the pieces in which the text comes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adapters._arguments import Brackets
from adapters.response.markup.leaked_call_parser import (
    ARGUMENT_KEYS,
    LIST_KEYS,
    META_KEYS,
    NAME_KEYS,
    LeakedCall,
    read_bare_calls,
)
from adapters.response.markup.markers import mark_at, may_become_mark
from adapters.response.tool_schemas import clean_name

if TYPE_CHECKING:
    from adapters.response.tool_schemas import Tools

FIRST_CHARS = frozenset("{[`")
_OBJECT = r"\s*+(?:[\"'](?:[\w.\-\"']|\Z)|\Z)"
HEAD = (
    rf"(?<=\{{){_OBJECT}|(?<=\[)\s*+(?:\{{{_OBJECT}|[A-Za-z_]\w*+(?:\(|\Z)|\Z)"
    r"|(?<=(?<!`)`)(?:``(?!`)|`{0,99}\Z)"
)
"""A pattern for what follows one of them where it may begin a call."""

_FENCE = re.compile(r"`{3,}")
_FENCE_HEAD = re.compile(r"```[ \t]*([\w-]*)[ \t]*(?:\r?\n|(?=[{\[]))\s*")
_OPEN_FENCE_HEAD = re.compile(r"`+|```[ \t]*[\w-]*[ \t]*\r?")
_LANGUAGES = ("", "json", "tool_call", "tool_calls", "tool_code", "python")
_OBJECT_HEAD = re.compile(r"(?:\[\s*)?(?:\{\s*(?:([\"'])([\w.\-]*)(\1?))?)?\s*")
_NAME_VALUE = re.compile(r"\s*:\s*[\"']([^\"'\\]{0,128}+)")
_LIST_CALL_HEAD = re.compile(r"\[\s*([A-Za-z_]\w*)(\(?)")
_CODE_HEAD = re.compile(r"(?:print\()?([A-Za-z_][\w.]*)?(\(?)")
_KEYS = (*NAME_KEYS, *ARGUMENT_KEYS, *LIST_KEYS, *META_KEYS)
_NAMED = re.compile(rf"[\"'](?:{'|'.join(NAME_KEYS)})[\"']\s*:\s*[\"']([\w.\-]+)([\"']|\Z)")
_CALLED = re.compile(r"(?:\[\s*|```[\w-]*\s*(?:print\()?)([A-Za-z_]\w*)\(")
_END_OF_OBJECT = re.compile(r"[ \t,;]*")
_END_OF_FENCE = re.compile(r"\s*")
_BEHIND_OBJECT = "\r\n{["
_BEHIND_FENCE = "{[`"
_PUNCTUATION = ".:!?)]}\"'`<*"
_MOST_NAME_CHARS = 200
_LONGEST_CHARS = 20_000  # no tool call is as long; a document in JSON may be
_MOST_LOOKALIKES = 50  # of calls, in one answer: more are a document too
_MOST_VERDICTS = 2_000  # that something is text: such an answer is a document, and each verdict costs


Kind = Literal["call", "cut", "text", "wait"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement about a text.

    Attributes:
        kind: ``wait`` if more must be seen; ``cut`` for a call of an offered tool whose end will not come.
        length: How many characters of the text it holds for.
        calls: The calls, if it is one.
    """

    kind: Kind
    length: int = 1
    calls: tuple[LeakedCall, ...] = ()


_WAIT = Verdict("wait")
_TEXT = Verdict("text")
_BY_HEAD: dict[Kind, Verdict] = {"wait": _WAIT, "text": _TEXT}


class BareCallDetector:
    """Judges texts one after the other, each while it grows.

    Args:
        tools: The offered tools. Without any, everything is text.

    Attributes:
        gave_up: Whether everything is text from now on.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.gave_up = not tools
        self._verdicts = 0
        self._lookalikes = 0
        self._brackets = Brackets()
        self._closed: Verdict | None = None  # about the brackets, once they are closed

    def judge(self, text: str, start: int = 0, *, in_sentence: bool = False, is_over: bool = False) -> Verdict:
        """Judge the text at a place.

        Args:
            text: All the text. After a ``wait`` it is judged again when it has grown.
            start: The place of one of ``FIRST_CHARS``. After a ``wait`` the same character is meant.
            in_sentence: Whether text precedes the place on its line.
            is_over: Whether nothing can follow the text. Then the verdict is final.
        """
        if self.gave_up:
            return _TEXT
        is_fence = text[start] == "`"
        verdict = self._fence(text, start, in_sentence=in_sentence) if is_fence else self._bracket(text, start)
        if verdict.kind == "call":
            end = (_END_OF_FENCE if is_fence else _END_OF_OBJECT).match(text, start + verdict.length)
            assert end is not None  # noqa: S101 - it matches the empty string at least
            is_open = end.end() == len(text) or may_become_mark(text, end.end())
            if is_open and not is_over:
                verdict = _WAIT
            elif _is_example(text, end.end(), is_fence=is_fence, in_sentence=in_sentence):
                verdict = Verdict("text", verdict.length)
        if verdict.kind == "wait" and is_over:
            verdict = self._unclosed(text[start:])
        length = len(text) - start if verdict.kind == "wait" else verdict.length
        if length > _LONGEST_CHARS:
            self.gave_up = True  # it is a document; each bracket in it would be looked at as long as this one
            verdict = _TEXT
        if verdict.kind != "wait":
            self._brackets, self._closed = Brackets(), None
            self._verdicts += 1
            self.gave_up = self.gave_up or self._verdicts > _MOST_VERDICTS
        return verdict

    def _unclosed(self, rest: str) -> Verdict:
        """Judge a text that ended while more was waited for."""
        head = _FENCE_HEAD.match(rest)
        calls = tuple(read_bare_calls(rest[head.end() :], self._tools)) if head is not None else ()
        if calls:
            return Verdict("call", len(rest), calls)
        return Verdict("cut" if self._names_tool(rest) else "text", len(rest))

    def _names_tool(self, text: str) -> bool:
        """Whether a call that is cut off had named an offered tool."""
        called = _CALLED.match(text)
        if called is not None and called.group(1) in self._tools:
            return True
        return any(
            clean_name(name, self._tools) in self._tools if end else any(tool.startswith(name) for tool in self._tools)
            for name, end in _NAMED.findall(text)
        )

    def _bracket(self, text: str, start: int) -> Verdict:
        """Judge by how it begins, and by its content once the brackets are closed."""
        head = (text[start] == "[" and self._list_call_head(text, start)) or self._object_head(text, start)
        if head != "call":
            return _BY_HEAD[head]
        if self._closed is None:
            end = self._brackets.closed_at(text, start)
            if end is None:
                return _WAIT
            self._closed = self._content(text[start:end], end - start, end - start)
        return self._closed

    def _object_head(self, text: str, start: int) -> Kind:
        """Whether a text begins like a call in JSON."""
        head = _OBJECT_HEAD.match(text, start)
        assert head is not None  # noqa: S101 - it matches the bracket at least
        _, key, closed = head.groups()
        is_end = head.end() == len(text)
        if key is None:
            return "wait" if is_end else "text"
        if not closed:
            return "wait" if is_end and any(known.startswith(key) for known in _KEYS) else "text"
        named = _NAME_VALUE.match(text, head.end()) if key == "name" else None
        if named is not None and named.end() < len(text) and clean_name(named[1], self._tools) not in self._tools:
            return "text"  # the name of something else
        return "call" if key in _KEYS else "text"

    def _list_call_head(self, text: str, start: int) -> Kind | None:
        """Whether a text begins like a list of calls in Python; None if it is no such list."""
        head = _LIST_CALL_HEAD.match(text, start)
        if head is None:
            return None
        name, opened = head.groups()
        if opened:
            return "call" if name in self._tools else "text"
        is_open = head.end() == len(text) and any(tool.startswith(name) for tool in self._tools)
        return "wait" if is_open else "text"

    def _fence(self, text: str, start: int, *, in_sentence: bool) -> Verdict:
        head = _FENCE_HEAD.match(text, start)
        if head is None:
            return _WAIT if _OPEN_FENCE_HEAD.fullmatch(text, start) else _TEXT
        body, is_text = head.end(), Verdict("text", head.end() - start)
        is_code_span = in_sentence and "\n" not in head.group()
        if is_code_span or head.group(1).lower() not in _LANGUAGES or not self._may_be_call(text, body):
            return is_text
        closing = _FENCE.search(text, body)
        if closing is None:
            return _WAIT
        return self._content(text[body : closing.start()], closing.end() - start, is_text.length)

    def _content(self, text: str, length: int, text_length: int) -> Verdict:
        calls = tuple(read_bare_calls(text, self._tools))
        if calls:
            return Verdict("call", length, calls)
        self._lookalikes += 1
        self.gave_up = self._lookalikes > _MOST_LOOKALIKES
        return Verdict("text", text_length)

    def _may_be_call(self, text: str, body: int) -> bool:
        """Whether the content of a fence begins like a call, or may still do so."""
        if body == len(text):
            return True
        if text[body] in "{[":
            return self._bracket(text, body).kind != "text"
        code = text[body : body + _MOST_NAME_CHARS]
        head = _CODE_HEAD.match(code)
        assert head is not None  # noqa: S101 - it matches the empty string at least
        name, opened = head.groups()
        if opened:
            return clean_name(name or "", self._tools) in self._tools
        return head.end() == len(code) < _MOST_NAME_CHARS


def _is_example(text: str, end: int, *, is_fence: bool, in_sentence: bool) -> bool:
    """Whether a call that ends at a place is an example, because the text goes on about it."""
    following = text[end : end + 1]
    if not following or mark_at(text, end) is not None:
        return False
    if is_fence:
        return following not in _BEHIND_FENCE
    if following in _BEHIND_OBJECT:
        return False
    return in_sentence or following.islower() or following in _PUNCTUATION
