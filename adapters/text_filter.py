"""What may be spoken: text without reasoning and without tool markup, however a stream cuts it.

``TextFilter`` takes the text of an answer piece by piece and gives back what is safe to speak at once. It holds
back only what may still turn out to be a mark. Reasoning and leaked calls are kept beside the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters import text_guess
from adapters.leaked_calls import read_leaked_calls
from adapters.markup import END_OF_REASONING, FIRST_CHARS, Mark, find_closer, mark_at, may_become_mark

if TYPE_CHECKING:
    from adapters.leaked_calls import Tools

_ALL_FIRST_CHARS = re.compile("[" + re.escape("".join(sorted(FIRST_CHARS | text_guess.FIRST_CHARS))) + "]")
_PLAIN_TAG = re.compile(r"<(?![|｜])")  # noqa: RUF001 - a tag that a person might talk about, not a special token
_LIKE_A_CALL = re.compile(r"[{\[<(\"'`]|[\w.\-:/]+\s*(?:[\n<{(\[=>)\"]|$)")
_REASONING_MARK = Mark("reasoning", END_OF_REASONING)
_LONGEST_CLOSER_CHARS = 40
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Leak:
    """Tool markup that was taken out of the text.

    Attributes:
        text: The markup, whole or cut.
        is_whole: Whether its end was seen.
    """

    text: str
    is_whole: bool


@dataclass(slots=True)
class _Span:
    """What is being held back behind an opening mark."""

    opener: str
    mark: Mark
    in_sentence: bool = False
    searched: int = 0


class TextFilter:
    """Separates the text of one answer from what must not be spoken.

    Args:
        tools: The tools that were offered; without any, bare JSON is ordinary text.
        reasoning_first: Whether answers are known to begin with reasoning that has no opening mark. Text is held
            back then until the reasoning ends.

    Attributes:
        reasoning: The reasoning so far.
        leaks: The tool markup so far.
        began_with_reasoning: Whether reasoning ended that had never begun: the chat template ate the opening mark.
    """

    def __init__(self, tools: Tools, *, reasoning_first: bool = False) -> None:
        self._tools = tools
        self._pending = ""
        self._span = _Span("", _REASONING_MARK) if reasoning_first else None
        self._out: list[str] = []
        self._spoke = False
        self._in_sentence = False  # whether text stands before this on the same line
        self._space = ""  # white space behind a mark: spoken only if text follows
        self._behind_mark = True
        self.reasoning = ""
        self.leaks: list[Leak] = []
        self.began_with_reasoning = False

    def feed(self, text: str) -> str:
        """Take the next piece of text and return what may be spoken now."""
        self._pending += text
        if _SURROGATE.search(self._pending):
            self._pending = _pair(self._pending)
        while self._pending and (self._leave_span() if self._span else self._scan()):
            pass
        return self._spoken()

    def no_reasoning_first(self) -> None:
        """Note that the server keeps reasoning apart, so that the text needs no holding back."""
        if self._span is not None and not self._span.opener:
            self._span = None

    def finish(self) -> str:
        """Return what was held back, now that nothing can follow."""
        if self._span is not None and not self._span.opener:
            self._span = None  # it was no reasoning after all
            text = self.feed("")
            return text + self.finish()
        span, rest, self._pending, self._span = self._span, self._pending, "", None
        if span is None:
            self._finish_text(rest)
        elif span.mark.role == "reasoning":
            self.reasoning += rest
        elif _LIKE_A_CALL.match(rest.lstrip()) or not self._may_be_prose(span):
            self.leaks.append(Leak(span.opener + rest, is_whole=not span.mark.closers))
        else:
            self._say(span.opener + rest)
        return self._spoken()

    def _finish_text(self, rest: str) -> None:
        is_call = bool(rest) and rest[0] in text_guess.FIRST_CHARS and bool(self._tools)
        if is_call and read_leaked_calls(rest, self._tools):
            self.leaks.append(Leak(rest, is_whole=True))
        elif is_call and text_guess.is_cut_call(rest, self._tools):
            self.leaks.append(Leak(rest, is_whole=False))
        else:
            self._say(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", rest))

    def _scan(self) -> bool:
        """Speak up to the next possible mark and deal with it; False if more must be seen."""
        found = _ALL_FIRST_CHARS.search(self._pending)
        if found is None:
            keep = 1 if "\ud800" <= self._pending[-1] <= "\udbff" else 0  # half a character; the rest follows
            self._say(self._take(len(self._pending) - keep))
            return False
        self._say(self._take(found.start()))
        marked = mark_at(self._pending, 0)
        if marked is not None:
            self._take(len(marked[0]))
            self._enter(*marked)
            return True
        if may_become_mark(self._pending, 0):
            return False
        return self._guess()

    def _guess(self) -> bool:
        if self._pending[0] not in text_guess.FIRST_CHARS:
            self._say(self._take(1))
            return True
        judged = text_guess.guess(self._pending, self._tools)
        if judged.verdict == "wait":
            return False
        text = self._take(judged.length)
        if judged.verdict == "call":
            self.leaks.append(Leak(text, is_whole=True))
            self._behind_mark = True
        else:
            self._say(text)
        return True

    def _enter(self, opener: str, mark: Mark) -> None:
        if mark.role == "stray_end":
            self.reasoning += "".join(self._out)
            self._out.clear()
            self.began_with_reasoning = True
        elif mark.role != "noise":
            self._span = _Span(opener, mark, self._in_sentence)
            return
        self._behind_mark = True

    def _leave_span(self) -> bool:
        """Look for the end of what is held back; False if more must be seen."""
        span = self._span
        assert span is not None  # noqa: S101 - the only caller checks it
        if not span.opener and (opened := mark_at(self._pending.lstrip(), 0)) and opened[1].role == "reasoning":
            self._span = None
            return True
        if self._may_be_prose(span) and self._is_prose(self._pending):
            self._span = None
            self._say(span.opener)
            return True
        closer = find_closer(self._pending, span.mark.closers, span.searched)
        if closer is None:
            span.searched = max(0, len(self._pending) - _LONGEST_CLOSER_CHARS)
            return False
        body = self._take(closer[0])
        end = self._take(closer[1] - closer[0])
        if span.mark.role == "reasoning":
            self.reasoning += body
            self.began_with_reasoning |= not span.opener
        else:
            self.leaks.append(Leak(span.opener + body + end, is_whole=True))
        self._span = None
        self._behind_mark = True
        return True

    @staticmethod
    def _may_be_prose(span: _Span) -> bool:
        """Whether somebody may be talking about the mark: it is a plain tag in the middle of a sentence."""
        return span.mark.role == "call" and span.in_sentence and _PLAIN_TAG.match(span.opener) is not None

    @staticmethod
    def _is_prose(body: str) -> bool:
        """Whether what follows the mark can no longer be a call: somebody talks about the mark."""
        body = body.lstrip()
        return bool(body) and _LIKE_A_CALL.match(body) is None

    def _take(self, length: int) -> str:
        taken, self._pending = self._pending[:length], self._pending[length:]
        return taken

    def _say(self, text: str) -> None:
        if self._behind_mark:
            stripped = text.lstrip()
            if not stripped:
                self._space += text
                return
            text = self._space + text if self._spoke or self._out else stripped
            self._space, self._behind_mark = "", False
        if text:
            self._out.append(text)
            self._in_sentence = not text.endswith("\n")

    def _spoken(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        self._spoke = self._spoke or bool(text)
        return text


def _pair(text: str) -> str:
    """Join halves of characters that came in two pieces; a half at the end stays, its other half may follow."""
    last = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    paired = text[: len(text) - len(last)].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return paired + last
