"""What one server has taught us, by refusing or by its list of models, remembered as long as the provider lives.

Each lesson costs one extra request once, never again: the request is built anew and sent again, and all later ones
are built that way from the start.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from adapters.request import history
from adapters.request.messages import without_images
from adapters.request.rejections import (
    TOKEN_LIMITS,
    is_rejection,
    named_token_limit,
    rejected_field,
    rejected_parameter,
    rejects,
    wanted_rewrite,
)
from adapters.transport.errors.classify import lacks_tools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from adapters.errors import UpstreamError
    from adapters.request.chat_request import ChatRequest
    from adapters.request.rejections import Rewrite
    from adapters.types import Json, Message

_logger = logging.getLogger(__name__)

_DISPENSABLE = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "top_a", "seed", "stop", "logit_bias", "verbosity"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "logprobs", "top_logprobs", "prediction"),
        *("reasoning", "reasoning_effort", "parallel_tool_calls", "web_search_options"),
    }
)
"""Parameters without which the answer is still an answer to the question: a limit, tools and a format are not."""

_PROVEN_STREAK = 2

_TWINS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class ServerCapabilities:
    """What one provider knows about its server.

    What shapes requests only grows: a name that was left out stays left out, a limit is set once. So one question
    has finitely many requests, in one order, and whoever sends it again only while the next request differs from
    the refused one comes to an end, also when several requests in flight teach at the same time.

    Args:
        provider: The provider's name, for the log.
    """

    def __init__(self, provider: str = "the server") -> None:
        self._provider = provider
        self._text_without_tools = False
        self._renamed: dict[str, str] = {}
        self._dropped: set[str] = set()
        self._unsupported: frozenset[str] = frozenset()
        self._told: set[str] = set()
        self._rewrites: set[Rewrite] = set()
        self._unwanted_fields: set[str] = set()
        self._token_limit: int | None = None
        self._reasoning_first_streak = 0

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

    def learn_parameters(self, supported: Collection[str]) -> None:
        """Note which parameters a model heeds, as its server lists them; others that are dispensable are left out."""
        thinks = {"reasoning", "reasoning_effort"} if {"reasoning", "reasoning_effort"} & {*supported} else set()
        self._unsupported = _DISPENSABLE - {*supported} - thinks

    def learn_from_call(self) -> None:
        """The model called a tool where text was wanted: it does not heed ``tool_choice`` "none"."""
        self._text_without_tools = True

    def learn_from_refusal(self, refusal: UpstreamError, request: ChatRequest) -> None:
        """Look for something in a refusal that the next request can avoid.

        Args:
            refusal: What the server said.
            request: What it refused.
        """
        if not is_rejection(refusal):
            return
        if request.wants_text and "tools" in request.body and (lacks_tools(refusal) or rejects("tool_choice", refusal)):
            self._text_without_tools = True
        elif rewrite := wanted_rewrite(refusal):
            self._learn_rewrite(rewrite)
        elif field := rejected_field(refusal, request):
            self._tell_once(field, self._unwanted_fields)
            self._unwanted_fields.add(field)
        elif limit := named_token_limit(refusal, request.body):
            # Obeyed once: a server that then names another limit wants something else.
            if self._token_limit is None:
                _logger.warning("%s takes %d tokens at most: no more are asked for from now on.", self._provider, limit)
            self._token_limit = self._token_limit or limit
        elif name := rejected_parameter(refusal, request.body):
            self._leave_out(name)

    def _learn_rewrite(self, rewrite: Rewrite) -> None:
        if rewrite == "no_images" and rewrite not in self._rewrites:
            _logger.warning("%s accepts no images: they are only named from now on.", self._provider)
        self._rewrites.add(rewrite)

    def shape_body(self, body: dict[str, Json], *, wants_text: bool) -> dict[str, Json]:
        """Write the body as this server takes it; the given one is not changed."""
        left_out = self._dropped | self._unsupported
        if wants_text and self._text_without_tools:
            left_out |= {"tools", "tool_choice"}
        if news := (body.keys() & self._unsupported) - self._told:
            self._told |= news
            _logger.warning("%s: the model does not support %s: left out.", self._provider, ", ".join(sorted(news)))
        shaped = {self._renamed.get(name, name): self._limited(name, value) for name, value in body.items()}
        return {name: value for name, value in shaped.items() if name not in left_out}

    def dropped_of(self, body: Iterable[str]) -> tuple[str, ...]:
        """The fields of a body that ``shape_body`` leaves out because the server has refused them."""
        return tuple(name for name in body if self._renamed.get(name, name) in self._dropped)

    def shape_messages(self, messages: list[Message], *, wants_text: bool) -> list[Message]:
        """Tell a mended history as this server takes it; the given one is not changed."""
        if wants_text and self._text_without_tools:
            messages = history.without_tools(messages)
        if "systems_first" in self._rewrites:
            messages = history.systems_first(messages)
        if "no_system" in self._rewrites:
            messages = history.systems_first(messages, keep_first=False)
        if "short_ids" in self._rewrites:
            messages = history.with_short_ids(messages)
        if "no_images" in self._rewrites:
            messages = [without_images(message) for message in messages]
        return history.without_fields(messages, self._unwanted_fields)

    def _limited(self, name: str, value: Json) -> Json:
        limited = self._token_limit is not None and name in TOKEN_LIMITS and isinstance(value, int)
        return min(value, self._token_limit) if limited else value

    def _leave_out(self, name: str) -> None:
        """Send a parameter under its other name, or not at all if that was tried."""
        twin = _TWINS.get(name)
        if twin and twin not in self._renamed and name not in self._renamed.values():
            self._renamed[name] = twin
        else:
            self._tell_once(name, self._dropped)
            self._dropped.add(name)

    def _tell_once(self, name: str, known: set[str]) -> None:
        """Tell in the log what is left out from now on; requests in flight may each be refused for it."""
        if name not in known:
            _logger.warning("%s refused %s: it is left out from now on.", self._provider, name)
