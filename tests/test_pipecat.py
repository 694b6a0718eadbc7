"""Tests of ``adapters.pipecat``: a provider as the LLM service of a real pipecat pipeline, without audio.

The pipeline has pipecat's own aggregators round the service and asks a real provider; a scripted server answers, and
once the embedded llama.cpp. ``nox -s pipecat`` runs this in an environment of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

pytest.importorskip("pipecat", reason="it has an environment of its own: nox -s pipecat")

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMRunFrame,
    LLMTextFrame,
    MetricsFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage, LLMUsageMetricsData, ProcessingMetricsData, TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.settings import LLMSettings
from pipecat.utils.errors import ErrorCategory
from pipecat.workers.runner import WorkerRunner

from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.pipecat import LLMService
from adapters.provider import LLMProvider
from adapters.testing.answers import SSE_HEAD, answer, call, http_chunk, reply, said
from adapters.testing.answers import event as sse
from adapters.types import TextDelta
from tests.patience import Held, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pipecat.frames.frames import Frame
    from pipecat.processors.frame_processor import FrameDirection
    from pipecat.services.llm_service import FunctionCallParams

    from adapters.testing.server import ScriptedServer, Step
    from adapters.types import LLMResponse, StreamEvent

pytest_plugins = ["adapters.testing.plugin"]

WEATHER = call("get_weather", '{"city": "Oslo"}')
TOOLS = ToolsSchema([FunctionSchema("get_weather", "Tell the weather.", {"city": {"type": "string"}}, ["city"])])
NO = reply({"error": {"message": "no"}}, "500 Internal Server Error")
PATIENCE_S = 10.0


class Recorder(FrameProcessor):
    """Records the frames that pass in either direction."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self._news = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Record a frame and pass it on."""
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        self._news.set()
        await self.push_frame(frame, direction)

    def of(self, kind: type[Frame]) -> list[Any]:
        """Return the frames of a type that have passed."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; it is checked after each frame."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


class Conversation:
    """A running pipeline: pipecat's aggregators around an LLM service, with a recorder on each side of it."""

    def __init__(self, llm: LLMService, context: LLMContext) -> None:
        self.llm, self.context = llm, context
        self.before, self.after = Recorder(), Recorder()
        pair = LLMContextAggregatorPair(context)
        self.worker = PipelineWorker(
            Pipeline([pair.user(), self.before, llm, self.after, pair.assistant()]),
            params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
        )

    async def ask(self, answers: int = 1) -> None:
        """Start a turn and wait for this many more responses, complete or failed."""
        wanted = len(self.after.of(LLMFullResponseEndFrame)) + answers
        await self.worker.queue_frame(LLMRunFrame())
        await self.after.until(lambda: len(self.after.of(LLMFullResponseEndFrame)) == wanted)

    @property
    def said(self) -> list[str]:
        """The texts that the pipeline would speak."""
        return [frame.text for frame in self.after.of(LLMTextFrame)]

    @property
    def errors(self) -> list[ErrorFrame]:
        """The errors that were pushed upstream."""
        return self.before.of(ErrorFrame)

    def metrics(self, kind: type) -> list[Any]:
        """Return the metrics of a type."""
        return [data for frame in self.after.of(MetricsFrame) for data in frame.data if isinstance(data, kind)]


@asynccontextmanager
async def conversation(
    provider: LLMProvider,
    text: str = "How warm is it?",
    tools: ToolsSchema | None = None,
    *,
    warms: bool = True,
    **options: Any,
) -> AsyncIterator[Conversation]:
    """Run a pipeline over a conversation of one message until the block ends; wait for its prewarm, if told to."""
    context = LLMContext([{"role": "user", "content": text}], **({"tools": tools} if tools else {}))
    running = Conversation(LLMService(provider, **options), context)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(running.worker)
    task = asyncio.create_task(runner.run())
    try:
        await running.after.until(lambda: running.llm._prewarming)
        assert running.llm._prewarming is not None
        if warms:
            await running.llm._prewarming
        yield running
        await running.worker.queue_frame(EndFrame())
        await asyncio.wait_for(task, PATIENCE_S)
    finally:
        await runner.cancel()  # needed only if the test has failed


