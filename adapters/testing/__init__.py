"""Does your agent survive these servers? A scripted byte server and what real servers really send.

Each ``WireCase`` plays exact bytes (cut streams, errors inside HTTP 200, calls that arrive as text, HTML in place of
JSON…) and knows what a correct client of ``/v1/chat/completions`` makes of them. Everything runs on loopback, with no
model and no key. For an agent of any make, with pytest::

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
                outcome.hear(piece)
        except Exception as error:
            outcome.error = error
        assert check(wire_case, outcome, strict=False) == []

A provider of this library is asked by ``play`` and judged strictly: classes, status codes and waits of its errors,
tool calls, usage, and what the server saw::

    outcome = await play(provider, wire_case)
    assert check(wire_case, outcome, scripted_server.seen[wire_case.id]) == []

Cases of your own are built with ``adapters.testing.answers``. Outside pytest the server is
``async with ScriptedServer() as server``.
"""

from __future__ import annotations

from adapters.testing.case import ANY, ASK, KEY, TOOLS, Failure, Outcome, Success, Way, WireCase
from adapters.testing.cases import CASES, TOPICS
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
