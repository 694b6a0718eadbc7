"""``attempt``: one try, from the request to the last event, or to the error that says why there is none."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from adapters.client.attempt import attempt
from adapters.config import ProviderConfig
from adapters.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    IncompleteResponseError,
    InternalServerError,
)
from adapters.request.build import build_request
from adapters.request.capabilities import ServerCapabilities
from adapters.request.params import CallArguments, parse_params
from adapters.response.assembler import CallInsteadOfTextError, ResponseAssembler
from adapters.testing import ASK, TOOLS
from adapters.testing.answers import (
    CALLED,
    DONE,
    SSE_HEAD,
    STOP,
    answer,
    call,
    called,
    chunk,
    completion,
    event,
    http,
    http_chunk,
    raw_stream,
    reply,
    said,
)
from adapters.testing.server import ScriptedServer
from adapters.transport.deadlines import Deadlines
from adapters.transport.provider_transport import ProviderTransport
from adapters.types import ResponseDone, TextDelta, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.testing.server import Step
    from adapters.types import StreamEvent

OSLO = '{"city": "Oslo"}'
HI, HO = http_chunk(event(said("Hi "))), http_chunk(event(said("Ho ")))


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[ScriptedServer]:
    """A server that plays whatever a test gives it."""
    async with ScriptedServer() as running:
        yield running


async def tried(
    server: ScriptedServer, step: Step, *, stream: bool = True, tool_choice: Any = "auto", **options: Any
) -> tuple[list[StreamEvent], APIError | CallInsteadOfTextError | None]:
    """Try once, and give all events and the error."""
    config = ProviderConfig.create(
        "openai_compatible", name="shop", model="m", base_url=server.add("case", step), **options
    )
    connection = ProviderTransport(config)
    question = parse_params(CallArguments(list(ASK), list(TOOLS), {}), stream=stream, wants_text=tool_choice == "none")
    request = build_request(question, config, ServerCapabilities())
    result = ResponseAssembler(
        connection.endpoint, question.schemas, wants_text=question.wants_text, reasoning_first=False
    )
    events = []
    try:
        async with aclosing(
            attempt(connection, request, result, Deadlines(config.timeouts, streamed=stream))
        ) as stream_of_events:
            async for each in stream_of_events:
                events.append(each)  # noqa: PERF401 - what came before the error is looked at too
    except (APIError, CallInsteadOfTextError) as error:
        return events, error
    finally:
        await connection.aclose()
    return events, None


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_a_good_try(server: ScriptedServer, stream: bool) -> None:
    """Text comes first, then the calls, then the whole, from one request with what the question asked for."""
    step = answer("Hi ", "there.", calls=[call("get_weather", OSLO)])

    events, error = await tried(server, step, stream=stream)

    assert error is None
    assert isinstance(events[-1], ResponseDone)
    assert "".join(each.text for each in events if isinstance(each, TextDelta)) == "Hi there."
    assert [each.tool_call for each in events if isinstance(each, ToolCallDone)] == events[-1].response.tool_calls
    assert events[-1].response.content == "Hi there."
    [body] = server.seen["case"].bodies
    assert (body["messages"], bool(body.get("stream"))) == (list(ASK), stream)


async def test_texts_that_came_together_are_one(server: ScriptedServer) -> None:
    """A burst is one event, in its order."""
    events, error = await tried(server, (http(event(said("Hi ")) + event(said("there.")) + event(STOP) + DONE),))

    assert error is None
    assert events[0] == TextDelta("Hi there.")


@pytest.mark.parametrize(
    ("step", "kind", "text"),
    [
        pytest.param(reply({"error": {"message": "Oops"}}, "500 Oops"), InternalServerError, "", id="status"),
        pytest.param((SSE_HEAD, HI, 0.05, "rst"), APIConnectionError, "Hi ", id="break after some text"),
        pytest.param((SSE_HEAD, HI, 0.05, HO, 0.02, "rst"), APIConnectionError, "Hi Ho ", id="text and break"),
        pytest.param((SSE_HEAD, "rst"), APIConnectionError, "", id="break before any"),
        pytest.param((SSE_HEAD, HI, "hang"), APITimeoutError, "Hi ", id="silence after some text"),
        pytest.param(
            raw_stream(event(said("Hi ")), event({"error": {"message": "Oops", "code": 500}})),
            InternalServerError,
            "Hi ",
            id="error event",
        ),
        pytest.param(
            raw_stream(event(said("Hi ")), event(chunk({}, "error")), DONE), APIError, "Hi ", id="finish of an error"
        ),
        pytest.param(raw_stream(event(said("Hi "))), IncompleteResponseError, "Hi ", id="no end"),
        pytest.param(raw_stream(DONE), IncompleteResponseError, "", id="nothing but an end"),
    ],
)
async def test_a_failed_try(server: ScriptedServer, step: Step, kind: type[APIError], text: str) -> None:
    """All text that came is told, and then what went wrong; no call and no whole answer."""
    events, error = await tried(server, step, timeouts={"first_token_s": 20, "stall_s": 0.3})

    assert isinstance(error, kind)
    assert "".join(each.text for each in events if isinstance(each, TextDelta)) == text
    assert all(isinstance(each, TextDelta) for each in events)


async def test_held_back_text_comes_before_the_error(server: ScriptedServer) -> None:
    """Text that was held back is not lost with the connection."""
    held = http_chunk(event(said('{"name":')))

    events, error = await tried(server, (SSE_HEAD, HI, 0.05, held, 0.05, "rst"))

    assert isinstance(error, APIConnectionError)
    assert "".join(each.text for each in events if isinstance(each, TextDelta)) == 'Hi {"name":'


async def test_words_held_back_alone_are_not_worth_the_next_try(server: ScriptedServer) -> None:
    """Before the first text the error comes at once, so that another try may bring the whole answer."""
    events, error = await tried(server, (SSE_HEAD, http_chunk(event(said("<tool"))), 0.05, "rst"))

    assert (events, type(error)) == ([], APIConnectionError)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(("rst",), id="reset"),
        pytest.param(("eof",), id="closed"),
        pytest.param((b"zz\r\n",), id="garbled"),
        pytest.param(("hang",), id="silence"),
    ],
)
async def test_a_finished_answer_is_good_however_its_connection_ends(server: ScriptedServer, end: Any) -> None:
    """What happens after the finish does not take the answer away."""
    events, error = await tried(server, (SSE_HEAD, HI, http_chunk(event(STOP)), 0.05, *end))

    assert error is None
    assert isinstance(events[-1], ResponseDone)
    assert events[-1].response.content == "Hi "


async def test_a_cut_call_is_never_run(server: ScriptedServer) -> None:
    """A call whose arguments are cut has an error, so that it is not run."""
    step = raw_stream(event(called(call("get_weather", '{"ci', index=0))), event(CALLED), DONE)

    events, error = await tried(server, step)

    assert error is None
    [tool_call] = [each.tool_call for each in events if isinstance(each, ToolCallDone)]
    assert (tool_call.arguments, bool(tool_call.error)) == ({}, True)


async def test_a_call_in_place_of_text(server: ScriptedServer) -> None:
    """If text was requested, a tool call is raised to the caller before any event."""
    events, error = await tried(server, answer(calls=[call("get_weather", OSLO)]), tool_choice="none")

    assert (events, type(error)) == ([], CallInsteadOfTextError)


_GROQ = {
    "error": {
        "message": "Failed to call a function.",
        "code": "tool_use_failed",
        "failed_generation": f"<function=get_weather>{OSLO}</function>",
    }
}


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(reply(_GROQ, "400 Bad Request"), id="status"),
        pytest.param(raw_stream(event(_GROQ)), id="event"),
        pytest.param(reply(_GROQ), id="document"),
    ],
)
async def test_what_the_server_could_not_read_is_read(server: ScriptedServer, step: Step) -> None:
    """Groq puts into its error what the model wrote; a call that can be read there is a good answer."""
    events, error = await tried(server, step)

    assert error is None
    [tool_call] = [each.tool_call for each in events if isinstance(each, ToolCallDone)]
    assert (tool_call.name, tool_call.arguments) == ("get_weather", {"city": "Oslo"})


async def test_leaving_in_the_middle_reaches_the_server(server: ScriptedServer) -> None:
    """A consumer that stops early ends the request; one that reads to the end leaves the connection open."""
    config = ProviderConfig.create(
        "openai_compatible", model="m", base_url=server.add("case", (SSE_HEAD, HI, 0.05, HO, "hang"))
    )
    connection = ProviderTransport(config)
    question = parse_params(CallArguments(list(ASK), [], {}), stream=True)
    result = ResponseAssembler(connection.endpoint, question.schemas, wants_text=False, reasoning_first=False)
    request = build_request(question, config, ServerCapabilities())
    deadlines = Deadlines(config.timeouts, streamed=True)
    async with aclosing(attempt(connection, request, result, deadlines)) as events:
        assert await anext(events) == TextDelta("Hi ")

    for task in server._tasks.copy():
        await task

    assert len(server.seen["case"].gone_at) == 1
    await connection.aclose()


async def test_an_answer_in_one_piece_where_a_stream_was_asked_for(server: ScriptedServer) -> None:
    """What the body is decides, and not what was asked for."""
    events, error = await tried(server, reply(completion({"content": "Hi"})))

    assert error is None
    assert events[0] == TextDelta("Hi")