def provider_of(
    server: ScriptedServer, *steps: Step, name: str = "kitchen", warms: bool = True, **options: Any
) -> LLMProvider:
    """Return a provider whose server plays these steps, after one step for the prewarm of its pipeline."""
    merged: dict[str, Any] = {"retry": {"attempts": 1}, "prefill": False} | options
    steps = (reply({"data": []}), *steps) if warms else steps
    return create_provider("openai_compatible", model="qwen3", name=name, base_url=server.add(name, *steps), **merged)


def bodies_of(server: ScriptedServer) -> list[dict[str, Any]]:
    """Return the chat requests that the server got."""
    return [body for body in server.seen["kitchen"].bodies if body]


async def test_text_is_streamed(scripted_server: ScriptedServer) -> None:
    """Texts go downstream as they arrive, and pipecat's assistant aggregator writes them into the context."""
    slow: Step = (SSE_HEAD, http_chunk(sse(said("Good "))), 0.05, *answer("morning!").stream[1:])
    async with conversation(provider_of(scripted_server, slow)) as running:
        await running.ask()

    kinds = [type(frame) for frame in running.after.frames]
    assert running.said == ["Good ", "morning!"]
    assert kinds.index(LLMFullResponseStartFrame) < kinds.index(LLMTextFrame) < kinds.index(LLMFullResponseEndFrame)
    assert running.context.get_messages()[-1] == {"role": "assistant", "content": "Good morning!"}
    assert running.errors == []


async def test_metrics(scripted_server: ScriptedServer) -> None:
    """Usage with cached and reasoning tokens, time to first token and total time are reported once a response."""
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    async with conversation(provider_of(scripted_server, answer("Hi.", usage=usage))) as running:
        await running.ask()

    (reported,) = running.metrics(LLMUsageMetricsData)
    first = [data.value for data in running.metrics(TTFBMetricsData) if data.processor == running.llm.name]
    whole = [data.value for data in running.metrics(ProcessingMetricsData) if data.processor == running.llm.name]
    assert reported.model == "qwen3"
    assert isinstance(reported.value, LLMTokenUsage)
    assert (reported.value.prompt_tokens, reported.value.completion_tokens, reported.value.total_tokens) == (9, 4, 13)
    assert (reported.value.cache_read_input_tokens, reported.value.reasoning_tokens) == (5, 2)
    assert 0 < first[-1] <= whole[-1]


async def test_response_without_usage(scripted_server: ScriptedServer) -> None:
    """If the server reports no usage, there is none, and no zeros."""
    async with conversation(provider_of(scripted_server, answer("Hi.", usage=None))) as running:
        await running.ask()

    assert running.metrics(LLMUsageMetricsData) == []


async def test_tool_call(scripted_server: ScriptedServer) -> None:
    """A registered function gets the arguments, its result goes to the model, and the response to it is spoken."""
    asked: list[dict[str, Any]] = []

    async def get_weather(params: FunctionCallParams) -> None:
        asked.append(dict(params.arguments))
        await params.result_callback({"degrees": 5})

    steps = answer(calls=[WEATHER]), answer("It is 5 degrees.")
    async with conversation(provider_of(scripted_server, *steps), tools=TOOLS) as running:
        running.llm.register_function("get_weather", get_weather)
        await running.ask(answers=2)

    first, second = bodies_of(scripted_server)
    assert asked == [{"city": "Oslo"}]
    assert running.said == ["It is 5 degrees."]
    assert first["tools"][0]["function"]["name"] == "get_weather"
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
    assert second["messages"][-1]["content"] == '{"degrees": 5}'


def call_with_fields(person: str, number: int = 0) -> Step:
    """Script a response whose call has an id that repeats in every conversation, and provider fields."""
    made = call("get_weather", '{"city": "Oslo"}', f"functions.get_weather:{number}", extra_content={"google": person})
    return answer(calls=[made], reasoning_content=f"{person} has a secret.")


