"""The pytest plugin, the scripted server, the fake provider and the judge of ``adapters.testing``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import httpx
import pytest

from adapters.config import ProviderConfig
from adapters.errors import RateLimitError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.models import list_models
from adapters.provider import LLMProvider
from adapters.testing import (
    ANY,
    KEY,
    TOPICS,
    Failure,
    FakeProvider,
    Outcome,
    ScriptedServer,
    Seen,
    Success,
    WireCase,
    check,
    play,
)
from adapters.testing.answers import SSE_HEAD, Answer, answer, http_chunk, reply
from adapters.types import LLMResponse, ResponseDone, TextDelta, ToolCall, ToolCallDone
from tests.patience import LateError, in_time, patient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from adapters.types import StreamEvent

pytest_plugins = ["pytester", "adapters.testing.plugin"]
pytestmark = pytest.mark.usefixtures("traced_children")

_CONFTEST = "pytest_plugins = ['adapters.testing.plugin']"

_AGENT = """
    import json
    import urllib.request

    import pytest

    from adapters.testing import KEY, Outcome, check


    def ask(base_url, messages):
        body = json.dumps({"messages": messages}).encode()
        request = urllib.request.Request(base_url + "/chat/completions", body, {"authorization": "Bearer " + KEY})
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["choices"][0]["message"]["content"]


    @pytest.mark.wire_cases(topics=("usage", "endings"), ways=("chat",))
    def test_agent(wire_case, scripted_server):
        base_url = scripted_server.add(wire_case.id, *wire_case.steps)
        outcome = Outcome()
        try:
            outcome.add_text(ask(base_url, wire_case.messages) or "")
        except Exception as error:
            outcome.error = error
        assert check(wire_case, outcome, strict=False) == []
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a project that uses the plugin."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    pytester.makeconftest(_CONFTEST)
    return pytester


def test_naive_agent(project: pytest.Pytester) -> None:
    """An agent that reads ``choices[0]`` passes good responses and fails empty ones."""
    project.makepyfile(_AGENT)

    result = project.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers", "-v")

    result.stdout.fnmatch_lines(["*test_agent[[]model-says-nothing-chat] FAILED*"])
    result.stdout.fnmatch_lines(["*test_agent[[]clone-usage-null-chat] PASSED*"])
    result.stdout.no_fnmatch_line("*chat_stream*")


def test_without_marker(project: pytest.Pytester) -> None:
    """Without a marker, a test runs for each case in each of its ways."""
    project.makepyfile("def test_it(wire_case):\n    pass\n\n\ndef test_other():\n    pass\n")

    result = project.runpytest_subprocess("-p", "no:cacheprovider", "--collect-only", "-q")

    runs = sum(len(case.ways) for cases in TOPICS.values() for case in cases)
    result.stdout.fnmatch_lines([f"{runs + 1} tests collected*"])


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """Return a plain HTTP client."""
    with httpx.Client(timeout=60) as client:
        yield client


def test_server_plays_the_requested_form(scripted_server: ScriptedServer, client: httpx.Client) -> None:
    """An ``Answer`` is streamed if the request says so, and otherwise sent whole."""
    base_url = scripted_server.add("both", Answer(reply({"plain": True}), answer("Hi").stream))

    plain, stream = client.post(base_url, json={}), client.post(base_url, json={"stream": True})

    assert plain.json() == {"plain": True}
    assert stream.headers["content-type"] == "text/event-stream"


def test_server_records_requests(scripted_server: ScriptedServer, client: httpx.Client) -> None:
    """Bodies, headers, paths and times are recorded; a body that is not an object is kept as text."""
    base_url = scripted_server.add("recorded", reply(1), reply(2))

    answers = [client.post(f"{base_url}/x?y=1", content=body) for body in (b'{"a": 1}', b"[1]", b"\xff")]

    seen = scripted_server.seen["recorded"]
    assert [response.json() for response in answers] == [1, 2, 2]
    assert seen.bodies == [{"a": 1}, {"raw": "[1]"}, {"raw": "\ufffd"}]
    assert seen.paths == ["/recorded/v1/x?y=1"] * 3
    assert seen.headers[0]["content-length"] == "8"
    assert seen.started == sorted(seen.started)


