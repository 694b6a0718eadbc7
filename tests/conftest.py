"""What every test gets: a clean environment, cassettes in one place, and a cassette that is played to its end.

The network is closed but for loopback (``--block-network`` in pyproject.toml). How a cassette looks, and what is kept
out of it, is told in ``servers/cassettes.py``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before anything imports LiteLLM, which else downloads its price list while it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import pytest
from hypothesis import HealthCheck, settings

from adapters.provider import freeze_objects
from adapters.transport import litellm_bridge
from tests import tracing
from tests.forks.processes import ForkServer, python
from tests.servers import cassettes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vcr import VCR  # type: ignore[import-untyped]  # vcrpy carries no types
    from vcr.cassette import Cassette  # type: ignore[import-untyped]  # as above
    from vcr.request import Request  # type: ignore[import-untyped]  # as above

# A run in the background ignores Ctrl-C, and so would each program that a test starts to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CASSETTES = Path(__file__).parent.parent / "cassettes"

_UNCLEAN_PREFIXES = ("ADAPTERS_", "GROQ_", "LITELLM_PROXY_", "OLLAMA_", "OPENAI_", "OPENROUTER_")
_NETWORK = frozenset(
    ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")
)

# The same examples at every run, so that no change fails by chance; `nox -s fuzz` looks for new ones.
settings.register_profile("tests", max_examples=25, deadline=None, derandomize=True)
settings.register_profile(
    "fuzz", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))


gc.disable()  # until the tests are collected: nearly all objects that are made by then stay

if "PYTEST_XDIST_WORKER" in os.environ:
    tracing.stop()
    tracing.import_package()


def pytest_configure(config: pytest.Config) -> None:
    """Trace nothing in the process that distributes tests to others, which have LiteLLM from their start."""
    if config.getoption("numprocesses", None):
        tracing.stop()
        gc.enable()
        config.add_cleanup(ForkServer().close)
        config.option.tx = [f"popen//python={shlex.join(python())}" for _ in config.option.tx]
        compiling = [*python(), "-m", "pytest", "--collect-only", "-qq", *config.args]  # once, not in each process
        untraced = {name: value for name, value in os.environ.items() if name not in tracing.VARIABLES}
        subprocess.run(compiling, capture_output=True, check=False, env=untraced)  # the workers report errors


def pytest_collection_finish() -> None:
    """Exempt modules and tests from garbage collection: one that walks through 600,000 objects takes 0.3 s."""
    gc.enable()
    if "PYTEST_XDIST_WORKER" in os.environ:
        freeze_objects()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Trace a test in a run of all tests."""
    with tracing.traced(item.path):
        return (yield)


def pytest_recording_configure(config: pytest.Config, vcr: VCR) -> None:
    """Teach vcrpy our form of a cassette; the name ``yaml`` replaces its own."""
    vcr.register_serializer("yaml", cassettes)
    vcr.register_matcher("kept_headers", cassettes.match_headers)


@pytest.fixture(name="sent_requests")
def _sent_requests() -> list[Request]:
    """What went out, as it is compared with the cassette; vcrpy itself looks at each request several times."""
    return []


@pytest.fixture
def vcr_config(sent_requests: list[Request]) -> dict[str, Any]:
    """What vcrpy compares and keeps."""

    def filter_request(request: Request) -> Request | None:
        filtered = cassettes.filter_request(request)
        sent_requests.append(filtered)
        return filtered

    return {
        "match_on": ["method", "host", "path", "query", "body", "kept_headers"],
        "before_record_request": filter_request,
        "before_record_response": cassettes.filter_response,
        "decode_compressed_response": True,
    }


@pytest.fixture(scope="module")
def vcr_cassette_dir(request: pytest.FixtureRequest) -> str:
    """Keep the cassettes of a test module in a folder of its name."""
    return str(CASSETTES / request.path.stem)


@pytest.fixture(autouse=True)
def _played_to_the_end(vcr: Cassette | None, record_mode: str, sent_requests: list[Request]) -> Iterator[None]:
    """Fail a test that did not ask for everything that its cassette holds, and say what it asked for instead."""
    yield

    if vcr is not None and record_mode == "none" and not vcr.all_played:
        last = sent_requests[-1] if sent_requests else None
        pytest.fail(f"{len(vcr) - vcr.play_count} recorded requests were not made. The last one was:\n{_shown(last)}")


def _shown(request: Request | None) -> str:
    return "none" if request is None else f"{request.method} {request.uri} {request.headers}\n{request.body}"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the keys, servers, proxies and certificates of the machine that runs the tests."""
    for name in list(os.environ):
        if name.upper() in _NETWORK or name.upper().startswith(_UNCLEAN_PREFIXES):
            monkeypatch.delenv(name)


@pytest.fixture
def traced_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace the processes that a test starts: they run lines of the package that no test runs in its own process."""
    for name, value in tracing.VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def thawed() -> Iterator[None]:
    """Make all objects collectable, for a test about that, and restore what was exempt."""
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    yield
    gc.unfreeze()
    if frozen:
        gc.freeze()


@pytest.fixture(scope="session")
def litellm_is_loaded() -> None:
    """Load LiteLLM before a test whose time is looked at; on a busy machine that alone takes ten seconds."""
    for prefix in ("openai/", "openrouter/"):
        asyncio.run(litellm_bridge.warm_up(prefix))
