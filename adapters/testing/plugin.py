"""The pytest plugin: a test with the fixture ``wire_case`` runs once for each case and way.

Name it in the top ``conftest.py``: ``pytest_plugins = ["adapters.testing.plugin"]``. It is not loaded automatically.
"""

from __future__ import annotations

import asyncio
import difflib
import threading
from typing import TYPE_CHECKING

import pytest

from adapters.testing.case import ALL
from adapters.testing.cases import TOPICS
from adapters.testing.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping
    from typing import Any

_MARKER = (
    "wire_cases(*, topics=…, ways=…): the wire cases of this test; topics are the keys of adapters.testing.TOPICS, ways"
    " are chat, chat_stream and stream_events"
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the fixture ``wire_case`` for each case, restricted to each of its ways.

    Raises:
        pytest.UsageError: If the marker names an unknown option, topic or way.
    """
    if "wire_case" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("wire_cases")
    chosen: Mapping[str, Any] = marker.kwargs if marker else {}
    known = {"topics": tuple(TOPICS), "ways": ALL}
    _check_names("wire_cases", chosen, known)
    for option, names in chosen.items():
        _check_names(f"wire_cases({option}=…)", names, known[option])
    topics, ways = (chosen.get(option, names) for option, names in known.items())
    params = [
        pytest.param(restricted, id=f"{restricted.id}-{restricted.ways[0]}")
        for topic in topics
        for case in TOPICS[topic]
        for restricted in case.by_way()
        if restricted.ways[0] in ways
    ]
    metafunc.parametrize("wire_case", params)


def _check_names(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in [names] if isinstance(names, str) else names:
        if isinstance(names, str) or name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use some of {', '.join(known)}"
            raise pytest.UsageError(f"{where}: {name!r} is unknown; {hint}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test whose client waited for a response until the scripted server closed the connection."""
    yield
    fixtures = getattr(item, "funcargs", {})
    case, server = fixtures.get("wire_case"), fixtures.get("scripted_server")
    if case is not None and server is not None and case.id in server.seen and server.seen[case.id].abandoned:
        pytest.fail(f"the client waited for {server.max_wait_s:g} s without a timeout of its own", pytrace=False)


@pytest.fixture(scope="session")
def _server_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread of its own, so that a server works with clients of any kind."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # cancels what is left on the loop at the end
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="scripted-server")
        thread.start()
        yield loop
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@pytest.fixture
def scripted_server(_server_loop: asyncio.AbstractEventLoop) -> Iterator[ScriptedServer]:
    """Run a ``ScriptedServer`` for one test.

    A request that an earlier test has sent shortly before its end cannot reach it.
    """
    server = ScriptedServer()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), _server_loop).result()
    yield server
    asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), _server_loop).result()
