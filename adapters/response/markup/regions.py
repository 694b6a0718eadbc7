"""The text between an opening mark and its closing mark."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Literal

from adapters._arguments import Brackets
from adapters.response.markup.markers import MARKS, is_special_token, mark_at
from adapters.response.tool_schemas import clean_name

if TYPE_CHECKING:
    from adapters.response.markup.markers import Marker
    from adapters.response.tool_schemas import Tools

_LONGEST_CLOSER_CHARS = max(len(closer) for mark in MARKS.values() for closer in mark.closers)
_HEAD_CHARS = 200
_CALL_HEAD = re.compile(r"[{\[<(]|```|[\"']?[\w.\-:/]+[\"']?\s*(?:[\n<{(\[=]|[>)]\s*[\n<{(\[])")
_OPEN_HEAD = re.compile(r"`{0,2}|[\"']?([\w.\-:/]*)[\"']?\s*(?:[>)]\s*)?")
_ARGUMENTS = re.compile(r"[{\[(<]")
_WORD_BEHIND = re.compile(r"[ \t]+[^\W\d_]|[ \t]*[.,;:!?)]")
_WORD_BEHIND_NAME = re.compile(r"[\"']?[\w.\-]+[\"']?>(?:[ \t]+[^\W\d_]|[ \t]*[.,;:!?)])")


class MarkedRegion:
    """The text behind an opening mark, up to its closing mark.

    Args:
        opener: The opening mark as it was written, or "" for reasoning without one.
        mark: What it means.
        in_sentence: Whether text precedes it on its line.

    Attributes:
        closer: The closing mark as it was written, or "" before it has come.
    """

    def __init__(self, opener: str, mark: Marker, *, in_sentence: bool = False) -> None:
        self.opener = opener
        self.mark = mark
        self.in_sentence = in_sentence
        self.closer = ""
        self._head = ""
        self._closing = _any_of(mark.closers)
        self._body: list[str] = []
        self._tail = ""  # may hold the beginning of a closing mark
        self._strings = _Strings() if mark.role == "call" else None

    @property
    def body(self) -> str:
        """The text between the marks."""
        return "".join(self._body) + self._tail

    def taken_body(self) -> str:
        """Take the part of the body that cannot belong to the closing mark, so that it is not kept twice."""
        taken = "".join(self._body)
        self._body.clear()
        return taken

    @property
    def is_none(self) -> bool:
        """Whether the opening mark, or the missing one, turned out to be none."""
        return self._is_talk if self.mark.role == "call" else self._has_own_opener

    @property
    def _is_talk(self) -> bool:
        """Whether no call can follow the mark, because it is a word of a sentence."""
        head = self._head.lstrip()
        if _CALL_HEAD.match(head) or _OPEN_HEAD.fullmatch(head):
            return False
        behind = _WORD_BEHIND_NAME if self.opener[-1] in "=(" else _WORD_BEHIND
        is_tag_in_sentence = self.in_sentence and not is_special_token(self.opener)
        return is_tag_in_sentence or behind.match(self._head) is not None

    @property
    def _has_own_opener(self) -> bool:
        """Whether reasoning without an opening mark begins with one."""
        opened = mark_at(self._head.lstrip(), 0) if not self.opener else None
        return opened is not None and opened[1].role == "reasoning"

    def has_at_most_a_word(self, tools: Tools) -> bool:
        """Whether nothing follows the mark but a word that names no offered tool."""
        word = _OPEN_HEAD.fullmatch(self._head.lstrip())
        return word is not None and clean_name(word.group(1) or "", tools) not in tools

    def feed(self, text: str) -> str | None:
        """Take more text; return what follows the closing mark, or None if that has not come."""
        if len(self._head) < _HEAD_CHARS:
            self._head = (self._head + text)[:_HEAD_CHARS]
        text, self._tail = self._tail + text, ""
        closed = self._closing.search(text)
        while closed is not None and self._ends_in_string(text[: closed.start()]):
            self._keep(text[closed.start() : closed.end()])
            text = text[closed.end() :]
            closed = self._closing.search(text)
        if closed is None:
            kept = max(len(text) - _LONGEST_CLOSER_CHARS, 0)
            self._keep(text[:kept])
            self._tail = text[kept:]
            return None
        self.closer = closed.group()
        return text[closed.end() :]

    def _ends_in_string(self, text: str) -> bool:
        """Keep the next part of the body, and return whether it ends in a string of the arguments."""
        self._keep(text)
        return self._strings is not None and self._strings.is_open

    def _keep(self, text: str) -> None:
        self._body.append(text)
        if self._strings is not None:
            self._strings.feed(text)


class _Strings:
    """Follows the strings in the arguments of a call: a closing mark in one of them closes nothing.

    Arguments in tags have no strings, so an apostrophe in them means nothing.
    """

    def __init__(self) -> None:
        self._brackets = Brackets()
        self._state: Literal["before", "inside", "behind"] = "before"

    @property
    def is_open(self) -> bool:
        """Whether the text ends in a string."""
        return self._state == "inside" and self._brackets.in_string

    def feed(self, text: str) -> None:
        """Take the next piece of the text between the marks."""
        start = 0
        if self._state == "before":
            opened = _ARGUMENTS.search(text)
            if opened is None:
                return
            start = opened.start()
            self._state = "behind" if opened.group() == "<" else "inside"
        if self._state == "inside" and self._brackets.feed(text, start) is not None:
            self._state = "behind"


@cache
def _any_of(closers: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for any of some marks; without marks, one that matches nothing."""
    return re.compile("|".join(map(re.escape, closers)) or r"(?!)", re.IGNORECASE | re.ASCII)
