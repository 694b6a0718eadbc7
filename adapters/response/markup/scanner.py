"""What may be spoken: text without reasoning and without tool markup, however a stream cuts it.

``MarkupScanner`` takes the text of an answer piece by piece and gives back what is safe to speak at once. It holds
back only what may still turn out to be a mark. Reasoning and leaked calls are kept beside the text.

A mark of reasoning means what it says at the start of the answer, of a line, or behind another mark. In a sentence it
is a word like any other, unless the model has thought before and text follows it directly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.response.markup.bare_calls import FIRST_CHARS, BareCallDetector, Verdict
from adapters.response.markup.leaked_call_parser import read_leaked_calls
from adapters.response.markup.line_context import LineContext
from adapters.response.markup.markers import END_OF_REASONING, MarkedRegion, Marker, mark_at, may_become_mark
from adapters.response.markup.text_characters import Characters, Starts
from adapters.response.tool_calls import TooManyCalls, clean_name

if TYPE_CHECKING:
    from adapters.response.tool_calls import Tools

_REASONING_MARK = Marker("reasoning", END_OF_REASONING)
_BETWEEN_CALLS = " \t\r\n,;"
_END_OF_LINE = re.compile(r"[ \t\r]*(?:\n|\Z)")
_BEHIND_TALK = re.compile(r"[\s.,;:!?)\]}\"'`]")  # what follows a mark that is a word in a sentence
_BEFORE_TALK = re.compile(r"[\s(]")
_SLICE_CHARS = 1_024  # so much is looked at at once for the end of a mark, so that a short span costs little


@dataclass(frozen=True, slots=True)
class Leak:
    """Tool markup that was taken out of the text.

    Attributes:
        text: The markup, whole or cut.
        is_whole: Whether its end was seen.
    """

    text: str
    is_whole: bool


class MarkupScanner:
    """Separates the text of one answer from what must not be spoken.

    Args:
        tools: The tools that were offered; without any, bare JSON is ordinary text.
        reasoning_first: Whether answers are known to begin with reasoning that has no opening mark. Text is held
            back then until the reasoning ends.
        reasoning: Where the reasoning is kept.
        most_calls: How many calls may leak; ``feed`` and ``finish`` raise ``TooManyCalls`` beyond that.
        emitted: The text returned so far; it grows with what is returned.
        leaks: Where the tool markup is kept.

    Attributes:
        flows: Whether text without a mark can be returned as it is.
        reasoning: The reasoning so far.
        leaks: The tool markup so far.
        began_with_reasoning: Whether reasoning ended that had never begun: the chat template ate the opening mark.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        reasoning_first: bool,
        reasoning: list[str],
        most_calls: int,
        emitted: list[str],
        leaks: list[Leak],
    ) -> None:
        self._tools = tools
        self._most_calls = most_calls
        self._guesser = BareCallDetector(tools)
        self._starts = Starts(with_calls=bool(tools))
        self.reasoning = reasoning
        self._characters = Characters()
        self._pending = ""
        self._read = 0  # so much of what is pending is dealt with
        self._span = MarkedRegion("", _REASONING_MARK) if reasoning_first else None
        self._is_over = False
        self.flows = False
        self._come_chars = 0
        self._plain_to = 0  # up to this character of all that came, brackets mean nothing
        self._out: list[str] = []
        self._surely_text = 0  # so many of them stand before reasoning that had a mark of its own
        self._is_in_doubt = False  # whether what is to be spoken may turn out to be reasoning
        self._spoke = bool(emitted)
        self._space: list[str] = []  # white space behind a mark: spoken only if text follows
        self._behind_mark = not emitted
        self._blanks: str | None = None  # what counts as white space there
        self._emitted = emitted
        self._line = LineContext(emitted)
        self._thinks = False  # whether reasoning came between marks
        self._talks_of_marks = False
        self.leaks = leaks
        self.began_with_reasoning = False

    def feed(self, text: str) -> str:
        """Take the next piece of text and return what may be spoken now."""
        text = self._characters.join(text)
        self._come_chars += len(text)
        self._pending += text
        self._is_in_doubt = False
        while self._read < len(self._pending) and (self._go_on(self._span) if self._span else self._scan()):
            pass
        self._pending, self._read = self._pending[self._read :], 0
        self.flows = not (self._pending or self._span or self._characters.half or self._behind_mark)
        return "" if self._is_in_doubt else self._spoken()

    def no_reasoning_first(self) -> None:
        """Note that the server keeps reasoning apart, so that the text needs no holding back."""
        if self._span is not None and not self._span.opener:
            self._leave(self._span, "")

    def finish(self) -> str:
        """Return what was held back, now that nothing can follow."""
        text = self.feed(self._characters.finish())
        self.no_reasoning_first()  # it was none after all
        self._is_over, self.flows = True, False
        text += self.feed("")
        span, self._span = self._span, None
        if span is None:
            return text
        if span.mark.role == "reasoning":
            self.reasoning.append(span.body)
        elif span.only_word is not None and clean_name(span.only_word, self._tools) not in self._tools:
            self._say(span.opener + span.body)
        else:
            self._leak(span.opener + span.body, is_whole=not span.mark.closers)
        return text + self._spoken()

    def _scan(self) -> bool:
        """Speak up to the next possible mark and deal with it; False if more must be seen."""
        found = self._starts.next_in(self._pending, self._read)
        self._say(self._take((len(self._pending) if found is None else found) - self._read))
        if found is None:
            return False
        marked = mark_at(self._pending, self._read)
        if marked is not None:
            return self._meet(*marked)
        if not self._is_over and may_become_mark(self._pending, self._read):
            return False
        if not self._guesser.gave_up and self._pending[self._read] in FIRST_CHARS and self._place >= self._plain_to:
            return self._guess()
        self._say(self._take(1))
        return True

    @property
    def _place(self) -> int:
        """Where we are in all that has come."""
        return self._come_chars - len(self._pending) + self._read

    def _guess(self) -> bool:
        guess = self._guesser.judge(self._pending, self._read, in_sentence=self._line.has_text)
        if guess.says == "wait":
            if not self._is_over:
                return False
            guess = self._guess_of_rest()
        if self._guesser.gave_up:
            self._starts = Starts(with_calls=False)
        if guess.says == "text":
            self._plain_to = self._place + guess.length
            self._say(self._take(1))
        else:
            self._leak(self._take(guess.length), is_whole=guess.says == "call")
        return True

    def _guess_of_rest(self) -> Verdict:
        """Judge a text that ended while more was waited for."""
        rest = self._pending[self._read :]
        if read_leaked_calls(rest, self._tools):
            return Verdict("call", len(rest))
        return Verdict("cut" if self._guesser.is_cut_call(rest) else "text", len(rest))

    def _meet(self, opener: str, mark: Marker) -> bool:
        """Deal with a mark; False if more must be seen."""
        is_meant = mark.role == "call" or self._is_meant(mark, self._read + len(opener))
        if is_meant is None:
            self._is_in_doubt = mark.role == "stray_end"
            return False
        self._take(len(opener))
        if not is_meant:
            self._talks_of_marks |= mark.role != "noise"
            self._say(opener)
            return True
        self._thinks |= mark.role in ("reasoning", "stray_end")
        if mark.role in ("reasoning", "call"):
            self._span = MarkedRegion(opener, mark, in_sentence=self._line.has_text)
            return True
        if mark.role == "stray_end":
            self.reasoning.append("".join(self._out[self._surely_text :]))
            del self._out[self._surely_text :]
            self.began_with_reasoning = True
        self._behind_mark = True
        return True

    def _is_meant(self, mark: Marker, end: int) -> bool | None:
        """Whether a mark is one and no word of a sentence or of code; None if more must be seen."""
        in_sentence = self._line.has_text and not self._behind_mark
        if in_sentence and self._line.in_code:
            return False
        if mark.role == "noise" or (mark.role == "reasoning" and not in_sentence):
            return True
        if mark.role == "reasoning" and not self._thinks:
            return False
        if end == len(self._pending) and not self._is_over:
            return None
        if mark.role == "reasoning":
            return end < len(self._pending) and _BEHIND_TALK.match(self._pending, end) is None
        return self._is_end(end, in_sentence=in_sentence)

    def _is_end(self, end: int, *, in_sentence: bool) -> bool | None:
        """Whether reasoning that had no beginning ends here: on a line of its own, or as the last word of a line."""
        ends = _END_OF_LINE.match(self._pending, end)
        if ends is None:
            return not in_sentence and _BEHIND_TALK.match(self._pending, end) is None
        if ends.end() == len(self._pending) and self._pending[-1] != "\n" and not self._is_over:
            return None
        return not in_sentence or not (self._talks_of_marks or _BEFORE_TALK.match(self._line.last))

    def _go_on(self, span: MarkedRegion) -> bool:
        """Look for the end of what is held back; False if more must be seen."""
        while (rest := span.feed(self._take(_SLICE_CHARS))) is None and not span.is_none:
            if span.mark.role == "reasoning" and span.opener:
                self.reasoning.append(span.taken_body())
            if self._read == len(self._pending):
                return False
        if span.is_none:
            self._say(span.opener)
            self._leave(span, rest or "")
            return True
        self._read -= len(rest or "")
        if span.mark.role == "reasoning":
            self.reasoning.append(span.body)
            self._surely_text = len(self._out)
            self._thinks = True
            self.began_with_reasoning |= not span.opener
        else:
            self._leak(span.opener + span.body + span.closer, is_whole=True)
        self._span = None
        self._behind_mark = True
        return True

    def _leave(self, span: MarkedRegion, rest: str) -> None:
        """Take what was held back for ordinary text."""
        text = span.body + span.closer + rest
        self._span, self.flows = None, False
        if self._pending.endswith(text, 0, self._read):
            self._read -= len(text)  # the usual case, and nothing is copied
        else:
            self._pending, self._read = text + self._pending[self._read :], 0

    def _take(self, most_chars: int) -> str:
        taken = self._pending[self._read : self._read + most_chars]
        self._read += len(taken)
        return taken

    def _leak(self, text: str, *, is_whole: bool) -> None:
        if len(self.leaks) == self._most_calls:
            raise TooManyCalls
        self.leaks.append(Leak(text, is_whole))
        self._behind_mark, self._blanks = True, _BETWEEN_CALLS

    def _say(self, text: str) -> None:
        if self._behind_mark:
            self._space.append(text)
            if not text.strip(self._blanks):
                return
            text = "".join(self._space)
            text = text if self._spoke or self._out else text.lstrip()
            self._space.clear()
            self._behind_mark, self._blanks = False, None
        if text:
            self._out.append(text)
            self._emitted.append(text)

    def _spoken(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        self._surely_text = 0
        self._spoke = self._spoke or bool(text)
        return text
