"""Chunks -> one answer: text to speak as it comes, and at the end the calls, the reasoning, and whether it is good.

Both ways of asking, streamed or not, go through here, so that they cannot differ. An answer that is empty, cut or
garbled never passes for a good one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.extras import merge_details
from adapters.leaked_calls import read_leaked_calls
from adapters.rescue import finished_calls, read_generation, without_pseudo_tools
from adapters.text_filter import TextFilter
from adapters.tool_calls import CallAssembler
from adapters.types import LLMResponse
from adapters.wire import failures
from adapters.wire.failures import NO_CALL

if TYPE_CHECKING:
    from adapters.errors import APIError
    from adapters.tool_calls import FinishedCall, Tools
    from adapters.types import TokenUsage
    from adapters.wire.chunks import Chunk
    from adapters.wire.origin import Origin
    from adapters.wire.upstream import UpstreamError

_CUT = ("length", "max_tokens", "model_length")  # OpenAI's word and two of others


class CallInsteadOfText(Exception):  # noqa: N818 - a signal: nothing failed yet
    """Text was asked for, and the model wants to call a tool instead."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A good answer.

    Attributes:
        response: The whole answer.
        extras: Call id -> fields of the provider's own that must come back with the call.
        details: ``reasoning_details`` of the message, to come back with its calls.
        began_with_reasoning: Whether reasoning ended that had no opening mark.
    """

    response: LLMResponse
    extras: dict[str, dict[str, Any]]
    details: list[dict[str, Any]]
    began_with_reasoning: bool


class Answer:
    """One answer as it grows.

    Args:
        origin: Who answers.
        tools: The offered tools.
        wants_text: Whether calls are forbidden.
        reasoning_first: Whether this server's answers begin with unmarked reasoning.
    """

    def __init__(self, origin: Origin, tools: Tools, *, wants_text: bool, reasoning_first: bool) -> None:
        self._origin = origin
        self._tools = tools
        self._wants_text = wants_text
        self._filter = TextFilter(tools, reasoning_first=reasoning_first)
        self._calls = CallAssembler(tools)
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._usage: TokenUsage | None = None
        self._model: str | None = None
        self.finish_reason: str | None = None
        self._native_finish_reason: str | None = None
        self._has_choices = False
        self._finished: list[FinishedCall] = []
        self._rescued: list[FinishedCall] = []
        self._rescued_text = ""
        self.has_ended = False

    @property
    def spoke(self) -> bool:
        """Whether any text has been given out."""
        return bool(self._texts)

    def feed(self, chunk: Chunk, *, whole: bool = False) -> str:
        """Take one chunk and return what may be spoken now."""
        self._has_choices |= chunk.has_choices
        self._usage = chunk.usage or self._usage
        self._model = self._model or chunk.model
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self._native_finish_reason = chunk.native_finish_reason or self._native_finish_reason
        if chunk.reasoning:
            self._reasoning.append(chunk.reasoning)
            self._filter.no_reasoning_first()
        merge_details(self._details, chunk.details)
        self._calls.feed(chunk.calls, whole=whole)
        return self._say(self._filter.feed(chunk.text)) if chunk.text else ""

    def end(self) -> None:
        """Note that the server said itself that nothing follows: ``[DONE]``, or a document that is whole."""
        self.has_ended = True

    @property
    def is_over(self) -> bool:
        """Whether the answer has said that it is finished; usage may still follow."""
        return self.has_ended or self.finish_reason is not None

    def rescue(self, failure: UpstreamError) -> bool:
        """Use what the model wrote when its server could not read it as a tool call (Groq's ``tool_use_failed``).

        Args:
            failure: What the server said.

        Returns:
            Whether the answer ends well with it.

        Raises:
            CallInsteadOfText: If text was wanted, and it is a call.
        """
        written = failure.failed_generation
        if "tool_use_failed" not in failure.codes and written is None:
            return False
        calls, text = read_generation(written or "", self._tools)
        if self._wants_text and not self.spoke and not text:
            raise CallInsteadOfText
        if not self._wants_text and not calls and (self.spoke or not text):
            return False
        self._rescued = calls
        self._rescued_text = "" if self.spoke else text
        self.end()
        return True

    def failed(self) -> APIError:
        """The error for an answer whose finish reason is ``error`` and that says no more."""
        if "FUNCTION" in (self._native_finish_reason or "").upper():
            return failures.incomplete(NO_CALL, self._origin)
        return failures.incomplete("failed in the middle of its answer. Please ask again.", self._origin)

    def flush(self) -> str:
        """Return the text that was held back, now that nothing can follow."""
        text = self._say(self._filter.finish() + self._rescued_text)
        calls = self._calls.finish(cut=self._is_cut)
        known = [(call.tool_call.name, call.tool_call.arguments) for call in calls]  # vLLM may send one both ways
        leaked = [call for call in self._leaked() if (call.tool_call.name, call.tool_call.arguments) not in known]
        self._finished = calls + leaked + self._rescued
        self._finished, said = without_pseudo_tools(self._finished, self._tools)
        return text + self._say("" if self.spoke else said)

    def finish(self) -> Outcome:
        """Judge the answer after ``flush``.

        Raises:
            CallInsteadOfText: If text was wanted and only calls came.
            APIError: If it is no whole, useful answer. Text that was returned stays valid.
        """
        content = "".join(self._texts) or None
        calls = [] if self._wants_text else self._finished
        if not self.is_over or (content is None and not calls):
            if self._wants_text and content is None and self._wanted_call:
                raise CallInsteadOfText
            raise self._empty() if self.is_over else self._interrupted()
        response = LLMResponse(
            content=content,
            tool_calls=[call.tool_call for call in calls],
            usage=self._usage,
            reasoning=self._all_reasoning(),
            finish_reason=self.finish_reason,
            model=self._model,
        )
        extras = {call.tool_call.id: call.extras for call in calls if call.extras}
        return Outcome(response, extras, self._details if calls else [], self._filter.began_with_reasoning)

    def _say(self, text: str) -> str:
        if text:
            self._texts.append(text)
        return text

    def _all_reasoning(self) -> str | None:
        return "".join([*self._reasoning, self._filter.reasoning]).strip() or None

    @property
    def _wanted_call(self) -> bool:
        """Whether the model tried to call a tool, well or badly."""
        return self._calls.has_calls or bool(self._filter.leaks)

    @property
    def _is_cut(self) -> bool:
        return self.finish_reason in _CUT

    def _leaked(self) -> list[FinishedCall]:
        leaks = [leak for leak in self._filter.leaks if leak.is_whole or not self._is_cut]
        calls = [call for leak in leaks for call in read_leaked_calls(leak.text, self._tools)]
        return finished_calls(calls, self._tools)

    def _interrupted(self) -> APIError:
        if self.spoke:
            return failures.incomplete("broke off in the middle of its answer. Please ask again.", self._origin)
        if self._wanted_call:
            return failures.incomplete(f"broke off and {NO_CALL}", self._origin)
        if self._all_reasoning():
            return failures.incomplete("broke off while it only thought. Please ask again.", self._origin)
        return failures.incomplete("sent an empty answer. Please ask again.", self._origin)

    def _empty(self) -> APIError:
        if self._wanted_call:
            hint = " Its answer was cut by max_tokens." if self._is_cut else ""
            return failures.incomplete(f"{NO_CALL}{hint}", self._origin)
        if self.finish_reason == "content_filter":
            return failures.filtered(self._origin)
        if self._all_reasoning():
            advice = "Please raise max_tokens or turn thinking off." if self._is_cut else "Please ask again."
            return failures.incomplete(f"only thought and did not answer. {advice}", self._origin)
        if self._is_cut:
            return failures.incomplete("used up max_tokens before it said anything. Please raise it.", self._origin)
        if not self._has_choices:
            return failures.incomplete("sent nothing that is an answer. Please ask again.", self._origin)
        return failures.incomplete("sent an empty answer. Please ask again.", self._origin)
