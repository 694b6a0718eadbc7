"""The whole provider against damaged bytes: recorded answers, mutated and cut anywhere.

LiteLLM and the socket are left out of most examples, because what they do does not depend on the answer (LiteLLM never
sees it). ``nox -s fuzz`` runs many thousand examples, the ordinary tests a few hundred.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.client.provider import LiteLLMProvider
from adapters.config import ProviderConfig
from adapters.errors import AdapterError, APIError
from adapters.testing import KEY, ScriptedServer
from adapters.testing.answers import SSE_END, http_chunk
from adapters.transport import litellm_bridge
from adapters.transport.http import TransportError
from adapters.transport.provider_transport import ProviderTransport
from adapters.types import LLMResponse, ResponseDone, TextDelta, ToolCallDone
from tests.property.strategies import cuts, mutated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from adapters.transport.body import ResponseBody
    from adapters.transport.deadlines import Deadlines
    from adapters.transport.http import Response
    from adapters.types import Json, StreamEvent

Way = Literal["chat", "chat_stream", "stream_events"]

_CAPTURES = Path(__file__).parent.parent / "captures"
_LONGEST_S = 60.0  # for one answer; that is a hang, the longest takes half a second alone
_MOST_REQUESTS = 12
_CONFIG = ProviderConfig.create(
    "openai_compatible", model="m", base_url="http://server/v1", api_key=KEY, retry={"attempts": 1}
)
_MESSAGES = [{"role": "user", "content": "What is the weather in Paris?"}]
_TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    for name in ("get_weather", "get_time")
]
_FINISH = re.compile(rb'finish_reason"\s*:\s*"|\[DONE\]|failed_generation')
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[^u])")
_PAIR = re.compile(r"\\(u[dD][89abAB][0-9a-fA-F]{2})\\(u[dD][c-fC-F][0-9a-fA-F]{2})")  # one character in two escapes
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def _bodies(pattern: str) -> list[bytes]:
    """The bodies of recorded answers whose head matches."""
    answers = [path.read_bytes().partition(b"\r\n\r\n") for path in sorted(_CAPTURES.glob("*/*.txt"))]
    return [body for head, _, body in answers if re.search(pattern, head.decode("latin-1"), re.IGNORECASE)]


_STREAMS = _bodies("text/event-stream")
_DOCUMENTS = _bodies(r"^HTTP/1.. 200[^\0]*application/json")
_FAILURES = _bodies("^HTTP/1.. [45]")


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of one call."""

    events: tuple[Any, ...]
    said: str
    response: LLMResponse | None = field(compare=False)  # holds made ids
    error: str


class _Response:
    """The head of an answer whose body comes from memory, in pieces, and may break off."""

    def __init__(self, status: int, pieces: list[bytes], *, breaks: bool) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        self.request_id: str | None = None
        self.connect_s: float | None = None
        self.is_left = False
        self._pieces = iter(pieces)
        self._breaks = breaks

    async def read(self) -> bytes:
        data = next(self._pieces, b"")
        if not data and self._breaks:
            raise TransportError("The peer closed the connection.")
        return data

    def close(self) -> None:
        self.is_left = True

    def release(self) -> None:
        self.is_left = True


class _ShortConnection(ProviderTransport):
    """The real connection with another end: instead of a server, every request gets these bytes from memory."""

    def __init__(self, status: int, pieces: list[bytes], *, breaks: bool, streamed: bool) -> None:
        super().__init__(_CONFIG)
        self._streamed = streamed
        self._answer = (status, pieces, breaks)
        self.responses: list[_Response] = []

    async def send(
        self, body: Mapping[str, Json], headers: Mapping[str, str], *, stream: bool, deadlines: Deadlines
    ) -> ResponseBody:
        assert (body["messages"], headers, stream) == (_MESSAGES, {}, self._streamed)
        status, pieces, breaks = self._answer
        self.responses.append(_Response(status, pieces, breaks=breaks))
        deadlines.request_sent()
        return await self._body_of(cast("Response", self.responses[-1]), deadlines, self.endpoint)


async def _events(provider: LiteLLMProvider, way: Way) -> AsyncIterator[StreamEvent]:
    if way == "chat":
        yield ResponseDone(await provider.chat(_MESSAGES, _TOOLS))
    elif way == "chat_stream":
        async for text in provider.chat_stream(_MESSAGES, _TOOLS):
            yield TextDelta(text)
    else:
        async for event in provider.stream_events(_MESSAGES, _TOOLS):
            yield event


async def _result(provider: LiteLLMProvider, way: Way) -> _Result:
    events: list[Any] = []
    error = ""
    try:
        async with asyncio.timeout(_LONGEST_S):
            events += [event async for event in _events(provider, way)]
    except AdapterError as failure:
        error = _checked(failure)
    except Exception as bug:  # noqa: BLE001 - the law is that there is none
        pytest.fail(f"{bug!r} is no error of ours")
    response = events[-1].response if events and isinstance(events[-1], ResponseDone) else None
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    # Texts that came together are one, so where they are cut depends on the body's cuts; nothing else does.
    rest = tuple(_without_ids(event) for event in events if not isinstance(event, TextDelta))
    return _Result(rest, said, response, error)


