"""The pytest plugin: a test that asks for ``wire_case`` runs once for each case and way.

Name it in the top ``conftest.py``: ``pytest_plugins = ["adapters.testing.plugin"]``. It is not loaded by itself.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from adapters.testing.case import ALL
from adapters.testing.cases import TOPICS
from adapters.testing.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKER = (
    "wire_cases(*, topics=…, ways=…): which wire cases this test runs through; topics are the keys of"
    " adapters.testing.TOPICS, ways are chat, chat_stream and stream_events"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for ``wire_case`` each case, narrowed to each of its ways."""
    if "wire_case" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("wire_cases")
    chosen = marker.kwargs if marker else {}
    params = [
        pytest.param(narrowed, id=f"{narrowed.id}-{narrowed.ways[0]}")
        for topic in chosen.get("topics", TOPICS)
        for case in TOPICS[topic]
        for narrowed in case.by_way()
        if narrowed.ways[0] in chosen.get("ways", ALL)
    ]
    metafunc.parametrize("wire_case", params)


@pytest.fixture(scope="session")
def scripted_server() -> Iterator[ScriptedServer]:
    """Run a ``ScriptedServer`` in a thread of its own, so that clients of any kind can be tested against it."""
    server, ready, over = ScriptedServer(), threading.Event(), threading.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="scripted-server")
    thread.start()
    ready.wait()
    yield server
    over.set()
    thread.join()
