"""The state machine behind ``MarkupFilter``: it separates text, reasoning and tool calls.

Text is held back only while it may still turn out to be markup. The result does not depend on the pieces in which
the text comes, except that text which was returned cannot turn out to be reasoning any more.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from adapters.response.markup.bare_calls import FIRST_CHARS, BareCallDetector
from adapters.response.markup.leaked_call_parser import end_of_calls, looks_like_call, read_leaked_calls
from adapters.response.markup.mark_meaning import MarkJudge, Meaning
from adapters.response.markup.markers import (
    END_OF_REASONING,
    MARKS,
    Marker,
    is_part_of_call_mark,
    mark_at,
    may_become_mark,
)
from adapters.response.markup.regions import MarkedRegion
from adapters.response.markup.text_characters import Characters, Starts, TextBuffer
from adapters.response.markup.text_output import Gap, TextOutput
from adapters.response.markup.turn_headers import read_header
from adapters.response.tool_calls import TooManyCallsError

if TYPE_CHECKING:
    from adapters.response.markup.leaked_call_parser import LeakedCall
    from adapters.response.tool_schemas import Tools

_logger = logging.getLogger(__name__)

_UNMARKED_REASONING = Marker("reasoning", END_OF_REASONING)
_BETWEEN_CALLS = " \t\r\n,;"
_MARKUP_CHARS = frozenset("<>|[]/_")
_RUN = re.compile("`+")
_SLICE_CHARS = 1_024  # searched at once for the end of a region, so that a short region costs little


class State(Enum):
    """What the scanner does with the next text."""

    TEXT = auto()
    """Emit it, up to the next mark."""
    UNMARKED_REASONING = auto()
    """Hold it back until reasoning without an opening mark ends."""
    REASONING = auto()
    """Keep it as reasoning until its mark closes."""
    CALL = auto()
    """Hold it back until the mark of a tool call closes."""
    AFTER_CALL = auto()
    """Hold it back while it may be the rest of the mark of a structured call."""
    ENDED = auto()
    """Drop it: it belongs to an invented turn of another role."""


class Ending(Enum):
    """Why nothing follows the text that is held back."""

    STOP = auto()
    """The answer is complete."""
    CUT = auto()
    """The answer was cut off."""
    CALL = auto()
    """A structured tool call follows."""


@dataclass(frozen=True, slots=True)
class LeakedPassage:
    """Tool markup that was taken out of the text.

    Attributes:
        text: The markup.
        calls: The calls of offered tools in it.
        is_whole: Whether its end has come.
        is_blank: Whether there is nothing between the marks, so that nothing is lost without a call.
    """

    text: str
    calls: tuple[LeakedCall, ...]
    is_whole: bool
    is_blank: bool = False


class MarkupScanner:
    """Separates the text of one answer from its reasoning and its tool markup.

    Args:
        tools: The offered tools. Without any, bare JSON is ordinary text.
        reasoning_first: Whether the answer begins with reasoning that has no opening mark.
        reasoning: Collects the reasoning.
        max_calls: How many passages may leak; ``TooManyCallsError`` is raised beyond that.
        emitted: The text returned so far; it grows with what is returned.
        passages: Collects the tool markup.

    Attributes:
        began_with_reasoning: Whether reasoning ended that had no opening mark.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        reasoning_first: bool,
        reasoning: list[str],
        max_calls: int,
        emitted: list[str],
        passages: list[LeakedPassage],
    ) -> None:
        self.began_with_reasoning = False
        self._tools = tools
        self._max_calls = max_calls
        self._reasoning = reasoning
        self._passages = passages
        self._characters = Characters()
        self._buffer = TextBuffer()
        self._output = TextOutput(emitted)
        self._judge = MarkJudge(self._buffer, self._output)
        self._detector = BareCallDetector(tools)
        self._starts = Starts(with_calls=bool(tools))
        self._text_to = 0  # offset up to which a bracket cannot begin a call
        self._ending: Ending | None = None
        self._is_in_doubt = False  # whether the output may turn out to be reasoning
        self._state = State.UNMARKED_REASONING if reasoning_first else State.TEXT
        self._region = MarkedRegion("", _UNMARKED_REASONING)
        self._steps = {
            State.TEXT: self._scan,
            State.UNMARKED_REASONING: self._read_region,
            State.REASONING: self._read_region,
            State.CALL: self._read_region,
            State.AFTER_CALL: self._skip_rest_of_mark,
            State.ENDED: self._drop,
        }

    @property
    def flows(self) -> bool:
        """Whether the next text can be emitted as it comes if it holds no suspicious character."""
        return (
            self._state is State.TEXT
            and self._buffer.is_empty
            and not self._characters.half
            and self._output.gap is Gap.NONE
        )

    @property
    def has_ended(self) -> bool:
        """Whether the model's turn is over, so that nothing after it belongs to the answer."""
        return self._state is State.ENDED

    def feed(self, text: str) -> str:
        """Take the next piece of text and return what can be emitted now."""
        self._buffer.feed(self._characters.join(text))
        self._advance()
        return "" if self._is_in_doubt else self._output.flush()

    def no_reasoning_first(self) -> None:
        """Stop holding text back for unmarked reasoning."""
        if self._state is State.UNMARKED_REASONING:
            self._give_region_back("")

    def call_arrived(self) -> str:
        """Settle the text that is held back, because a structured call follows, and return what can be emitted.

        The beginning of a mark is dropped: the server took the rest of it for the call.
        """
        if self._state in (State.REASONING, State.UNMARKED_REASONING, State.ENDED):
            return ""
        text = self._settle(Ending.CALL)
        self._state = State.AFTER_CALL
        return text

    def finish(self, *, cut: bool) -> str:
        """Return what was held back, now that nothing can follow.

        Args:
            cut: Whether the answer was cut off.
        """
        text = self.feed(self._characters.finish())
        self.no_reasoning_first()
        return text + self._settle(Ending.CUT if cut else Ending.STOP)

    def _settle(self, ending: Ending) -> str:
        self._ending = ending
        self._judge.is_over = True
        self._advance()
        while self._state in (State.REASONING, State.CALL):
            self._close_unclosed_region()
            self._advance()
        self._ending = None
        self._judge.is_over = False
        return self._output.flush()

    def _advance(self) -> None:
        self._is_in_doubt = False
        while not self._buffer.is_empty and self._steps[self._state]():
            pass

    def _scan(self) -> bool:
        """Emit the text up to the next possible mark and deal with that; False if more must be seen."""
        buffer = self._buffer
        found = self._starts.next_in(buffer.text, buffer.position)
        self._output.emit(buffer.take_rest() if found is None else buffer.take(found - buffer.position))
        if found is None:
            return False
        marked = mark_at(buffer.text, found)
        if marked is not None:
            opener, mark = marked
            return self._meet_header(opener, mark) if mark.role == "header" else self._meet_mark(opener, mark)
        if may_become_mark(buffer.text, found):
            if self._ending is None:
                return False
            if self._ending is not Ending.STOP:
                buffer.take_rest()
                return False
        if buffer.text[found] in FIRST_CHARS and not self._detector.gave_up and buffer.offset >= self._text_to:
            return self._meet_bracket()
        self._output.emit(buffer.take(1))
        return True

    def _meet_mark(self, opener: str, mark: Marker) -> bool:
        meaning = self._judge.judge(opener, mark)
        if meaning is Meaning.WAIT:
            self._is_in_doubt = mark.role == "stray_end"
            return False
        self._buffer.take(len(opener))
        if meaning is Meaning.WORD:
            self._emit_mark(opener)
        elif mark.role in ("reasoning", "call"):
            self._region = MarkedRegion(opener, mark, in_sentence=self._output.is_in_sentence)
            self._state = State.REASONING if mark.role == "reasoning" else State.CALL
        elif mark.role == "stray_end":
            self._reasoning.append(self._output.withdraw())
            self._judge.has_reasoned = self.began_with_reasoning = True
            self._output.open_gap()
        else:
            self._output.open_gap(Gap.TURN if mark.role == "turn_end" else Gap.MARK)
        return True

    def _meet_header(self, opener: str, mark: Marker) -> bool:
        buffer, output = self._buffer, self._output
        header = read_header(buffer.text, buffer.position + len(opener), mark, is_over=self._judge.is_over)
        if header.kind == "wait":
            return False
        meaning = self._judge.judge_header(opener, header)
        if meaning is Meaning.WAIT:
            return False
        written = buffer.take(header.end - buffer.position)
        ends_turn = output.gap is Gap.TURN or (mark.turn_of and output.has_text)
        if meaning is Meaning.WORD:
            self._emit_mark(written)
        elif header.kind == "other" and ends_turn:
            _logger.info("The model went on with a turn of another role; that text is dropped.")
            self._state = State.ENDED
        else:
            output.open_gap()
        return True

    def _meet_bracket(self) -> bool:
        """Deal with a bracket or a fence that may begin a call without marks."""
        buffer = self._buffer
        run = _RUN.match(buffer.text, buffer.position)
        if run is not None and run.end() == len(buffer.text) and self._ending is None:
            return False
        length = len(run.group()) if run is not None else 1
        line = self._output.line
        if line.code or line.talks_of_marks:
            self._output.emit(buffer.take(length))
            return True
        return self._meet_bare_call(length)

    def _meet_bare_call(self, length: int) -> bool:
        """Deal with what may be a call without marks; its first characters have this length."""
        buffer, output = self._buffer, self._output
        verdict = self._detector.judge(
            buffer.text, buffer.position, in_sentence=output.is_in_sentence, is_over=self._judge.is_over
        )
        if verdict.kind == "wait":
            return False
        if self._detector.gave_up:
            self._starts = Starts(with_calls=False)
        if verdict.kind == "text":
            self._text_to = buffer.offset + verdict.length
            output.emit(buffer.take(length))
            return True
        passage = buffer.take(verdict.length)
        if verdict.kind == "call":
            self._add_passage(passage, verdict.calls, is_whole=True)
        elif self._ending is not Ending.CALL:
            self._add_passage(passage, (), is_whole=False)
        return True

    def _read_region(self) -> bool:
        """Look for the end of a region; False if more must be seen."""
        region, buffer = self._region, self._buffer
        while (rest := region.feed(buffer.take(_SLICE_CHARS))) is None and not region.is_none:
            if self._state is State.REASONING:
                self._reasoning.append(region.taken_body())
            if buffer.is_empty:
                return False
        if region.is_none:
            self._give_region_back(rest or "")
            return True
        buffer.give_back(rest or "")
        if self._state is State.CALL:
            self._close_call()
            return True
        self._reasoning.append(region.body)
        self.began_with_reasoning |= self._state is State.UNMARKED_REASONING
        self._judge.has_reasoned = True
        self._output.keep()
        self._output.open_gap(_gap_behind(region))
        self._state = State.TEXT
        return True

    def _give_region_back(self, rest: str) -> None:
        """Take a region for ordinary text."""
        region = self._region
        if region.opener:
            self._emit_mark(region.opener)
        self._state = State.TEXT
        self._buffer.give_back(region.body + region.closer + rest)

    def _close_call(self) -> None:
        """Read the calls in a region whose closing mark has come."""
        region, gap = self._region, _gap_behind(self._region)
        passage, is_blank = region.opener + region.body + region.closer, not region.body.strip()
        calls = tuple(read_leaked_calls(passage, self._tools))
        is_about_marks = region.in_sentence or self._judge.talks_of_marks
        self._state = State.TEXT
        if calls or is_blank or not is_about_marks or looks_like_call(region.body, self._tools):
            self._add_passage(passage, calls, is_whole=True, is_blank=is_blank)
            self._output.open_gap(gap)
        elif gap is Gap.TURN:
            self._emit_mark(region.opener + region.body)
            self._buffer.give_back(region.closer)
        else:
            self._emit_mark(passage)

    def _close_unclosed_region(self) -> None:
        """Read a region whose closing mark has not come and will not come."""
        region, state = self._region, self._state
        self._state = State.TEXT
        if state is State.REASONING:
            self._reasoning.append(region.body)
            return
        passage = region.opener + region.body
        calls = tuple(read_leaked_calls(passage, self._tools))
        if calls:
            end = end_of_calls(passage, self._tools, calls)
            self._add_passage(passage[:end], calls, is_whole=not region.mark.closers)
            self._buffer.give_back(passage[end:])
        elif self._ending is Ending.CALL:
            _logger.info("Tool markup before a structured tool call was dropped.")
        elif self._ending is Ending.STOP and region.in_sentence and region.has_at_most_a_word(self._tools):
            self._emit_mark(passage)
        else:
            self._add_passage(passage, (), is_whole=False, is_blank=not region.body.strip())

    def _skip_rest_of_mark(self) -> bool:
        """Drop what is left of the mark of a structured call; False if more must be seen."""
        rest = self._buffer.text[self._buffer.position :]
        if is_part_of_call_mark(rest):
            if self._ending is None:
                return False
            if self._ending is Ending.CALL or not _MARKUP_CHARS.isdisjoint(rest):
                self._buffer.take_rest()
                return False
        self._state = State.TEXT
        self._output.open_gap()
        return True

    def _drop(self) -> bool:
        self._buffer.take_rest()
        return False

    def _emit_mark(self, text: str) -> None:
        """Emit a mark that is a word."""
        self._output.emit(text)
        self._output.line.talks_of_marks = True
        self._judge.talks_of_marks = True

    def _add_passage(self, text: str, calls: tuple[LeakedCall, ...], *, is_whole: bool, is_blank: bool = False) -> None:
        if len(self._passages) == self._max_calls:
            raise TooManyCallsError
        if not calls and not is_blank:
            _logger.warning("Tool markup in which no call can be read was removed from the text.")
        self._passages.append(LeakedPassage(text, calls, is_whole, is_blank))
        self._output.open_gap(space_chars=_BETWEEN_CALLS)


def _gap_behind(region: MarkedRegion) -> Gap:
    closing = MARKS.get(region.closer.lower())
    return Gap.TURN if closing is not None and closing.role == "turn_end" else Gap.MARK