def test_unknown_case(scripted_server: ScriptedServer, client: httpx.Client) -> None:
    """A wrong path is a 404, and the connection stays usable."""
    base_url = scripted_server.add("one-case", reply("yes"))

    wrong, right = client.post(base_url.replace("one-case", "no-such-case")), client.post(base_url)

    assert (wrong.status_code, wrong.json()) == (404, {"error": {"message": "there is no such case"}})
    assert right.json() == "yes"


@pytest.mark.parametrize(
    ("script", "timeout_s", "error"),
    [
        pytest.param(["eof"], 60, httpx.RemoteProtocolError, id="eof"),
        pytest.param(["rst"], 60, httpx.ReadError, id="rst"),
        pytest.param(["hang"], 0.3, httpx.ReadTimeout, id="hang"),
        pytest.param([SSE_HEAD, http_chunk(b"x"), 60.0, "eof"], 0.3, httpx.ReadTimeout, id="sleep"),
    ],
)
def test_server_ends_connections(
    script: list[Any], timeout_s: float, error: type[Exception], scripted_server: ScriptedServer, client: httpx.Client
) -> None:
    """Each end of a connection reaches the client."""
    base_url = scripted_server.add("ends", script)

    with pytest.raises(error):
        client.post(base_url, timeout=timeout_s)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([SSE_HEAD, "hang"], id="while-it-hangs"),
        pytest.param([SSE_HEAD, 5.0], id="while-it-waits"),
        pytest.param([SSE_HEAD, *[action for _ in range(50) for action in (b"x", 0.01)]], id="while-it-writes"),
    ],
)
@patient
def test_server_records_a_disconnect(script: list[Any], scripted_server: ScriptedServer, client: httpx.Client) -> None:
    """A client that disconnects while its script is playing is recorded once, immediately."""
    with client.stream("POST", scripted_server.add("leaves", script)):
        left_at_s = time.monotonic()
    time.sleep(0.2)

    gone_at_s = scripted_server.seen["leaves"].gone_at
    if not gone_at_s:
        raise LateError("it was not recorded within 200 ms")
    assert len(gone_at_s) == 1
    in_time(gone_at_s[0] - left_at_s, 0, 0.2)


async def test_server_stops_with_a_connected_client() -> None:
    """Stopping the server does not wait for a script that is still playing."""
    async with ScriptedServer() as server:
        address = urlsplit(server.add("open", [SSE_HEAD, "hang"]))
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"POST /open/v1 HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")

    assert head == SSE_HEAD
    assert await reader.read() == b""
    writer.close()


_GOOD = WireCase(
    "good",
    "everything is compared",
    [],
    Success(
        text="Hi",
        calls=(("f", {"a": 1}),),
        usage=(1, 2),
        reasoning="hm",
        finish_reason="stop",
        holds=lambda outcome: outcome.took_s != 1.5,
    ),
    within_s=2.0,
    requests=1,
    saw=lambda seen: seen.bodies[0]["a"],
)
_CALL = ToolCall("id1", "f", {"a": 1})
_RESPONSE = LLMResponse("Hi", [_CALL], reasoning=" hm\n", finish_reason="stop")
_OUTCOME = Outcome("Hi", ["H", "i"], [_CALL], (1, 2), _RESPONSE)
_SEEN = Seen(bodies=[{"a": 1}], paths=["/"])


