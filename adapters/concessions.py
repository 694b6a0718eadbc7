"""What one server does not take, learned from its refusals and remembered as long as the provider lives.

Each concession costs one extra request once, never again: the request is changed and sent anew, and all later ones
are built that way from the start.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from adapters import history
from adapters.wire.verdict import lacks_tools

if TYPE_CHECKING:
    from adapters.request import Ask
    from adapters.types import Message
    from adapters.wire.upstream import UpstreamError

_REFUSING_STATUSES = (400, 404, 422, 500, 501)  # llama.cpp refuses parameters with 500, OpenRouter with 404
_KEPT = frozenset({"tools", "model", "messages", "stream"})
_TWINS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_REFUSED = re.compile(
    r"unsupported|not supported|support|unrecognized|unknown|unexpected|extra (?:inputs|fields)|extra_forbidden"
    r"|not permitted|not allowed|can only be|only be (?:defined|set|used)|cannot be (?:used|set)|not a valid"
    r"|invalid param",
    re.IGNORECASE,
)
_SPELLINGS = {"reasoning_effort": r"reasoning_effort|thinking|think"}
_SYSTEM_FIRST = re.compile(
    r"system (?:message|role|prompt)s? must be (?:at the beginning|first|the first)", re.IGNORECASE
)
_NO_SYSTEM = re.compile(r"system role (?:is )?not supported|does not support ['\"`]system['\"`]", re.IGNORECASE)
_SHORT_IDS = re.compile(r"tool call id .*\b(?:length of|must be) 9\b|tool call id .*a-z, A-Z, 0-9", re.IGNORECASE)


class Concessions:
    """What one provider has learned about its server.

    Attributes:
        text_without_tools: A request that wants text is sent without tools: the server, or the model, does not
            heed ``tool_choice`` "none", or takes no tools at all.
        reasoning_first: Answers begin with reasoning that has no opening mark.
    """

    def __init__(self) -> None:
        self.text_without_tools = False
        self.reasoning_first = False
        self._dropped: set[str] = set()
        self._renamed: dict[str, str] = {}
        self._rewrites: set[str] = set()

    def apply(self, ask: Ask, body: dict[str, Any]) -> tuple[list[Message], dict[str, Any]]:
        """Mend the history, and shape both it and the body as this server takes them.

        Args:
            ask: The question.
            body: The request's body; it is not changed.

        Returns:
            The messages and the body to send.
        """
        body = {self._renamed.get(name, name): value for name, value in body.items()}
        body = {name: value for name, value in body.items() if name not in self._dropped}
        if ask.wants_text and self.text_without_tools:
            body = {name: value for name, value in body.items() if name not in ("tools", "tool_choice")}
        return self._messages(ask), body

    def _messages(self, ask: Ask) -> list[Message]:
        messages = history.mend(ask.messages)
        if ask.wants_text and self.text_without_tools:
            messages = history.without_tools(messages)
        if "systems_first" in self._rewrites:
            messages = history.systems_first(messages)
        if "no_system" in self._rewrites:
            messages = history.systems_first(messages, keep_first=False)
        if "short_ids" in self._rewrites:
            messages = history.with_short_ids(messages)
        return messages

    def learn(self, failure: UpstreamError, ask: Ask, sent: dict[str, Any]) -> bool:
        """Look for something in a refusal that the next request can avoid.

        Args:
            failure: What the server said.
            ask: The question.
            sent: The body that was refused.

        Returns:
            Whether there is something new, so that the same question is worth asking again.
        """
        if failure.status not in _REFUSING_STATUSES:
            return False
        if ask.wants_text and "tools" in sent and (lacks_tools(failure) or self._names(failure, "tool_choice")):
            return self.forbid_tools_in_text()
        for rewrite, pattern in (
            ("systems_first", _SYSTEM_FIRST),
            ("no_system", _NO_SYSTEM),
            ("short_ids", _SHORT_IDS),
        ):
            if pattern.search(failure.message) and rewrite not in self._rewrites:
                refused = self._messages(ask)
                self._rewrites.add(rewrite)
                if self._messages(ask) != refused:
                    return True
        return self._learn_parameter(failure, sent)

    def forbid_tools_in_text(self) -> bool:
        """Send requests that want text without tools from now on; False if that is done already."""
        news = not self.text_without_tools
        self.text_without_tools = True
        return news

    def _learn_parameter(self, failure: UpstreamError, sent: dict[str, Any]) -> bool:
        refused = next((name for name in sent if name not in _KEPT and self._names(failure, name)), None)
        if refused is None:
            return False
        twin = _TWINS.get(refused)
        if twin and twin not in self._renamed and refused not in self._renamed.values():
            self._renamed[refused] = twin
        else:
            self._dropped.add(refused)
        return True

    @staticmethod
    def _names(failure: UpstreamError, name: str) -> bool:
        """Whether a refusal is about this parameter: about its presence, not its value."""
        said = f"{failure.codes} {failure.message}"
        if not _REFUSED.search(said):
            return False
        if failure.param:
            return failure.param.rsplit(".", 1)[-1] == name
        return re.search(rf"\b(?:{_SPELLINGS.get(name, re.escape(name))})\b", failure.message) is not None
