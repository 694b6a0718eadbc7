"""The log tells once for each conversation where a request begins differently than the one before it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import create_provider
from adapters.request.chat_request import ChatRequest
from adapters.request.prefix_watch import PrefixWatch
from adapters.testing.answers import answer

if TYPE_CHECKING:
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_BEHIND = "servers read everything behind it anew."
_RULES = "You are the voice of a home. " * 4


def _user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _system(text: Any) -> dict[str, Any]:
    return {"role": "system", "content": text}


_SAID = {"role": "assistant", "content": "Grüße."}
_CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
}
_RESULT = {"role": "tool", "tool_call_id": "a", "content": "5"}
_LONG = "x" * 20_000


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Log at INFO."""
    caplog.set_level(logging.INFO, "adapters.request.prefix_watch")
    return caplog


def _note(*requests: list[dict[str, Any]], tools: tuple[Any, ...] = ()) -> None:
    watch = PrefixWatch("gpu")
    for index, messages in enumerate(requests):
        body = {"tools": tools[index]} if tools else {}
        watch.note(ChatRequest(messages, body, stream=True, wants_text=False, headers={}))


@pytest.mark.parametrize(
    ("requests", "place"),
    [
        pytest.param(
            [[_system("Hi"), _user("a")], [_system("Hi"), _user("a"), _SAID, _user("b")]], None, id="appended"
        ),
        pytest.param([[_user("a")], [_user("a")], [_user("b")], []], None, id="others"),
        pytest.param([[_user("a"), _SAID, _user("a"), _SAID], [_user("a"), _SAID]], None, id="beginning"),
        pytest.param(
            [[_system(f"{_RULES}It is 12:01."), _user("a")], [_system(f"{_RULES}It is 12:02."), _user("a")]],
            "message 0 differs at character 126",
            id="time of day",
        ),
        pytest.param(
            [[_system("Größe 1"), _user("a")], [_system("Größe 2"), _user("a"), _SAID, _user("b")]],
            "message 0 differs at character 6",
            id="characters, not bytes",
        ),
        pytest.param(
            [[_user("a"), _SAID, _user("b")], [_user("A summary."), _SAID, _user("b"), _SAID, _user("c")]],
            "message 0 differs at character 0",
            id="summary",
        ),
        pytest.param(
            [[_user("a"), _CALL, _RESULT], [_user("a"), {**_CALL, "content": ""}, _RESULT, _SAID, _user("b")]],
            None,  # the latest two messages differ, so it is another conversation
            id="unknown",
        ),
        pytest.param(
            [
                [_user("a"), _CALL, _RESULT, _SAID, _user("b")],
                [_user("a"), {**_CALL, "name": "x"}, _RESULT, _SAID, _user("b")],
            ],
            "message 1 differs at character 112",
            id="no plain text",
        ),
        pytest.param(
            [[_system(_LONG), _system("1"), _user("a")], [_system(_LONG), _system("2"), _user("a")]],
            "message 1 differs",
            id="far behind",
        ),
        pytest.param([[_system("0"), _user("a")], [_system("p"), _user("a")]], "message 0 differs", id="lossy sketch"),
    ],
)
def test_place_of_a_difference(
    log: pytest.LogCaptureFixture, requests: list[list[dict[str, Any]]], place: str | None
) -> None:
    """The log names the message and the character, and no text."""
    _note(*requests, *requests[-1:])
    assert log.messages == ([] if place is None else [f"gpu: {place}: {_BEHIND}"])


def test_order_of_tools(log: pytest.LogCaptureFixture) -> None:
    """Tools are in front of the messages in most chat templates."""
    _note([_user("a")], [_user("a")], tools=([1, 2], [2, 1]))
    assert log.messages == [f"gpu: the tools differ: {_BEHIND}"]


class _Keeper(logging.Handler):
    """Keeps the messages of one example; all examples share one ``caplog``."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(record.getMessage())


@given(old=st.text(st.characters(max_codepoint=0x2FF)), new=st.text(st.characters(max_codepoint=0x2FF)), more=st.text())
def test_position_of_any_difference(old: str, new: str, more: str) -> None:
    """It is that of the first character that differs, or of a later one if the two look alike."""
    logger, handler = logging.getLogger("adapters.request.prefix_watch"), _Keeper()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        _note([_system(old + more), _user("a")], [_system(new + more), _user("a")])
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    messages = handler.messages
    assert bool(messages) == (old != new)
    for message in messages:
        *_, at = message.removesuffix(f": {_BEHIND}").split(" ")
        assert at == "differs" or int(at) >= _common(old + more, new + more)


def _common(old: str, new: str) -> int:
    return next(
        (at for at, pair in enumerate(zip(old, new, strict=False)) if len({*pair}) > 1), min(len(old), len(new))
    )


def test_bounded_memory(log: pytest.LogCaptureFixture) -> None:
    """The oldest conversations are forgotten."""
    many = [[_system("1"), _user(str(number))] for number in range(65)]
    _note(*many, [_system("2"), _user("0")], [_system("2"), _user("64")])
    assert len(log.messages) == 1


async def test_provider_logs_it(scripted_server: ScriptedServer, log: pytest.LogCaptureFixture) -> None:
    """Nothing is kept or logged unless the log level asks for it."""
    url = scripted_server.add("watched", answer("Hi."))
    async with create_provider("openai_compatible", model="m", base_url=url) as provider:
        for level in (logging.WARNING, logging.INFO):
            log.set_level(level, "adapters.request.prefix_watch")
            for minute in (1, 2, 3):
                await provider.chat([_system(f"12:0{minute}"), _user("How warm is it?")])
            assert len(log.messages) == (level == logging.INFO)
    assert log.messages == [f"openai_compatible: message 0 differs at character 4: {_BEHIND}"]