def test_right_outcome() -> None:
    """A right outcome has no problems, whether its parts are reported or not."""
    assert check(_GOOD, _OUTCOME, _SEEN) == []
    assert check(_GOOD, Outcome("Hi"), strict=False) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"took_s": 3.0}, "took 3.00 s", id="slow"),
        pytest.param({"took_s": 1.5}, "a further condition on the outcome", id="condition"),
        pytest.param({"error": ValueError("no")}, "raised ValueError: no", id="raised"),
        pytest.param({"text": "Ho"}, "text is 'Ho', expected 'Hi'", id="text"),
        pytest.param({"text": "x" * 999}, "…", id="long-text"),
        pytest.param({"calls": []}, "calls are []", id="no-calls"),
        pytest.param({"calls": [replace(_CALL, error="?")]}, "errors of the calls are ['?']", id="call-error"),
        pytest.param({"usage": None}, "usage is None, expected (1, 2)", id="usage"),
        pytest.param({"response": replace(_RESPONSE, reasoning=None)}, "reasoning is None", id="reasoning"),
        pytest.param(
            {"response": replace(_RESPONSE, finish_reason="length")}, "finish_reason is 'length'", id="finish"
        ),
        pytest.param({"response": replace(_RESPONSE, content="H")}, "content of the whole response", id="content"),
        pytest.param({"response": replace(_RESPONSE, tool_calls=[])}, "has other calls", id="other-calls"),
        pytest.param({"pieces": ["Hi", ""]}, "a piece of text is empty", id="empty-piece"),
        pytest.param({"text": "\ud83d"}, "cannot be encoded", id="surrogate"),
        pytest.param({"calls": [_CALL, _CALL]}, "ids must be unique", id="ids"),
        pytest.param(
            {"calls": [replace(_CALL, arguments=cast("Any", []))]}, "arguments must be objects", id="arguments"
        ),
    ],
)
def test_wrong_response(change: dict[str, Any], problem: str) -> None:
    """Each part of a response that is not as required is named."""
    assert problem in "; ".join(check(_GOOD, replace(_OUTCOME, **change), _SEEN))


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        pytest.param(Seen(bodies=[{"a": 1}], paths=["/", "/"]), "2 requests were sent, 1 are allowed", id="requests"),
        pytest.param(Seen(bodies=[{"a": 0}], paths=["/"]), "the server saw something else", id="body"),
        pytest.param(Seen(), "IndexError", id="nothing"),
    ],
)
def test_wrong_requests(seen: Seen, problem: str) -> None:
    """What the server received is compared, too."""
    assert problem in "; ".join(check(_GOOD, _OUTCOME, seen))


_BAD = replace(
    _GOOD,
    saw=None,
    expect=Failure(
        ("RateLimitError", "InternalServerError"),
        after="Hi",
        status_code=429,
        retryable=True,
        retry_after_s=(1.0, 3.0),
        says=("BUSY",),
        hides=("secret",),
        holds=lambda error: error.request_id is None,
    ),
)


def _limited(text: str = "groq is busy.", **changes: Any) -> RateLimitError:
    fields = {"status_code": 429, "retryable": True, "retry_after_s": 2.0, **changes}
    return RateLimitError(text, provider="groq", model="m", **fields)


def test_right_error() -> None:
    """A right error has no problems; if not strict, any exception after the right text is right."""
    assert check(_BAD, Outcome("Hi", error=_limited())) == []
    assert check(_BAD, Outcome("Hi", error=OSError("busy")), strict=False) == []


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        pytest.param(Outcome("Hi"), "no error was raised", id="none"),
        pytest.param(Outcome("Ho", error=_limited()), "text before the error is 'Ho'", id="text"),
        pytest.param(Outcome("Hi", calls=[_CALL], error=_limited()), "calls were yielded", id="calls"),
        pytest.param(Outcome("Hi", error=_limited("groq: busy secret")), "'secret' is in the error's text", id="hides"),
        pytest.param(Outcome("Hi", error=_limited("<html>groq busy")), "'<html' is in the error's text", id="html"),
        pytest.param(Outcome("Hi", error=_limited(f"groq busy {KEY}")), "the key is in the error", id="key"),
        pytest.param(Outcome("Hi", error=_limited("groq busy" * 99)), "cannot be spoken", id="long"),
        pytest.param(Outcome("Hi", error=_limited(" ")), "cannot be spoken", id="blank"),
        pytest.param(Outcome("Hi", error=OSError("busy")), "OSError: 'busy' is not one of", id="class"),
        pytest.param(Outcome("Hi", error=_limited("groq is tired.")), "'BUSY' is not in", id="says"),
        pytest.param(Outcome("Hi", error=_limited("It is busy.")), "'groq' is not in", id="provider"),
        pytest.param(Outcome("Hi", error=_limited(status_code=500)), "status_code is 500", id="status"),
        pytest.param(Outcome("Hi", error=_limited(retryable=False)), "retryable is False", id="retryable"),
        pytest.param(Outcome("Hi", error=_limited(retry_after_s=None)), "retry_after_s is None", id="no-wait"),
        pytest.param(Outcome("Hi", error=_limited(retry_after_s=4.0)), "retry_after_s is 4.0", id="wait"),
        pytest.param(Outcome("Hi", error=_limited(request_id="x")), "a further condition on the error", id="condition"),
    ],
)
def test_wrong_error(outcome: Outcome, problem: str) -> None:
    """Each property of an error that is not as required is named."""
    assert problem in "; ".join(check(_BAD, outcome))


