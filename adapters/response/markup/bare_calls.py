"""Is this text a tool call without any mark around it: bare JSON, a fenced block, ``[get_weather(city="Oslo")]``?

It may just as well be an ordinary answer, so the judgement is made as early as possible and falls in favour of the
text: only a complete call of an offered tool is one. A judgement depends on the text up to where it holds and on
nothing behind it, so that it does not matter in which pieces the text comes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adapters._arguments import Brackets
from adapters.response.markup.leaked_call_parser import ARGUMENT_KEYS, LIST_KEYS, NAME_KEYS, read_leaked_calls
from adapters.response.markup.markers import mark_at, may_become_mark
from adapters.response.tool_calls import clean_name

if TYPE_CHECKING:
    from adapters.response.tool_calls import Tools

FIRST_CHARS = frozenset("{[`")
_OBJECT = r"\s*+(?:[\"'](?:[\w.\-\"']|\Z)|\Z)"
HEAD = rf"(?<=\{{){_OBJECT}|(?<=\[)\s*+(?:\{{{_OBJECT}|[A-Za-z_]\w*+(?:\(|\Z)|\Z)|(?<=`)(?:``(?!`)|`?\Z)"
"""A pattern for what follows one of them where it may begin a call."""

_FENCE = "```"
_FENCE_HEAD = re.compile(r"```[ \t]*([\w-]*)[ \t]*(?:\r?\n|(?=[{\[]))\s*")
_OPEN_FENCE_HEAD = re.compile(r"`{1,2}|```[ \t]*[\w-]*[ \t]*\r?")
_LANGUAGES = ("", "json", "tool_call", "tool_calls", "tool_code", "python", "xml")
_OBJECT_HEAD = re.compile(r"(?:\[\s*)?(?:\{\s*(?:([\"'])([\w.\-]*)(\1?))?)?\s*")
_NAME_VALUE = re.compile(r"\s*:\s*[\"']([^\"'\\]{0,128}+)")
_LIST_CALL_HEAD = re.compile(r"\[\s*([A-Za-z_]\w*)(\(?)")
_OTHER_KEYS = ("type", "id", "thought", "reasoning")
_NAMED = re.compile(rf"[\"'](?:{'|'.join(NAME_KEYS)})[\"']\s*:\s*[\"']([\w.\-]+)([\"']|\Z)")
_CALLED = re.compile(r"(?:\[\s*|```[\w-]*\s*(?:print\()?)([A-Za-z_]\w*)\(")
_BEHIND = re.compile(r"[ \t]*[\r\n{\[<`]")
_MOST_NAME_CHARS = 200
_LONGEST_CHARS = 20_000  # no tool call is as long; a document in JSON may be
_MOST_LOOKALIKES = 50  # of calls, in one answer: more are a document too
_MOST_GUESSES = 2_000  # that nothing was a call: by then it is long since a document, and each of them costs


Says = Literal["call", "cut", "text", "wait"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement.

    Attributes:
        says: ``wait`` if more must be seen; ``cut`` for a call whose end will not come.
        length: How many characters of the text it holds for.
    """

    says: Says
    length: int = 1


_WAIT = Verdict("wait")
_TEXT = Verdict("text")
_BY_HEAD: dict[Says, Verdict] = {"wait": _WAIT, "text": _TEXT}