def sent_fields(body: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return reasoning and signature of each message with a call."""
    return [
        (message.get("reasoning_content"), message["tool_calls"][0].get("extra_content"))
        for message in body["messages"]
        if "tool_calls" in message
    ]


def fields_of(person: str) -> tuple[Any, Any]:
    """Return the fields that belong to this person's call."""
    return (f"{person} has a secret.", {"google": person})


async def test_two_conversations_on_one_provider(scripted_server: ScriptedServer) -> None:
    """Two pipelines with equal texts and calls, and 500 other calls in between, each send their own fields back."""
    others = [answer(calls=[call("f", "{}", f"f:{number}") for number in range(100)]) for _ in range(5)]
    steps = call_with_fields("Anna"), call_with_fields("Bob"), *others, answer("Warm."), answer("Warm.")
    provider = provider_of(scripted_server, reply({"data": []}), *steps)  # both pipelines prewarm it
    released = asyncio.Event()

    async def wait_for_others(params: FunctionCallParams) -> None:
        await released.wait()
        await params.result_callback({"degrees": 5})

    async with conversation(provider, tools=TOOLS) as anna, conversation(provider, tools=TOOLS) as bob:
        for running in (anna, bob):
            running.llm.register_function("get_weather", wait_for_others)
            await running.ask()
        for number in range(len(others)):
            await provider.chat([{"role": "user", "content": f"caller {number}"}])
        released.set()
        await anna.after.until(lambda: anna.said)
        await bob.after.until(lambda: bob.said)

    for_anna, for_bob = sorted(bodies_of(scripted_server)[-2:], key=lambda body: "Bob" in str(body))
    assert sent_fields(for_anna) == [fields_of("Anna")]
    assert sent_fields(for_bob) == [fields_of("Bob")]


async def test_ids_that_repeat_in_a_conversation(scripted_server: ScriptedServer) -> None:
    """A second call with the same id gets a new id, because pipecat writes a result to every call with its id."""
    results = iter(["5 degrees", "6 degrees"])

    async def get_weather(params: FunctionCallParams) -> None:
        await params.result_callback(next(results))

    steps = call_with_fields("first"), call_with_fields("second"), answer("Warm.")
    async with conversation(provider_of(scripted_server, *steps), tools=TOOLS) as running:
        running.llm.register_function("get_weather", get_weather)
        await running.ask(answers=3)

    body = bodies_of(scripted_server)[-1]
    assert sent_fields(body) == [fields_of("first"), fields_of("second")]
    assert [message["content"] for message in body["messages"] if message["role"] == "tool"] == [
        '"5 degrees"',
        '"6 degrees"',
    ]


async def test_context_with_invalid_calls(scripted_server: ScriptedServer) -> None:
    """A call without a name or arguments in the context does not stop the pipeline."""
    calls: list[Any] = [{"id": "a", "function": {"name": "get_weather"}}, {"function": {}}]
    async with conversation(provider_of(scripted_server, answer("Hi."))) as running:
        running.context.add_message({"role": "assistant", "tool_calls": calls[:1]})
        running.context.add_message({"role": "assistant", "tool_calls": calls})
        await running.ask()

    assert running.said == ["Hi."]


@pytest.mark.parametrize("beside", [[], [WEATHER | {"id": "call00002"}]], ids=["alone", "beside a good one"])
async def test_call_with_invalid_arguments(scripted_server: ScriptedServer, beside: list[Any]) -> None:
    """The model gets the reason beside the results of the valid calls, in one more request."""
    asked: list[dict[str, Any]] = []

    async def get_weather(params: FunctionCallParams) -> None:
        asked.append(dict(params.arguments))
        await params.result_callback("5 degrees")

    steps = answer(calls=[call("get_weather", "[1]"), *beside]), answer("It is cold.")
    async with conversation(provider_of(scripted_server, *steps), tools=TOOLS) as running:
        running.llm.register_function("get_weather", get_weather)
        await running.ask(answers=2)

    bodies = bodies_of(scripted_server)
    tools = [message for message in bodies[1]["messages"] if message["role"] == "tool"]
    results = {message["tool_call_id"]: message["content"] for message in tools}
    assert asked == [{"city": "Oslo"} for _ in beside]
    assert "was not run: The arguments are no object" in results["call00001"]
    assert results.get("call00002", '"5 degrees"') == '"5 degrees"'
    assert (len(bodies), running.said) == (2, ["It is cold."])


async def test_interruption_closes_the_request(scripted_server: ScriptedServer) -> None:
    """An interruption closes the request, and the next turn works."""
    endless: Step = (SSE_HEAD, http_chunk(sse(said("Once upon a time "))), "hang")
    async with conversation(provider_of(scripted_server, endless, answer("Hi."))) as running:
        await running.worker.queue_frame(LLMRunFrame())
        await running.after.until(lambda: running.said)
        await running.worker.queue_frame(InterruptionFrame())
        await running.after.until(lambda: running.after.of(LLMFullResponseEndFrame))
        await running.ask()

    assert running.said == ["Once upon a time ", "Hi."]
    assert len(scripted_server.seen["kitchen"].gone_at) == 1
    assert running.errors == []


async def test_usage_of_an_interrupted_response(scripted_server: ScriptedServer) -> None:
    """The server's latest count is reported, once."""
    counts = [{"prompt_tokens": 9, "completion_tokens": number} for number in (1, 2)]
    pieces = [http_chunk(sse(said(f"{number} ", usage=count))) for number, count in enumerate(counts)]
    endless: Step = (SSE_HEAD, pieces[0], 0.05, pieces[1], "hang")
    async with conversation(provider_of(scripted_server, endless, answer("Hi.", usage=None))) as running:
        await running.worker.queue_frame(LLMRunFrame())
        await running.after.until(lambda: "".join(running.said) == "0 1 ")
        await running.worker.queue_frame(InterruptionFrame())
        await running.after.until(lambda: running.after.of(LLMFullResponseEndFrame))
        await running.ask()

    (reported,) = running.metrics(LLMUsageMetricsData)
    assert (reported.value.prompt_tokens, reported.value.completion_tokens) == (9, 2)


@pytest.mark.parametrize(
    ("status", "category", "stays"),
    [
        ("401 Unauthorized", ErrorCategory.AUTHENTICATION, False),
        ("402 Payment Required", ErrorCategory.QUOTA, True),
        ("403 Forbidden", ErrorCategory.AUTHORIZATION, False),
        ("404 Not Found", ErrorCategory.INVALID_REQUEST, False),
        ("400 Bad Request", ErrorCategory.APPLICATION, True),
        ("429 Too Many Requests", ErrorCategory.RATE_LIMIT, True),
        ("500 Internal Server Error", ErrorCategory.SERVER, True),
    ],
)
async def test_error_frames(
    scripted_server: ScriptedServer, status: str, category: ErrorCategory, *, stays: bool
) -> None:
    """An error is one frame with a sentence and a category; only a permanent one makes pipecat drop the service."""
    refusal = reply({"error": {"message": "no", "type": "<b>bad</b>"}}, status)
    async with conversation(provider_of(scripted_server, refusal, answer("Hi."))) as running:
        await running.ask()
        if stays:
            await running.ask()

    (frame,) = running.errors
    assert (frame.category, running.llm.is_usable) == (category, stays)
    assert "kitchen" in frame.error
    assert "<" not in frame.error
    assert running.said == (["Hi."] if stays else [])


async def test_error_after_some_text(scripted_server: ScriptedServer) -> None:
    """The text before the error stays."""
    broken: Step = (SSE_HEAD, http_chunk(sse(said("It is "))), http_chunk(sse(said("five "))), "rst")
    async with conversation(provider_of(scripted_server, broken)) as running:
        await running.ask()

    assert "".join(running.said).startswith("It is ")
    assert [frame.category for frame in running.errors] == [ErrorCategory.CONNECTIVITY]


async def test_a_stream_that_ends_early_is_an_error() -> None:
    """A provider whose stream has no ``ResponseDone`` has broken off; a text without its end is no success."""

    class Endless(LLMProvider):
        """A provider whose streams have no end."""

        provider_name = "endless"
        model = "m"

        async def chat(self, *_: Any, **__: Any) -> LLMResponse:
            """Not used here."""
            raise NotImplementedError

        def chat_stream(self, *_: Any, **__: Any) -> AsyncIterator[str]:
            """Not used here."""
            raise NotImplementedError

        async def stream_events(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
            """Send a text and stop."""
            yield TextDelta("It is")

    async with conversation(Endless()) as running:
        await running.ask()

    assert running.said == ["It is"]
    assert [frame.error for frame in running.errors] == [
        "endless stopped in the middle of its answer. Please try again."
    ]


async def test_timeout_event(scripted_server: ScriptedServer) -> None:
    """A timeout also calls pipecat's ``on_completion_timeout``."""
    late = asyncio.Event()
    provider = provider_of(scripted_server, (SSE_HEAD, "hang"), timeouts={"first_token_s": 1})
    async with conversation(provider) as running:

        @running.llm.event_handler("on_completion_timeout")
        async def on_completion_timeout(_service: LLMService) -> None:
            late.set()

        await running.ask()
        await asyncio.wait_for(late.wait(), PATIENCE_S)

    assert [frame.category for frame in running.errors] == [ErrorCategory.CONNECTIVITY]


async def test_group_that_fails(scripted_server: ScriptedServer) -> None:
    """A wrong key of the last server is no reason to drop the group: the next turn works."""
    no_key = reply({"error": {"message": "no"}}, "401 Unauthorized")
    first = provider_of(scripted_server, NO, answer("Hi."), name="first")
    second = provider_of(scripted_server, no_key, name="second")
    async with conversation(FallbackProvider([first, second], cooldown_s=0)) as running:
        await running.ask()
        await running.ask()

    assert [frame.category for frame in running.errors] == [ErrorCategory.UNKNOWN]
    assert running.said == ["Hi."]


async def test_invalid_option(scripted_server: ScriptedServer) -> None:
    """An option that cannot be sent is an error frame, and the pipeline continues."""
    settings = LLMSettings(extra={"stream": True})
    async with conversation(provider_of(scripted_server, answer("Hi.")), settings=settings) as running:
        await running.ask()

    (frame,) = running.errors
    assert (frame.category, frame.error.partition(" ")[0]) == (ErrorCategory.APPLICATION, "stream")


async def test_file_of_an_unsupported_type(scripted_server: ScriptedServer) -> None:
    """A file of an unsupported type is an error and is removed, so that the next turn works."""
    file = {"file_data": "AAAA", "filename": "a.bin", "mime_type": "application/octet-stream"}
    async with conversation(provider_of(scripted_server, answer("Hi."))) as running:
        running.context.add_message({"role": "user", "content": [{"type": "file_base64", "file": file}]})
        await running.ask()
        await running.ask()

    assert [frame.error for frame in running.errors] == ["A file in the conversation could not be sent."]
    assert running.said == ["Hi."]


BLIND = reply({"error": {"message": "This model does not accept image input."}}, "500 Internal Server Error")
DEAF = reply({"error": {"message": "No endpoints found that support audio input"}}, "404 Not Found")
NO_FILES = reply({"error": {"message": "This model does not support file inputs."}}, "400 Bad Request")
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
DOCUMENT = {"type": "file_url", "file": {"url": "data:application/pdf;base64,AAAA", "mime_type": "application/pdf"}}
FILE = {
    "type": "file_base64",
    "file": {"file_data": "data:image/png;base64,AAAA", "filename": "a", "mime_type": "image/png"},
}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


@pytest.mark.parametrize(
    ("refusal", "part", "name"),
    [
        pytest.param(BLIND, PICTURE, "[image]", id="picture"),
        pytest.param(BLIND, FILE, "[image, image/png]", id="file"),
        pytest.param(DEAF, SOUND, "[audio]", id="sound"),
        pytest.param(NO_FILES, DOCUMENT, "[file, application/pdf]", id="document"),
    ],
)
@pytest.mark.parametrize("grouped", [False, True])
async def test_input_that_the_model_cannot_read(
    scripted_server: ScriptedServer, refusal: Step, part: dict[str, Any], name: str, *, grouped: bool
) -> None:
    """Every such part is replaced by its name, also before the latest response; the user's words stay."""
    provider = provider_of(scripted_server, refusal, answer("Hi."))
    question = {"type": "text", "text": "What is this?"}
    async with conversation(FallbackProvider([provider]) if grouped else provider) as running:
        running.context.add_message({"role": "user", "content": [question, dict(part)]})
        running.context.add_message({"role": "assistant", "content": "A flower."})
        running.context.add_message({"role": "user", "content": [dict(part)]})
        await running.ask()
        await running.ask()

    messages = bodies_of(scripted_server)[-1]["messages"]
    named = {"type": "text", "text": name}
    assert (len(running.errors), running.said, running.llm.is_usable) == (1, ["Hi."], True)
    assert [message["content"] for message in messages[1:4]] == [[question, named], "A flower.", [named]]


async def test_settings(scripted_server: ScriptedServer) -> None:
    """The request has the sampling parameters, the system instruction and the tool choice that were set."""
    settings = LLMSettings(system_instruction="Be brief.", temperature=0.2, top_k=40, extra={"min_p": 0.1})
    provider = provider_of(scripted_server, answer(calls=[WEATHER]))
    async with conversation(provider, tools=TOOLS, settings=settings) as running:
        running.context.set_tool_choice("required")
        await running.ask()

    body = bodies_of(scripted_server)[0]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["top_k"], body["min_p"], body["tool_choice"]) == (0.2, 40, 0.1, "required")
    assert "top_p" not in body


async def test_run_inference(scripted_server: ScriptedServer) -> None:
    """``run_inference`` returns the response to a context, with the given schema and limit."""
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}}
    async with provider_of(scripted_server, answer('{"mood": "good"}'), answer("Hi."), warms=False) as provider:
        llm = LLMService(provider)
        context = LLMContext([{"role": "user", "content": "How are you?"}])

        first = await llm.run_inference(context, max_tokens=9, system_instruction="Be glad.", response_schema=schema)
        assert first == '{"mood": "good"}'
        assert await llm.run_inference(context) == "Hi."

    first_body, second_body = bodies_of(scripted_server)
    assert (first_body["max_tokens"], first_body["messages"][0]["content"]) == (9, "Be glad.")
    assert first_body["response_format"]["json_schema"]["schema"] == schema
    assert "response_format" not in second_body