def test_any_equals_everything() -> None:
    """``ANY`` equals every value, and is readable in a ``repr``."""
    assert {ANY: 1}[ANY] == 1
    assert repr(ANY) == "ANY"
    assert [ANY, ANY] == [None, 1]


class _Careless(LLMProvider):
    """A provider that yields given events, and clears the messages of the caller."""

    provider_name = "careless"
    model = "m"

    def __init__(self, *events: StreamEvent) -> None:
        self._events = events

    async def chat(self, messages: list[Any], tools: Any = None, **kwargs: Any) -> LLMResponse:  # noqa: ARG002 - contract
        messages.clear()
        return LLMResponse(None)

    async def chat_stream(self, messages: list[Any], tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:  # noqa: ARG002 - contract
        yield "Hi"

    async def stream_events(self, messages: list[Any], tools: Any = None, **kwargs: Any) -> AsyncIterator[StreamEvent]:  # noqa: ARG002 - contract
        for event in self._events:
            yield event


@pytest.mark.parametrize(
    ("provider", "way", "problem"),
    [
        pytest.param(_Careless(), "chat", "messages were changed", id="messages"),
        pytest.param(_Careless(TextDelta("Hi")), "stream_events", "ended without ResponseDone", id="no-end"),
        pytest.param(
            _Careless(ResponseDone(LLMResponse("Hi")), TextDelta("Hi")),
            "stream_events",
            "came after ResponseDone",
            id="after-end",
        ),
    ],
)
async def test_play_detects_a_broken_contract(provider: LLMProvider, way: Any, problem: str) -> None:
    """A provider that breaks the contract of ``LLMProvider`` fails its case."""
    outcome = await play(provider, replace(_GOOD, ways=(way,)))

    assert isinstance(outcome.error, AssertionError)
    assert problem in str(outcome.error)


async def test_play_runs_all_turns() -> None:
    """All turns use the same provider; the last one counts."""
    outcome = await play(_Careless(), replace(_GOOD, ways=("chat_stream",), turns=2))

    assert (outcome.text, outcome.pieces, outcome.usage) == ("Hi", ["Hi"], None)


@pytest.mark.parametrize(
    ("marker", "problem"),
    [
        pytest.param('topics=("framming",)', "'framming' is unknown; did you mean framing?", id="topic"),
        pytest.param('ways=("xyz",)', "'xyz' is unknown; use some of chat, chat_stream", id="way"),
        pytest.param('topics="framing"', "'framing' is unknown; did you mean framing?", id="text instead of a tuple"),
        pytest.param('topic=("framing",)', "'topic' is unknown; did you mean topics?", id="option"),
    ],
)
def test_misspelled_marker(project: pytest.Pytester, marker: str, problem: str) -> None:
    """An unknown topic, way or option is a usage error with the nearest name."""
    project.makepyfile(f"import pytest\n\n@pytest.mark.wire_cases({marker})\ndef test_it(wire_case):\n    pass\n")

    result = project.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio", "--collect-only", "-q")

    assert result.ret != 0
    assert problem in result.stdout.str() + result.stderr.str()
    assert "Traceback" not in result.stdout.str()


def test_client_without_timeout(project: pytest.Pytester) -> None:
    """A client that waits forever fails its test once the server has closed the connection."""
    project.makepyfile("""
        import contextlib
        import socket

        import pytest

        @pytest.mark.wire_cases(topics=("timing",), ways=("chat",))
        def test_agent(wire_case, scripted_server):
            if wire_case.id != "server-silent-in-chat":
                pytest.skip()
            scripted_server.max_wait_s = 0.2
            scripted_server.add(wire_case.id, *wire_case.steps)
            with socket.create_connection(("127.0.0.1", scripted_server._port)) as client:
                client.sendall(b"POST /server-silent-in-chat/v1 HTTP/1.1\\r\\n\\r\\n")
                while client.recv(1000):
                    pass
    """)

    result = project.runpytest_subprocess("-p", "no:cacheprovider", "-rf")

    result.assert_outcomes(failed=1, skipped=result.parseoutcomes()["skipped"])
    result.stdout.fnmatch_lines(["*the client waited for 0.2 s without a timeout of its own*"])


async def test_idle_connection_is_closed() -> None:
    """A connection without a further request is closed after ``max_wait_s``, before and after a request."""
    async with ScriptedServer(max_wait_s=0.1) as server:
        address = urlsplit(server.add("idle", reply(1)))
        unused, unused_writer = await asyncio.open_connection(address.hostname, address.port)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"POST /idle/v1 HTTP/1.1\r\n\r\n")

        assert await unused.read() == b""
        assert (await reader.read()).endswith(b"1")
        assert server.seen["idle"].abandoned == 1
        writer.close()
        unused_writer.close()