class BareCallDetector:
    """Judges texts one after the other, each as it grows.

    Args:
        tools: The offered tools; without any, everything is text.

    Attributes:
        gave_up: Whether everything is text from now on.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.gave_up = not tools
        self._keys = (*NAME_KEYS, *ARGUMENT_KEYS, *LIST_KEYS, *_OTHER_KEYS, *tools)
        self._guesses = 0
        self._lookalikes = 0
        self._brackets = Brackets()
        self._inside: Verdict | None = None  # what is in the brackets, once they are closed

    def judge(self, text: str, start: int = 0, *, in_sentence: bool = False) -> Verdict:
        """Judge what stands at a place in a text.

        Args:
            text: All that has come; after a ``wait`` it is asked about again when it has grown.
            start: Where one of ``FIRST_CHARS`` stands; after a ``wait`` the same one is meant.
            in_sentence: Whether text stands before it on the same line; then the line must end behind a call.
        """
        if self.gave_up:
            return _TEXT
        guess = self._fence(text, start) if text[start] == "`" else self._bracket(text, start)
        if in_sentence and guess.says == "call":
            behind = _BEHIND.match(text, start + guess.length)
            if behind is None:
                guess = _WAIT if not text[start + guess.length :].strip(" \t") else Verdict("text", guess.length)
        length = len(text) - start if guess.says == "wait" else guess.length
        if length > _LONGEST_CHARS:
            self.gave_up = True  # it is a document; each bracket in it would be looked at as long as this one
            guess = _TEXT
        if guess.says != "wait":
            self._brackets, self._inside = Brackets(), None
            self._guesses += 1
            self.gave_up |= self._guesses > _MOST_GUESSES
        return guess

    def is_cut_call(self, text: str) -> bool:
        """Whether a text that ends too early had already named an offered tool as the one to call."""
        called = _CALLED.match(text)
        if called is not None and called.group(1) in self._tools:
            return True
        return any(
            clean_name(name, self._tools) in self._tools if end else any(each.startswith(name) for each in self._tools)
            for name, end in _NAMED.findall(text)
        )

    def _bracket(self, text: str, start: int) -> Verdict:
        """Judge by how it begins, and by what is in the brackets once they are closed."""
        begins = (text[start] == "[" and self._list_call_head(text, start)) or self._object_head(text, start)
        if begins != "call":
            return _BY_HEAD[begins]
        if self._inside is None:
            end = self._brackets.closed_at(text, start)
            if end is None:
                return _WAIT
            self._inside = Verdict("call" if self._is_call(text[start:end]) else "text", end - start)
        return self._inside

    def _object_head(self, text: str, start: int) -> Says:
        """Whether it begins like a call in JSON."""
        head = _OBJECT_HEAD.match(text, start)
        assert head is not None  # noqa: S101 - it matches the bracket at least
        _, key, closed = head.groups()
        is_end = head.end() == len(text)
        if key is None:
            return "wait" if is_end else "text"
        if not closed:
            return "wait" if is_end and any(each.startswith(key) for each in self._keys) else "text"
        named = _NAME_VALUE.match(text, head.end()) if key == "name" else None
        if named is not None and named.end() < len(text) and clean_name(named[1], self._tools) not in self._tools:
            return "text"  # it is somebody's name, not a tool's
        return "call" if key in self._keys else "text"

    def _list_call_head(self, text: str, start: int) -> Says | None:
        """Whether it begins like a list of calls in Python; None if it is no such list."""
        head = _LIST_CALL_HEAD.match(text, start)
        if head is None:
            return None
        name, opened = head.groups()
        if opened:
            return "call" if name in self._tools else "text"
        is_open = head.end() == len(text) and any(each.startswith(name) for each in self._tools)
        return "wait" if is_open else "text"

    def _fence(self, text: str, start: int) -> Verdict:
        head = _FENCE_HEAD.match(text, start)
        if head is None:
            return _WAIT if _OPEN_FENCE_HEAD.fullmatch(text, start) else _TEXT
        body, is_text = head.end(), Verdict("text", head.end() - start)
        if head.group(1).lower() not in _LANGUAGES or not self._may_be_call(text, body):
            return is_text
        end = text.find(_FENCE, body)
        if end < 0:
            return _WAIT
        return Verdict("call", end + len(_FENCE) - start) if self._is_call(text[body:end]) else is_text

    def _is_call(self, text: str) -> bool:
        is_call = bool(read_leaked_calls(text, self._tools))
        self._lookalikes += not is_call
        self.gave_up |= self._lookalikes > _MOST_LOOKALIKES
        return is_call

    def _may_be_call(self, text: str, body: int) -> bool:
        """Whether what is in a fence begins like a call, or may still do so."""
        if body == len(text):
            return True
        if text[body] in "{[":
            return self._bracket(text, body).says != "text"
        if text[body] == "<":
            marked = mark_at(text, body)
            return marked[1].role == "call" if marked is not None else may_become_mark(text, body)
        code = text[body : body + _MOST_NAME_CHARS]
        bare = code.removeprefix("print(")
        return "print(".startswith(code) or any(bare.startswith(name) or name.startswith(bare) for name in self._tools)
