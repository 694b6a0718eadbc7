"""Assemble chunks into one response: text as it comes, and at the end the tool calls, the reasoning and a verdict.

Streamed and plain responses both pass through ``ResponseAssembler``, so they cannot differ. A response that is empty,
cut or garbled is an error. What most responses do not have (tool calls, reasoning) costs nothing until it comes.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from adapters._unicode import encodable, encodable_json
from adapters.response.chunks import logprobs_of, text_or_none
from adapters.response.finish_reasons import ending_of, log_unknown, worst_of
from adapters.response.markup.filter import MarkupFilter, read_generation
from adapters.response.markup.leaked_call_parser import finish_calls
from adapters.response.reasoning import MAX_REASONING_CHARS, Reasoning
from adapters.response.snapshots import SnapshotReader
from adapters.response.tool_calls import MAX_CALLS, CallAssembler, TooManyCallsError, without_pseudo_tools
from adapters.transport.errors import failures
from adapters.transport.errors.failures import FAILED_CALL
from adapters.types import LLMResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.errors import APIError, UpstreamError
    from adapters.response.chunks import CallFragment, Chunk
    from adapters.response.finish_reasons import Ending
    from adapters.response.tool_schemas import Tools
    from adapters.transport.endpoint import Endpoint
    from adapters.types import Json, TokenUsage, ToolCall

_logger = logging.getLogger(__name__)

_SENT_BACK = ("reasoning_content", "reasoning")  # DeepSeek, Kimi, MiniMax, GLM and gpt-oss servers require them
_MAX_LOGPROBS_CHARS = 16_000_000  # of JSON, whose values take many times as much memory
_OUT_OF_CONTEXT = "context"  # in the finish reasons of models whose context window is full


class CallInsteadOfTextError(Exception):
    """Text was requested, and the model only called a tool."""


@dataclass(frozen=True, slots=True)
class AssembledResponse:
    """A response that is whole and useful.

    Attributes:
        response: The response.
        began_with_reasoning: Whether reasoning ended that had no opening mark; None if there was no text at all.
    """

    response: LLMResponse
    began_with_reasoning: bool | None


class ResponseAssembler:
    """Assembles the chunks of one response.

    Args:
        endpoint: The server that answers.
        tools: The offered tools.
        wants_text: Whether calls are forbidden.
        wants_logprobs: Whether the caller requested ``logprobs``.
        allow_empty: Whether a response that ends well may have neither text nor calls.
        reasoning_first: Whether this server's responses begin with unmarked reasoning.
        max_calls: Limit of tool calls.
        max_reasoning_chars: Limit of the reasoning that is kept.

    Attributes:
        id: The server's id of the response, once known.
        request_id: The server's id of the request, from the response headers; set by the caller.
        usage: The server's latest count of tokens, or None.
        finish_reason: The server's finish reason, or None.
        has_ended: Whether the server marked the end of the response.
        assembled: The result of ``build``, or None before it.
    """

    id: str | None = None
    request_id: str | None = None
    usage: TokenUsage | None = None
    finish_reason: str | None = None
    has_ended: bool = False
    assembled: AssembledResponse | None = None
    _model: str | None = None
    _upstream_provider: str | None = None
    _native_finish_reason: str | None = None
    _ending: Ending = "good"
    _has_choices: bool = False
    _has_deltas: bool = False
    _snapshots: SnapshotReader | None = None  # created when text seems to come again
    _reasoning: Reasoning | None = None  # created with the first reasoning
    _calls: CallAssembler | None = None  # created with the first call
    _recovered_text: str = ""
    _lost_call: bool = False
    _logprobs_chars: int = 0

    def __init__(
        self,
        endpoint: Endpoint,
        tools: Tools,
        *,
        wants_text: bool,
        wants_logprobs: bool = False,
        allow_empty: bool = False,
        reasoning_first: bool,
        max_calls: int = MAX_CALLS,
        max_reasoning_chars: int = MAX_REASONING_CHARS,
    ) -> None:
        self._endpoint = endpoint
        self._tools = tools
        self._wants_text = wants_text
        self._allow_empty = allow_empty
        self._max_calls = max_calls
        self._max_reasoning_chars = max_reasoning_chars
        self._filter = MarkupFilter(tools, reasoning_first=reasoning_first, max_calls=max_calls)
        self._wants_logprobs = wants_logprobs
        self._pieces: list[str] = []  # of the text as it came, with its markup
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._recovered: list[ToolCall] = []
        self._finished: list[ToolCall] = []
        self._images: dict[str, None] = {}  # addresses; a stream may repeat them at its end

    @property
    def has_text(self) -> bool:
        """Whether any text has been returned."""
        return bool(self._texts)

    @property
    def has_structured_calls(self) -> bool:
        """Whether the server sent tool calls as such, and not as text."""
        return self._calls is not None

    @property
    def has_begun_call(self) -> bool:
        """Whether the model tried to call a tool, even if the call cannot be used."""
        return self._calls is not None or bool(self._filter.passages)

    @property
    def is_reasoning(self) -> bool:
        """Whether there is reasoning and no text yet."""
        return self._reasoning is not None and not self._texts

    @property
    def is_over(self) -> bool:
        """Whether the response is finished; usage may still follow."""
        return self.has_ended or self.finish_reason is not None

    @property
    def is_cut(self) -> bool:
        """Whether the response ended at a length limit."""
        return self._ending == "cut" and not self._filter.has_ended

    @property
    def has_failed(self) -> bool:
        """Whether the finish reason is a failure of the server, so that nothing that came is a good response."""
        return self._ending == "failed"

    def feed(self, chunk: Chunk, *, whole: bool = False) -> str:
        """Take one chunk and return the text that can be spoken now.

        Args:
            chunk: The chunk.
            whole: Whether it is the whole response, so that each call in it is complete.

        Raises:
            IncompleteResponseError: If there are more calls than the limit.
        """
        if chunk.usage or chunk.finish_reason or not self._model:
            self._read_envelope(chunk)
        if chunk.is_delta:
            self._has_deltas = True
        elif chunk.has_choices:
            self._has_choices = True
            if self._has_deltas and chunk.is_useful:
                whole = True
                self._keep_new(chunk)
        if not chunk.is_only_text:
            self._read_fields(chunk)
        try:
            text = self._add_text(chunk.text) if chunk.text else ""
            if chunk.calls:
                self._add_calls(chunk.calls, whole=whole)
        except TooManyCallsError:
            raise self._too_many_calls() from None
        return text

    def end(self) -> None:
        """Note that the server marked the end: with ``[DONE]``, or with a whole document."""
        self.has_ended = True

    def recover(self, failure: UpstreamError) -> bool:
        """Use what the model wrote when its server could not read it as a tool call (Groq's ``tool_use_failed``).

        Args:
            failure: The server's error.

        Returns:
            Whether the response ends well with it.

        Raises:
            CallInsteadOfTextError: If text was requested, and it is a call.
            IncompleteResponseError: If there are more calls than the limit.
        """
        written = failure.failed_generation
        if "tool_use_failed" not in failure.codes and written is None:
            return False
        try:
            calls, text = read_generation(written or "", self._tools)
        except TooManyCallsError:
            raise self._too_many_calls() from None
        if self._wants_text and not self.has_text and not text:
            raise CallInsteadOfTextError
        if not self._wants_text and not calls and (self.has_text or not text):
            return False
        self.request_id = failure.request_id
        self._recovered = calls
        self._recovered_text = "" if self.has_text else text
        self.end()
        return True

    def failed(self) -> APIError:
        """Return the error for a response that ``has_failed`` and gives no other reason."""
        reasons = f"{self.finish_reason} {self._native_finish_reason}".lower()
        if "function" in reasons or "tool" in reasons:  # Google's and Bedrock's words for a call that is not valid
            return failures.incomplete(FAILED_CALL, self._endpoint)
        return failures.incomplete("failed in the middle of its answer. Please try again.", self._endpoint)

    def flush(self) -> str:
        """Return the text that was held back, now that nothing can follow.

        Raises:
            IncompleteResponseError: If there are more calls than the limit.
        """
        if self._reasoning is not None:
            self._reasoning.finish()
        try:
            text = self._filter.feed(self._snapshots.finish()) if self._snapshots else ""
            text += self._filter.finish(cut=self.is_cut or not self.is_over) + self._recovered_text
            if self._filter.reasoning:
                self._keep_reasoning()
            if self._calls or self._filter.passages or self._recovered:
                pseudo_text = self._finish_calls()
                text = text if text or self._texts else pseudo_text
            elif self._ending == "called":
                self._lost_call = bool(self._tools)
        except TooManyCallsError:
            raise self._too_many_calls() from None
        if text:
            self._texts.append(text)
        return text

    def build(self) -> AssembledResponse:
        """Return the response, after ``flush``.

        Raises:
            CallInsteadOfTextError: If text was requested and only calls came.
            APIError: If the response is not whole or not useful. Text that was returned stays valid.
        """
        content = "".join(self._texts) or None
        calls = [] if self._wants_text else self._finished
        is_empty = content is None and not calls and not self._images and not self._is_silent
        if not self.is_over or is_empty or (self._lost_call and not self._wants_text):
            if self._wants_text and content is None and self.has_begun_call:
                raise CallInsteadOfTextError
            raise self._useless() if self.is_over else self._interrupted()
        reasoning = self._reasoning
        response = LLMResponse(
            content=content,
            tool_calls=self._with_message_fields(calls) if calls else [],
            usage=self.usage,
            reasoning=(reasoning.text.strip() or None) if reasoning else None,
            finish_reason=self.finish_reason,
            model=self._model,
            refusal=(encodable("".join(self._refusals).strip()) or None) if self._refusals else None,
            logprobs=self._logprobs or None,
            native_finish_reason=self._native_finish_reason,
            id=self.id,
            request_id=self.request_id,
            provider=self._endpoint.provider,
            upstream_provider=self._upstream_provider,
            images=tuple({"type": "image_url", "image_url": {"url": url}} for url in self._images)
            if self._images
            else (),
        )
        began_with_reasoning = self._filter.began_with_reasoning or (False if content else None)
        self.assembled = AssembledResponse(response, began_with_reasoning)
        return self.assembled

    def partial_response(self) -> LLMResponse:
        """Return what a response that was left early has brought: its text and ids, and neither calls nor usage."""
        content = "".join(self._texts) or None
        return LLMResponse(content, model=self._model, id=self.id, request_id=self.request_id)

    def _with_message_fields(self, calls: list[ToolCall]) -> list[ToolCall]:
        """Add to the first call the fields of the message that must be sent back with its calls."""
        fields = encodable_json(self._reasoning.provider_fields) if self._reasoning is not None else {}
        if not fields:
            return calls
        return [replace(calls[0], provider_fields={"message": fields, **calls[0].provider_fields}), *calls[1:]]

    def _read_envelope(self, chunk: Chunk) -> None:
        envelope = chunk.envelope
        self.usage = chunk.usage or self.usage
        self.id = self.id or text_or_none(envelope.get("id"))
        self._model = self._model or text_or_none(envelope.get("model"))
        self._upstream_provider = self._upstream_provider or text_or_none(envelope.get("provider"))
        if chunk.finish_reason:
            self.finish_reason = chunk.finish_reason
            self._ending = "good" if chunk.finish_reason == "stop" else self._classify(chunk.finish_reason)
        if chunk.native_finish_reason:
            self._native_finish_reason = chunk.native_finish_reason
            self._ending = worst_of(self._ending, ending_of(chunk.native_finish_reason))

    def _classify(self, finish_reason: str) -> Ending:
        ending = ending_of(finish_reason)
        if ending == "unknown":
            log_unknown(self._endpoint.provider, finish_reason)
        return ending

    def _read_fields(self, chunk: Chunk) -> None:
        """Take what a message holds beside its text and its calls."""
        if chunk.calls and not chunk.is_delta:
            self._filter.call_arrived()  # in a whole message, the text may also be from between the calls
        if chunk.refusal:
            self._refusals.append(chunk.refusal)
        if self._wants_logprobs and chunk.logprobs:
            self._add_logprobs(chunk.logprobs)
        self._images.update(dict.fromkeys(chunk.images))
        if not (chunk.reasoning or chunk.details or chunk.blocks):
            return
        if self._reasoning is None:
            self._reasoning = Reasoning(self._max_reasoning_chars)
        if chunk.reasoning:
            is_sent_back = chunk.reasoning_field in _SENT_BACK
            self._reasoning.add_piece(chunk.reasoning, chunk.reasoning_field if is_sent_back else "")
            self._filter.no_reasoning_first()
        self._reasoning.add_details(chunk.details)
        self._reasoning.add_blocks(chunk.blocks)

    def _add_logprobs(self, logprobs: Json) -> None:
        for entry in logprobs_of(logprobs):
            self._logprobs_chars += len(json.dumps(entry))
            if self._logprobs_chars > _MAX_LOGPROBS_CHARS:
                break
            self._logprobs.append(entry)

    def _add_calls(self, fragments: Sequence[CallFragment], *, whole: bool) -> None:
        self._filter.call_arrived()
        self._calls = self._calls or CallAssembler(self._tools, max_calls=self._max_calls)
        self._calls.feed(fragments, whole=whole)

    def _keep_new(self, chunk: Chunk) -> None:
        """Remove from a whole message what deltas have brought before."""
        text = "".join(self._pieces)
        if text:
            chunk.text = chunk.text[len(text) :] if chunk.text.startswith(text) else ""
            chunk.refusal = chunk.text if chunk.refusal else ""
        if self._reasoning is not None:
            chunk.reasoning, chunk.details, chunk.blocks = "", (), ()
        if self._calls is not None:
            chunk.calls = ()

    def _add_text(self, text: str) -> str:
        """Take a piece of text that is not empty; return what can be spoken now."""
        pieces = self._pieces
        if self._snapshots is not None or (pieces and text.startswith(pieces[0])):
            self._snapshots = self._snapshots or SnapshotReader(pieces)
            text = self._snapshots.feed(text)
        else:
            pieces.append(text)
        text = self._filter.feed(text)
        if self._filter.reasoning:
            self._keep_reasoning()
        if text:
            self._texts.append(text)
        return text

    def _keep_reasoning(self) -> None:
        """Keep the reasoning that the filter took out of the text."""
        self._reasoning = self._reasoning or Reasoning(self._max_reasoning_chars)
        self._reasoning.add("".join(self._filter.reasoning))
        self._filter.reasoning.clear()

    def _finish_calls(self) -> str:
        """Collect the calls of all origins; return the text of calls that only carry text."""
        strict = self._ending not in ("good", "called") and not self._filter.has_ended
        calls = self._calls.finish(cut=strict) if self._calls else []
        known = [(call.name, call.arguments) for call in calls]  # vLLM may send one both ways
        leaked = finish_calls(self._filter.calls(cut=strict), self._tools)
        calls += [call for call in leaked if (call.name, call.arguments) not in known]
        calls += self._recovered
        if len(calls) > self._max_calls:
            raise TooManyCallsError
        self._finished, text = without_pseudo_tools(calls, self._tools)
        if calls:
            self._lost_call = self._calls is not None and self._calls.is_uncertain
        else:
            self._lost_call = self._calls is not None or bool(self._tools)
        self._lost_call = self._lost_call or self._filter.has_unread_call(cut=strict)
        return text

    @property
    def _is_silent(self) -> bool:
        """Whether an empty response is the model's choice, and the caller accepts that."""
        said_so = self.finish_reason is not None and self._ending == "good"
        return self._allow_empty and said_so and not self.has_begun_call

    def _too_many_calls(self) -> APIError:
        _logger.warning("%s made more tool calls than limits.calls (%d).", self._endpoint.provider, self._max_calls)
        says = f"made more than {self._max_calls} tool calls in one answer (limits.calls). Please try again."
        return failures.incomplete(says, self._endpoint)

    def _interrupted(self) -> APIError:
        """Return the error for a response that is not finished."""
        reason = "sent an empty answer. Please try again."
        if self.has_text:
            reason = "stopped in the middle of its answer. Please try again."
        elif self.has_begun_call:
            reason = f"stopped early and {FAILED_CALL}"
        elif self._has_thought:
            reason = "stopped before giving an answer. Please try again."
        return failures.incomplete(reason, self._endpoint)

    def _useless(self) -> APIError:
        """Return the error for a response that is finished, but without text, or without the call it announced."""
        if self._ending == "filtered":
            return failures.content_filtered(self._endpoint)
        reason = "sent an empty answer. Please try again."
        if self._lost_call or self.has_begun_call:
            reason = f"{FAILED_CALL} Its answer was cut by max_tokens." if self.is_cut else FAILED_CALL
        elif self.is_cut and _OUT_OF_CONTEXT in str(self.finish_reason).lower():
            reason = "had no room for an answer. The conversation is too long."
        elif self._has_thought:
            advice = "Raise max_tokens, or turn thinking off." if self.is_cut else "Please try again."
            reason = f"produced reasoning but no answer. {advice}"
        elif self.is_cut:
            reason = "reached max_tokens before its answer began. Raise max_tokens."
        elif not (self._has_choices or self._has_deltas):
            reason = "sent no answer. Please try again."
        return failures.incomplete(reason, self._endpoint)

    @property
    def _has_thought(self) -> bool:
        return self._reasoning is not None and bool(self._reasoning.text.strip())
