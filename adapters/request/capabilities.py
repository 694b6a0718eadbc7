"""What a provider has learned about its server: from rejections, and from its list of models.

Each lesson costs one extra request, once: the request is built again and sent again, and all later requests are built
that way from the start.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from adapters.request.history import rewrite_history, without_fields
from adapters.request.rejections import (
    DISPENSABLE,
    TOKEN_LIMITS,
    is_rejection,
    named_token_limit,
    rejected_field,
    rejected_parameter,
    rejects,
    rejects_cache_marks,
    wanted_rewrite,
    wanted_value,
)
from adapters.transport.errors.classify import lacks_tools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from adapters.errors import UpstreamError
    from adapters.request.chat_request import ChatRequest
    from adapters.request.history import Rewrite
    from adapters.request.rejections import WantedValue
    from adapters.types import Json, Message

_logger = logging.getLogger(__name__)

_PROVEN_STREAK = 2

_TWINS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class ServerCapabilities:
    """What one provider knows about its server.

    What shapes requests only grows: a name that is left out stays left out, a limit is set once. So one call has
    finitely many requests, in one order, and sending a request again only while it differs from the rejected one comes
    to an end, also when several requests in flight are rejected at the same time.

    Args:
        provider: The provider's name, for the log.

    Attributes:
        rejects_cache_marks: Whether the server rejected ``cache_control`` in messages or tools.
        thinking_is_fixed: Whether the server rejected a request because thinking was switched off in it.
    """

    def __init__(self, provider: str = "the server") -> None:
        self._provider = provider
        self.rejects_cache_marks = False
        self._text_without_tools = False
        self._renamed: dict[str, str] = {}
        self._dropped: set[str] = set()
        self._unsupported: frozenset[str] = frozenset()
        self._values: dict[str, WantedValue] = {}
        self._rewrites: set[Rewrite] = set()
        self._unwanted_fields: set[str] = set()
        self._token_limit: int | None = None
        self._reasoning_first_streak = 0
        self._logged: set[str] = set()
        self.thinking_is_fixed = False

    @property
    def reasoning_first(self) -> bool:
        """Whether answers begin with reasoning that has no opening mark; it shapes no request.

        One such answer may be a stray mark, and a wrong yes holds the next answer back as one block, so it takes two
        in a row.
        """
        return self._reasoning_first_streak >= _PROVEN_STREAK

    def learn_reasoning(self, *, first: bool | None) -> None:
        """Note whether an answer began with reasoning that had no opening mark; None if it had no text to show it."""
        if first is not None:
            self._reasoning_first_streak = self._reasoning_first_streak + 1 if first else 0

    def learn_supported_parameters(self, supported: Collection[str]) -> None:
        """Note which parameters a model supports by its server's list; others that are dispensable are left out."""
        thinks = {"reasoning", "reasoning_effort"} if {"reasoning", "reasoning_effort"} & {*supported} else set()
        self._unsupported = DISPENSABLE - {*supported} - thinks

    def learn_from_unwanted_call(self) -> None:
        """Note that the model ignores ``tool_choice`` "none": it called a tool where text was wanted."""
        self._text_without_tools = True

    def learn_thinking_is_fixed(self) -> None:
        """Note that the server rejects requests in which thinking is switched off, for a reason that is not read."""
        self._log_once("thinking cannot be switched off")
        self.thinking_is_fixed = True

    def learn_from_rejection(self, rejection: UpstreamError, request: ChatRequest) -> None:
        """Look for something in a rejection that the next request can avoid; one rejection teaches one thing.

        Args:
            rejection: What the server reported.
            request: What it rejected.
        """
        if not is_rejection(rejection):
            return
        if rejects_cache_marks(rejection, request):
            self._log_once("cache_control is rejected, and left out from now on")
            self.rejects_cache_marks = True
        elif request.wants_text and "tools" in request.body and self._rejects_tools(rejection):
            self._text_without_tools = True
        elif rewrite := wanted_rewrite(rejection, request):
            self._log_once(f"the history is rewritten ({rewrite}) from now on, as the server demands")
            self._rewrites.add(rewrite)
        elif field := rejected_field(rejection, request):
            self._log_once(f"{field} of messages is rejected, and left out from now on")
            self._unwanted_fields.add(field)
        else:
            self._learn_about_parameter(rejection, request)

    def _learn_about_parameter(self, rejection: UpstreamError, request: ChatRequest) -> None:
        if limit := named_token_limit(rejection, request.body):
            # Obeyed once: a server that then names another limit wants something else.
            if self._token_limit is None:
                self._log_once(f"answers are limited to {limit} tokens from now on")
            self._token_limit = self._token_limit or limit
        elif wanted := wanted_value(rejection, request):
            self._log_once(f"{wanted.name} is {wanted.value} from now on, as the server demands")
            self._values.setdefault(wanted.name, wanted)
        elif name := rejected_parameter(rejection, request.body):
            self._leave_out(name)

    def shape_body(self, body: dict[str, Json], *, wants_text: bool) -> dict[str, Json]:
        """Return the body as this server accepts it; the given one is not changed."""
        for name in sorted(body.keys() & self._unsupported):
            self._log_once(f"the model does not support {name}, which is left out")
        left_out = self._left_out(wants_text=wants_text)
        shaped = {self._renamed.get(name, name): self._limited(name, value) for name, value in body.items()}
        shaped = {name: value for name, value in shaped.items() if name not in left_out}
        for wanted in self._values.values():
            if wanted.name == "reasoning_effort" and "reasoning" in shaped:  # OpenRouter's own name for it
                shaped["reasoning"] = {"effort": wanted.value}
            elif ("tools" in shaped) if wanted.with_tools else (wanted.name in shaped):
                shaped[wanted.name] = wanted.value
        return shaped

    def dropped_of(self, body: Iterable[str], *, wants_text: bool) -> tuple[str, ...]:
        """Return the fields of a body that ``shape_body`` leaves out, for whatever reason."""
        if not (left_out := self._left_out(wants_text=wants_text)):
            return ()
        return tuple(name for name in body if self._renamed.get(name, name) in left_out)

    def shape_messages(self, messages: list[Message], *, wants_text: bool) -> list[Message]:
        """Return a repaired history as this server accepts it; the given one is not changed."""
        rewrites: set[Rewrite] = {"without_tools"} if wants_text and self._text_without_tools else set()
        return without_fields(rewrite_history(messages, rewrites | self._rewrites), self._unwanted_fields)

    @staticmethod
    def _rejects_tools(rejection: UpstreamError) -> bool:
        return lacks_tools(rejection) or rejects("tool_choice", rejection)

    def _left_out(self, *, wants_text: bool) -> frozenset[str] | set[str]:
        tools = {"tools", "tool_choice"} if wants_text and self._text_without_tools else set()
        return self._dropped | self._unsupported | tools

    def _limited(self, name: str, value: Json) -> Json:
        limited = self._token_limit is not None and name in TOKEN_LIMITS and isinstance(value, int)
        return min(value, self._token_limit) if limited else value

    def _leave_out(self, name: str) -> None:
        """Send a parameter under its other name, or not at all if that was tried."""
        twin = _TWINS.get(name)
        if twin and twin not in self._renamed and name not in self._renamed.values():
            self._renamed[name] = twin
        else:
            self._log_once(f"{name} is rejected, and left out from now on")
            self._dropped.add(name)

    def _log_once(self, change: str) -> None:
        """Log what changes; several requests in flight may be rejected for the same reason."""
        if change not in self._logged:
            self._logged.add(change)
            _logger.warning("%s: %s.", self._provider, change)
