"""One call of a provider, from its first request to its answer: what was asked, since when, and how it went."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from adapters.types import TextDelta

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.request.chat_request import ChatRequest
    from adapters.request.params import RequestParams
    from adapters.types import LLMResponse, StreamEvent


@dataclass(slots=True)
class Call:
    """One call of a provider, and how it went so far.

    Attributes:
        question: What is asked.
        on_useful: Is called when something useful has come, or None. Who wants to know has another provider to ask:
            then a server that does not answer in time is not asked again.
        began_s: When it began, on the monotonic clock.
        first_text_s: Seconds from then to the first text of the answer, or None if there is none.
        attempts: How many requests were sent.
        dropped: What the latest of them lacked because the server refuses it.
    """

    params: RequestParams
    on_first_token: Callable[[], None] | None = None
    began_s: float = 0.0
    first_text_s: float | None = None
    attempts: int = 0
    dropped: tuple[str, ...] = ()

    def begin(self) -> None:
        """Start the clock, unless it runs."""
        self.began_s = self.began_s or time.monotonic()

    def sends(self, request: ChatRequest) -> None:
        """Note a request."""
        self.attempts += 1
        self.dropped = request.dropped

    def answers(self, first: StreamEvent) -> StreamEvent:
        """Note the first event of an answer, and pass it on: if it is no text, there is none."""
        self.first_text_s = time.monotonic() - self.began_s if isinstance(first, TextDelta) else None
        return first

    def completed(self, response: LLMResponse) -> LLMResponse:
        """Add to an answer how it came about, and read it in the form that was asked for.

        Raises:
            Misshapen: If it has another form. One that declines, or calls a tool, has none.
        """
        form, parsed = self.params.response_format, None
        if form is not None and response.content and not response.tool_calls and response.refusal is None:
            parsed = form.read(response.content)
        return replace(
            response,
            parsed=parsed,
            time_to_first_text_s=self.first_text_s,
            total_s=time.monotonic() - self.began_s,
            attempts=self.attempts,
            dropped=self.dropped,
        )
