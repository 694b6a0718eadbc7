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
from adapters.markup import END_OF_REASONING, FIRST_CHARS, Mark, Span, mark_at, may_become_mark
from adapters.text_guess import Guesser
from adapters.tool_calls import clean_name

if TYPE_CHECKING:
    from adapters.tool_calls import Tools

_ALL_FIRST_CHARS = re.compile("[" + re.escape("".join(sorted(FIRST_CHARS | text_guess.FIRST_CHARS))) + "]")
_REASONING_MARK = Mark("reasoning", END_OF_REASONING)
_BETWEEN_CALLS = " \t\r\n,;"
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


class TextFilter:
    """Separates the text of one answer from what must not be spoken.

    Args:
        tools: The tools that were offered; without any, bare JSON is ordinary text.
        reasoning_first: Whether answers are known to begin with reasoning that has no opening mark. Text is held
            back then until the reasoning ends.

    Attributes:
        leaks: The tool markup so far.
        began_with_reasoning: Whether reasoning ended that had never begun: the chat template ate the opening mark.
    """

    def __init__(self, tools: Tools, *, reasoning_first: bool = False) -> None:
        self._tools = tools
        self._guesser = Guesser(tools)
        self._half = ""  # of a character; the other half follows
        self._pending = ""
        self._read = 0  # so much of what is pending is dealt with
        self._span = Span("", _REASONING_MARK) if reasoning_first else None
        self._out: list[str] = []
        self._spoke = False
        self._space = ""  # white space behind a mark: spoken only if text follows
        self._behind_mark = True
        self._blanks: str | None = None  # what counts as white space there
        self._in_sentence = False  # whether text stands before this on the same line
        self._reasoning: list[str] = []
        self.leaks: list[Leak] = []
        self.began_with_reasoning = False

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    def feed(self, text: str) -> str:
        """Take the next piece of text and return what may be spoken now."""
        self._pending += self._whole_chars(text)
        while self._read < len(self._pending) and (self._go_on(self._span) if self._span else self._scan()):
            pass
        self._pending, self._read = self._pending[self._read :], 0
        return self._spoken()

    def no_reasoning_first(self) -> None:
        """Note that the server keeps reasoning apart, so that the text needs no holding back."""
        if self._span is not None and not self._span.opener:
            self._leave(self._span, "")

    def finish(self) -> str:
        """Return what was held back, now that nothing can follow."""
        rest, self._half = "\N{REPLACEMENT CHARACTER}" if self._half else "", ""
        text = self.feed(rest)
        self.no_reasoning_first()  # it was none after all
        text += self.feed("")
        span, rest, self._span, self._pending = self._span, self._pending, None, ""
        if span is None:
            self._finish_text(rest)
        elif span.mark.role == "reasoning":
            self._reasoning.append(span.body)
        elif span.only_word is not None and clean_name(span.only_word, self._tools) not in self._tools:
            self._say(span.opener + span.body)
        else:
            self._leak(span.opener + span.body, is_whole=not span.mark.closers)
        return text + self._spoken()

    def _whole_chars(self, text: str) -> str:
        """Join halves of characters that came in two pieces; a half that stays alone is replaced."""
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text[: len(text) - len(self._half)]
        if _SURROGATE.search(text) is None:
            return text
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _finish_text(self, rest: str) -> None:
        if not rest or rest[0] not in text_guess.FIRST_CHARS or not self._tools:
            self._say(rest)
        elif read_leaked_calls(rest, self._tools):
            self._leak(rest, is_whole=True)
        elif self._guesser.is_cut_call(rest):
            self._leak(rest, is_whole=False)
        else:
            self._settle(rest)

    def _scan(self) -> bool:
        """Speak up to the next possible mark and deal with it; False if more must be seen."""
        found = _ALL_FIRST_CHARS.search(self._pending, self._read)
        self._say(self._take((found.start() if found is not None else len(self._pending)) - self._read))
        if found is None:
            return False
        marked = mark_at(self._pending, self._read)
        if marked is not None:
            self._take(len(marked[0]))
            self._enter(*marked)
            return True
        return not may_become_mark(self._pending, self._read) and self._guess()

    def _guess(self) -> bool:
        if self._pending[self._read] not in text_guess.FIRST_CHARS:
            self._say(self._take(1))
            return True
        judged = self._guesser.judge(self._pending, self._read, in_sentence=self._in_sentence)
        if judged.verdict == "wait":
            return False
        text = self._take(judged.length)
        if judged.verdict == "call":
            self._leak(text, is_whole=True)
        elif len(text) > 1:
            self._settle(text)
        else:
            self._say(text)
        return True

    def _settle(self, text: str) -> None:
        """Speak text whose brackets mean nothing; marks inside of them still do."""
        inside = TextFilter({})
        said = inside.feed(text) + inside.finish()
        self._reasoning.append(inside.reasoning)
        self.leaks += inside.leaks
        self._say(said)

    def _enter(self, opener: str, mark: Mark) -> None:
        if mark.role == "stray_end":
            self._reasoning.append("".join(self._out))
            self._out.clear()
            self.began_with_reasoning = True
        elif mark.role != "noise":
            self._span = Span(opener, mark, in_sentence=self._in_sentence)
            return
        self._behind_mark = True

    def _go_on(self, span: Span) -> bool:
        """Look for the end of what is held back; False if more must be seen."""
        rest = span.feed(self._take(len(self._pending) - self._read))
        if span.is_talk or span.has_opener_of_its_own:
            self._say(span.opener)
            self._leave(span, rest or "")
            return True
        if rest is None:
            return False
        if span.mark.role == "reasoning":
            self._reasoning.append(span.body)
            self.began_with_reasoning |= not span.opener
        else:
            self._leak(span.opener + span.body + span.closer, is_whole=True)
        self._span, self._pending, self._read = None, rest, 0
        self._behind_mark = True
        return True

    def _leave(self, span: Span, rest: str) -> None:
        """Take what was held back for ordinary text."""
        self._span, self._pending, self._read = None, span.body + span.closer + rest, 0

    def _take(self, length: int) -> str:
        taken = self._pending[self._read : self._read + length]
        self._read += length
        return taken

    def _leak(self, text: str, *, is_whole: bool) -> None:
        self.leaks.append(Leak(text, is_whole))
        self._behind_mark, self._blanks = True, _BETWEEN_CALLS

    def _say(self, text: str) -> None:
        if self._behind_mark:
            self._space += text
            if not text.strip(self._blanks):
                return
            text = self._space if self._spoke or self._out else self._space.lstrip()
            self._space, self._behind_mark, self._blanks = "", False, None
        if text:
            self._out.append(text)
            *whole_lines, line = text.split("\n")
            self._in_sentence = bool(line.strip()) or (self._in_sentence and not whole_lines)

    def _spoken(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        self._spoke = self._spoke or bool(text)
        return text