async def test_prewarm_and_close(scripted_server: ScriptedServer) -> None:
    """The end of the pipeline closes the provider; so does the cleanup of a service that never ran."""
    provider = provider_of(scripted_server, answer("Hi."))
    async with conversation(provider) as running:
        await running.ask()
        assert running.llm._prewarming is not None

    await LLMService(provider_of(scripted_server, answer("Hi."), name="idle")).cleanup()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_prefill_when_the_pipeline_starts(scripted_server: ScriptedServer) -> None:
    """The provider gets the context of the aggregator in front as the first request will have it."""
    provider = provider_of(scripted_server, answer("Hi."), warms=False, prefill=True)
    settings = LLMSettings(system_instruction="Be brief.")
    async with conversation(provider, tools=TOOLS, settings=settings) as running:
        await running.ask()
        service = LLMService(provider)
        assert service._context_before().get_messages() == []

    ahead, question = bodies_of(scripted_server)
    assert (ahead.pop("max_tokens"), question.pop("max_tokens")) == (1, 4096)
    assert ahead == question
    assert [message["role"] for message in ahead["messages"]] == ["system", "user"]


async def test_no_prefill_after_a_question(scripted_server: ScriptedServer) -> None:
    """A question that was answered while the pipeline opened the connection has sent the prompt itself."""
    held = Held(reply({"data": []}))
    provider = provider_of(scripted_server, cast("Step", held), answer("Hi."), warms=False, prefill=True)
    async with conversation(provider, warms=False) as running:
        await until(lambda: scripted_server.seen["kitchen"].paths)
        await running.ask()
        held.is_released = True
        await cast("asyncio.Task[None]", running.llm._prewarming)

    assert len(bodies_of(scripted_server)) == 1


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pipecat the import fails and names the command that installs it."""
    monkeypatch.setitem(sys.modules, "pipecat.services", None)
    monkeypatch.delitem(sys.modules, "adapters.pipecat")

    with pytest.raises(ImportError, match=r"caal-llm-adapters\[pipecat\]"):
        importlib.import_module("adapters.pipecat")


@pytest.mark.integration
async def test_with_llama_cpp() -> None:
    """The demo model of the embedded server calls a tool and uses its result, in a whole pipeline."""

    async def get_weather(params: FunctionCallParams) -> None:
        await params.result_callback("12 C and rain")

    provider = create_provider("local")
    async with conversation(provider, "What is the weather in Paris?", tools=TOOLS) as running:
        running.llm.register_function("get_weather", get_weather)
        await running.ask(answers=2)

    assert running.errors == []
    assert "raining" in "".join(running.said)