async def test_prewarm_keeps_the_answers(scripted_server: ScriptedServer) -> None:
    """A request for the list of models does not use up an ``Answer``; a script for it is played."""
    base_url = scripted_server.add("warm", answer("one"), answer("two"))
    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        await provider.prewarm()
        assert (await provider.chat([{"role": "user", "content": "Hi"}])).content == "one"

    case = replace(_GOOD, id="raw", steps=[answer("raw").stream], ways=("chat_stream",))
    base_url = scripted_server.add("raw", *case.steps)
    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        await provider.prewarm()
        outcome = await play(FallbackProvider([provider]), case)
    assert outcome.text == "raw"
    case = replace(case, expect=Success(text="raw"), saw=lambda seen: seen.bodies[0]["stream"])
    assert check(case, outcome, scripted_server.seen["raw"]) == []

    listed = scripted_server.add("listed", reply({"data": [{"id": "m"}]}), answer("one"))
    models = await list_models(ProviderConfig.create("openai_compatible", model="m", base_url=listed))
    assert [model.id for model in models] == ["m"]


async def test_fake_provider() -> None:
    """Texts are returned in order, the last one repeats, an exception is raised, and requests are recorded."""
    provider = FakeProvider("Hello there.", RateLimitError("busy", provider="fake", model="m"), "Bye", model="m")
    messages = [{"role": "user", "content": "Hi"}]

    assert [text async for text in provider.chat_stream(messages)] == ["Hello", " there."]
    with pytest.raises(RateLimitError):
        await provider.chat(messages)
    assert (await provider.chat(messages)).content == "Bye"
    assert [type(event).__name__ async for event in provider.stream_events(messages)] == ["TextDelta", "ResponseDone"]
    assert (provider.provider_name, provider.model, len(provider.requests)) == ("fake", "m", 4)
    assert provider.requests[0].messages == messages
    assert (await FakeProvider().chat(messages)).content is None


async def test_fake_provider_calls() -> None:
    """Tool calls are the response to the first request that offers tools and allows calls."""
    provider = FakeProvider("Done.", calls=[_CALL])
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]

    assert (await provider.chat([])).content == "Done."
    assert (await provider.chat([], tools, tool_choice="none")).content == "Done."
    events = [event async for event in provider.stream_events([], tools)]
    assert events == [ToolCallDone(_CALL), ResponseDone(LLMResponse(None, [_CALL], finish_reason="tool_calls"))]
    assert (await provider.chat([], tools)).content == "Done."


def test_each_test_has_a_server_of_its_own(project: pytest.Pytester) -> None:
    """A request for a case of an earlier test does not use up a step of a case with the same name."""
    project.makepyfile("""
        import urllib.error
        import urllib.request

        import pytest

        from adapters.testing.answers import reply

        earlier = []


        def read(base_url):
            with urllib.request.urlopen(base_url + "/chat/completions", b"{}", timeout=60) as response:
                return response.read()


        def test_earlier(scripted_server):
            earlier.append(scripted_server.add("kitchen", reply("earlier")))


        def test_later(scripted_server):
            base_url = scripted_server.add("kitchen", reply("first"), reply("second"))
            with pytest.raises(urllib.error.URLError):
                read(earlier[0])
            assert read(base_url) == b'"first"'
    """)

    project.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