def _checked(failure: AdapterError) -> str:
    """Describe an error; it must be one that can be spoken and that holds no key."""
    texts = [str(failure), repr(failure), *map(repr, _causes(failure))]
    assert isinstance(failure, APIError)
    assert failure.provider in str(failure) or "m" in str(failure)
    assert 0 < len(str(failure)) <= 300
    assert "\n" not in str(failure)
    assert not any(KEY in text for text in texts)
    return f"{type(failure).__name__} {failure} {failure.status_code} {failure.retryable}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    while (error := error.__cause__) is not None:  # type: ignore[assignment]  # it ends with None
        yield error


def _without_ids(event: ToolCallDone | ResponseDone) -> Any:
    response = event.response if isinstance(event, ResponseDone) else None
    calls = [event.tool_call] if isinstance(event, ToolCallDone) else event.response.tool_calls
    assert len({call.id for call in calls}) == len(calls)
    assert all(call.id.strip() and call.name.strip() for call in calls)
    assert all(type(call.arguments) is dict and json.dumps(call.arguments, allow_nan=False) for call in calls)
    shown = [(call.name, call.arguments, call.error) for call in calls]
    return (type(event), shown, response and (response.content, response.usage, response.reasoning, response.model))


def _run(body: bytes, places: list[int], way: Way, *, status: int = 200, breaks: bool = False) -> _Result:
    """Ask once; the server answers with this body, cut at these places."""
    bounds = itertools.pairwise([0, *places, len(body)])
    pieces = [body[start:end] for start, end in bounds if end > start]

    async def ask() -> _Result:
        provider = LiteLLMProvider(_CONFIG)
        provider._transport = connection = _ShortConnection(status, pieces, breaks=breaks, streamed=way != "chat")
        result = await _result(provider, way)
        assert len(connection.responses) <= _MOST_REQUESTS
        assert all(response.is_left for response in connection.responses)
        return result

    began_s = time.monotonic()
    result = asyncio.run(ask())
    assert time.monotonic() - began_s < _LONGEST_S
    return result


def _is_in(said: str, body: bytes) -> bool:
    """Whether the characters of a text are all in a body, in their order, escaped or not."""
    text = body.decode("utf-8", "replace")
    text = _PAIR.sub(lambda pair: pair.group() + _unescaped(pair.group(1)) + _unescaped(pair.group(2)), text)
    text = _ESCAPE.sub(lambda escape: escape.group() + _unescaped(escape.group(1)), text)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    characters = iter(text)
    return all(character in characters for character in said if character != "\N{REPLACEMENT CHARACTER}")


def _unescaped(escape: str) -> str:
    return chr(int(escape[1:], 16)) if escape[0] == "u" else _ESCAPED.get(escape, escape)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body.decode("utf-8", "replace").lstrip("\ufeff"), strict=False)
    except (ValueError, RecursionError):
        return False
    return True


_WAYS = st.sampled_from(("chat", "chat_stream", "stream_events"))


@given(st.data(), mutated(_STREAMS + _DOCUMENTS), _WAYS, st.booleans())
def test_damaged_answer(data: st.DataObject, body: bytes, way: Way, breaks: bool) -> None:
    """Whatever comes is an answer that ended and whose text came, or an error of ours; the cuts change nothing."""
    whole = _run(body, [], way, breaks=breaks)

    assert _run(body, data.draw(cuts(len(body))), way, breaks=breaks) == whole
    assert _is_in(whole.said, body)
    assert not re.search(r"^\s*<think>|<tool_call>\s*\{", whole.said, re.IGNORECASE | re.MULTILINE)
    if not whole.error:
        assert _FINISH.search(body) or _is_json(body)
        assert whole.said.strip() or whole.response
    if whole.response and way == "stream_events":
        assert whole.said == (whole.response.content or "")


@given(mutated(_FAILURES + _DOCUMENTS), st.sampled_from((301, 400, 401, 404, 422, 429, 500, 503)), _WAYS)
def test_damaged_failure(body: bytes, status: int, way: Way) -> None:
    """A status that is a failure is an error of ours, whatever the body says, unless the body holds an answer."""
    result = _run(body, [], way, status=status)

    assert result.error or b"failed_generation" in body
    assert not result.said or b"failed_generation" in body


@given(st.lists(st.sampled_from(_STREAMS), min_size=1, max_size=1), st.data(), _WAYS)
def test_cut_answer(bodies: list[bytes], data: st.DataObject, way: Way) -> None:
    """A stream that is cut before it said that it is finished is never a good answer."""
    (body,) = bodies
    ends = [match.start() for match in _FINISH.finditer(body)]
    cut = body[: data.draw(st.integers(0, min(ends, default=len(body))))]

    assert _run(cut, [], way).error
    assert _run(cut, [], way, breaks=True).error


@settings(max_examples=25)
@given(st.data(), mutated(_STREAMS), st.sampled_from(("chat_stream", "stream_events")))
def test_damaged_answer_over_http(data: st.DataObject, body: bytes, way: Way) -> None:
    """Over a real connection, and with LiteLLM in between, the same bytes mean the same."""
    bounds = itertools.pairwise([0, *data.draw(cuts(len(body)).map(lambda places: places[:40])), len(body)])
    pieces = [http_chunk(body[start:end]) for start, end in bounds if end > start]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    async def ask() -> _Result:
        async with ScriptedServer() as server:
            config = _CONFIG.model_copy(update={"base_url": server.add("fuzz", (head, *pieces, SSE_END))})
            async with LiteLLMProvider(config) as provider:
                return await _result(provider, way)

    asyncio.run(litellm_bridge.warm_up("openai/"))  # loading LiteLLM is not what is timed here
    assert asyncio.run(ask()) == _run(body, [], way)
