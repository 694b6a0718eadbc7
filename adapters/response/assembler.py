"""Chunks -> one answer: text to speak as it comes, and at the end the calls, the reasoning, and whether it is good.

Both ways of asking, streamed or not, go through here, so that they cannot differ. An answer that is empty, cut or
garbled never passes for a good one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.response.markup.filter import MarkupFilter, read_generation
from adapters.response.markup.leaked_call_parser import finished_calls
from adapters.response.reasoning import MOST_REASONING_CHARS, Reasoning
from adapters.response.tool_calls import MOST_CALLS, CallAssembler, TooManyCalls, without_pseudo_tools
from adapters.transport.errors import failures
from adapters.transport.errors.failures import NO_CALL
from adapters.types import LLMResponse

if TYPE_CHECKING:
    from adapters.errors import APIError, UpstreamError
    from adapters.response.chunks import Chunk
    from adapters.response.tool_calls import FinishedCall, Tools
    from adapters.transport.endpoint import Endpoint
    from adapters.types import TokenUsage, ToolCall

_logger = logging.getLogger(__name__)

_COMES_BACK = ("reasoning_content", "reasoning")  # DeepSeek, Kimi, MiniMax, GLM and gpt-oss servers ask for them
_CUT = ("length", "max_tokens", "model_length")  # OpenAI's word and two of others


class CallInsteadOfTextError(Exception):
    """Text was asked for, and the model wants to call a tool instead."""


@dataclass(frozen=True, slots=True)
class AssembledResponse:
    """A good answer.

    Attributes:
        response: The whole answer.
        extras: Call id -> fields of the provider's own that must come back with the call.
        echo: Fields of the message that must come back with its calls; empty if there are none.
        began_with_reasoning: Whether reasoning ended that had no opening mark.
    """

    response: LLMResponse
    extras: dict[str, dict[str, Any]]
    echo: dict[str, Any]
    began_with_reasoning: bool


class ResponseAssembler:
    """One answer as it grows.

    Args:
        origin: Who answers.
        tools: The offered tools.
        wants_text: Whether calls are forbidden.
        reasoning_first: Whether this server's answers begin with unmarked reasoning.
        most_calls: How many calls it may hold.
        most_reasoning_chars: How much reasoning is kept.

    Attributes:
        id: The server's name for the answer, as soon as it has told it.
        request_id: The server's name for the request, from the head of what came; set by whoever reads that.
        finish_reason: Why the answer ended, or None.
        has_ended: Whether the server said itself that nothing follows.
        outcome: The good answer, after ``finish``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tools: Tools,
        *,
        wants_text: bool,
        reasoning_first: bool,
        most_calls: int = MOST_CALLS,
        most_reasoning_chars: int = MOST_REASONING_CHARS,
    ) -> None:
        self._endpoint = endpoint
        self._tools = tools
        self._wants_text = wants_text
        self._most_calls = most_calls
        self._reasoning = Reasoning(most_reasoning_chars)
        self._filter = MarkupFilter(
            tools, reasoning_first=reasoning_first, reasoning=self._reasoning, most_calls=most_calls
        )
        self._calls = CallAssembler(tools, most_calls=most_calls)
        self._texts: list[str] = []
        self._refusal = ""
        self._logprobs: list[dict[str, Any]] = []
        self._usage: TokenUsage | None = None
        self._model: str | None = None
        self._upstream_provider: str | None = None
        self.id: str | None = None
        self.request_id: str | None = None
        self.finish_reason: str | None = None
        self._native_finish_reason: str | None = None
        self._has_choices = False
        self._finished: list[FinishedCall] = []
        self._rescued: list[FinishedCall] = []
        self._rescued_text = ""
        self.has_ended = False
        self.outcome: AssembledResponse | None = None

    @property
    def has_text(self) -> bool:
        """Whether any text has been given out."""
        return bool(self._texts)

    @property
    def is_reasoning(self) -> bool:
        """Whether there is reasoning, and no text yet."""
        return self._reasoning.has_begun and not self._texts

    def feed(self, chunk: Chunk, *, whole: bool = False) -> str:
        """Take one chunk and return what may be spoken now.

        Raises:
            IncompleteResponseError: If it holds more calls than an answer may.
        """
        if chunk.usage or chunk.finish_reason or chunk.native_finish_reason or not self._model:
            self._note(chunk)
        if chunk.refusal or chunk.logprobs:
            self._refusal += chunk.refusal
            self._logprobs += chunk.logprobs
        if chunk.reasoning or chunk.details:
            self._think(chunk)
        self._has_choices |= chunk.has_choices
        try:
            if chunk.calls:
                self._calls.feed(chunk.calls, whole=whole)
            return self._emit(self._filter.feed(chunk.text)) if chunk.text else ""
        except TooManyCalls:
            raise self._too_many() from None

    def end(self) -> None:
        """Note that the server said itself that nothing follows: ``[DONE]``, or a document that is whole."""
        self.has_ended = True

    @property
    def is_over(self) -> bool:
        """Whether the answer has said that it is finished; usage may still follow."""
        return self.has_ended or self.finish_reason is not None

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended because it may not be longer."""
        return self.finish_reason in _CUT

    def rescue(self, failure: UpstreamError) -> bool:
        """Use what the model wrote when its server could not read it as a tool call (Groq's ``tool_use_failed``).

        Args:
            failure: What the server said.

        Returns:
            Whether the answer ends well with it.

        Raises:
            CallInsteadOfText: If text was wanted, and it is a call.
            IncompleteResponseError: If there are more calls than an answer may hold.
        """
        written = failure.failed_generation
        if "tool_use_failed" not in failure.codes and written is None:
            return False
        try:
            calls, text = read_generation(written or "", self._tools)
        except TooManyCalls:
            raise self._too_many() from None
        if self._wants_text and not self.has_text and not text:
            raise CallInsteadOfTextError
        if not self._wants_text and not calls and (self.has_text or not text):
            return False
        self.request_id = failure.request_id
        self._rescued = calls
        self._rescued_text = "" if self.has_text else text
        self.end()
        return True

    def failed(self) -> APIError:
        """The error for an answer whose finish reason is ``error`` and that says no more."""
        if "FUNCTION" in (self._native_finish_reason or "").upper():
            return failures.incomplete(NO_CALL, self._endpoint)
        return failures.incomplete("failed in the middle of its answer. Please ask again.", self._endpoint)

    def flush(self) -> str:
        """Return the text that was held back, now that nothing can follow.

        Raises:
            IncompleteResponseError: If there are more calls than an answer may hold.
        """
        try:
            text = self._emit(self._filter.finish() + self._rescued_text)
            leaked = self._leaked()
        except TooManyCalls:
            raise self._too_many() from None
        calls = self._calls.finish(cut=self.is_cut)
        known = [(call.tool_call.name, call.tool_call.arguments) for call in calls]  # vLLM may send one both ways
        leaked = [call for call in leaked if (call.tool_call.name, call.tool_call.arguments) not in known]
        if len(calls) + len(leaked) + len(self._rescued) > self._most_calls:
            raise self._too_many()
        self._finished, said = without_pseudo_tools(calls + leaked + self._rescued, self._tools)
        return text + self._emit("" if self.has_text else said)

    def finish(self) -> AssembledResponse:
        """Judge the answer after ``flush``.

        Raises:
            CallInsteadOfText: If text was wanted and only calls came.
            APIError: If it is no whole, useful answer. Text that was returned stays valid.
        """
        content = "".join(self._texts) or None
        calls = [] if self._wants_text else self._finished
        if not self.is_over or (content is None and not calls):
            if self._wants_text and content is None and self._wanted_call:
                raise CallInsteadOfTextError
            raise self._empty() if self.is_over else self._interrupted()
        response = self._response(content, [call.tool_call for call in calls])
        extras = {call.tool_call.id: call.extras for call in calls if call.extras}
        echo = self._reasoning.echo if calls else {}
        self.outcome = AssembledResponse(response, extras, echo, self._filter.began_with_reasoning)
        return self.outcome

    def _response(self, content: str | None, tool_calls: list[ToolCall]) -> LLMResponse:
        return LLMResponse(
            content=content,
            tool_calls=tool_calls,
            usage=self._usage,
            reasoning=self._reasoning.text.strip() or None,
            finish_reason=self.finish_reason,
            model=self._model,
            refusal=self._refusal.strip() or None,
            logprobs=self._logprobs or None,
            native_finish_reason=self._native_finish_reason,
            id=self.id,
            request_id=self.request_id,
            provider=self._endpoint.provider,
            upstream_provider=self._upstream_provider,
        )

    def _emit(self, text: str) -> str:
        if text:
            self._texts.append(text)
        return text

    def _note(self, chunk: Chunk) -> None:
        self._usage = chunk.usage or self._usage
        self.id = self.id or chunk.id
        self._model = self._model or chunk.model
        self._upstream_provider = self._upstream_provider or chunk.upstream_provider
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self._native_finish_reason = chunk.native_finish_reason or self._native_finish_reason

    def _think(self, chunk: Chunk) -> None:
        if chunk.reasoning:
            self._reasoning.add(chunk.reasoning, chunk.reasoning_field if chunk.reasoning_field in _COMES_BACK else "")
            self._filter.no_reasoning_first()
        self._reasoning.add_details(chunk.details)

    @property
    def _wanted_call(self) -> bool:
        """Whether the model tried to call a tool, well or badly."""
        return self._calls.has_calls or bool(self._filter.leaks)

    def _leaked(self) -> list[FinishedCall]:
        leaks = [leak for leak in self._filter.leaks if leak.is_whole or not self.is_cut]
        return [call for leak in leaks for call in finished_calls(leak.text, self._tools)]

    def _too_many(self) -> APIError:
        _logger.warning("%s made more tool calls than limits.calls (%d).", self._endpoint.provider, self._most_calls)
        says = f"made more than {self._most_calls} tool calls in one answer (limit calls). Please ask again."
        return failures.incomplete(says, self._endpoint)

    def _interrupted(self) -> APIError:
        if self.has_text:
            return failures.incomplete("broke off in the middle of its answer. Please ask again.", self._endpoint)
        if self._wanted_call:
            return failures.incomplete(f"broke off and {NO_CALL}", self._endpoint)
        if self._reasoning.text.strip():
            return failures.incomplete("broke off while it only thought. Please ask again.", self._endpoint)
        return failures.incomplete("sent an empty answer. Please ask again.", self._endpoint)

    def _empty(self) -> APIError:
        if self._wanted_call:
            hint = " Its answer was cut by max_tokens." if self.is_cut else ""
            return failures.incomplete(f"{NO_CALL}{hint}", self._endpoint)
        if self.finish_reason == "content_filter":
            return failures.filtered(self._endpoint)
        if self._reasoning.text.strip():
            advice = "Please raise max_tokens or turn thinking off." if self.is_cut else "Please ask again."
            return failures.incomplete(f"only thought and did not answer. {advice}", self._endpoint)
        if self.is_cut:
            return failures.incomplete("used up max_tokens before it said anything. Please raise it.", self._endpoint)
        if not self._has_choices:
            return failures.incomplete("sent nothing that is an answer. Please ask again.", self._endpoint)
        return failures.incomplete("sent an empty answer. Please ask again.", self._endpoint)
