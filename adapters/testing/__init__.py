"""Test a voice agent: a fake provider, a scripted server, and what real servers send.

``FakeProvider("Hello.")`` is a provider for unit tests. Each ``WireCase`` plays exact bytes (cut streams, errors inside
HTTP 200, tool calls written as text, HTML instead of JSON …) and knows what a correct client of
``/v1/chat/completions`` makes of them. Everything runs on loopback, without a model and a key. For an agent of any
make, with pytest::

    # conftest.py
    pytest_plugins = ["adapters.testing.plugin"]

    # test_my_agent.py
    import pytest
    from adapters.testing import KEY, Outcome, check

    @pytest.mark.wire_cases(topics=("framing", "endings", "error_answers"), ways=("chat_stream",))
    def test_my_agent_survives(wire_case, scripted_server):
        base_url = scripted_server.add(wire_case.id, *wire_case.steps)
        outcome = Outcome()
        try:
            for piece in my_agent.stream(base_url, KEY, wire_case.messages):
                outcome.add_text(piece)
        except Exception as error:
            outcome.error = error
        assert check(wire_case, outcome, strict=False) == []

Give your agent's client a timeout: some cases never end their response. The scripted server closes a connection that
waits for a minute, and the test fails.

A provider of this library is driven by ``play`` and judged strictly: classes, status codes and waits of its errors,
tool calls, usage, and what the server received::

    outcome = await play(provider, wire_case)
    assert check(wire_case, outcome, scripted_server.seen[wire_case.id]) == []

``adapters.testing.answers`` builds cases of your own. Outside pytest, use ``async with ScriptedServer() as server``.
"""

from __future__ import annotations

from adapters.testing.case import ANY, ASK, KEY, TOOLS, Failure, Outcome, Success, Way, WireCase
from adapters.testing.cases import CASES, TOPICS
from adapters.testing.fake import FakeProvider, FakeRequest
from adapters.testing.judge import check
from adapters.testing.play import play
from adapters.testing.server import ScriptedServer, Seen, Step

__all__ = [
    "ANY",
    "ASK",
    "CASES",
    "KEY",
    "TOOLS",
    "TOPICS",
    "Failure",
    "FakeProvider",
    "FakeRequest",
    "Outcome",
    "ScriptedServer",
    "Seen",
    "Step",
    "Success",
    "Way",
    "WireCase",
    "check",
    "play",
]
