"""The sentences of all errors, in one place, so that a change of wording is seen.

They are made by the functions that make the errors, or by calls to a scripted server. ``shop`` is the provider and
``tiny`` its model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import AllProvidersFailedError, APIError, ConfigError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.testing import TOOLS
from adapters.testing.answers import DONE, STOP, call, chunk, http, raw_stream, said, stream
from adapters.testing.server import ScriptedServer
from adapters.transport.deadlines import DeadlineExceeded
from adapters.transport.endpoint import NO_KEY, Endpoint
from adapters.transport.errors import failures
from adapters.transport.errors.upstream import upstream_error
from adapters.transport.http import TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.client.provider import LiteLLMProvider
    from adapters.testing.answers import Script

_SHOP = Endpoint("shop", "tiny", base_url="http://host:8000/v1", api_key="wire-KEY", key_name="SHOP_KEY")
_ROUTED = Endpoint("shop", "anthropic/tiny", prefix="")
_NO_KEY = Endpoint("shop", "tiny", api_key=NO_KEY)
_KEY_IN_HEADER = Endpoint("shop", "tiny", api_key=NO_KEY, headers={"X-Title": "a", "api-key": "wire-KEY"})
_LONGEST_SPOKEN_CHARS = 120
"""Of our own words; those of the server may follow."""

_REPORTED: dict[str, tuple[int | None, Any, str]] = {
    "400": (400, "", "shop refused the request."),
    "400 with words": (400, "Bad n.", "shop refused the request. …"),
    "401": (401, "", "shop rejected the API key. Check SHOP_KEY."),
    "402": (402, "", "shop has no credits left. Top up the account, or lower max_tokens."),
    "403": (403, "", "shop denied access. Check what the API key is allowed to do."),
    "404": (404, "", "shop has no API at this address. Check base_url (most servers want /v1) and model."),
    "405": (405, "", "shop has no API at this address. Check base_url (most servers want /v1) and model."),
    "301": (301, "", "shop has moved. Check base_url (http or https, host, path)."),
    "429": (429, "", "shop is busy, or its rate limit is reached. Please wait a moment."),
    "429 with a wait": (
        429,
        "Try again in 2 minutes",
        "shop is busy, or its rate limit is reached. Please try again in 2 minutes. …",
    ),
    "500": (500, "", "shop failed. Please try again."),
    "503": (503, "Service Unavailable", "shop failed. Please try again. …"),
    "error in a 200": (None, "It broke.", "shop failed. Please try again. …"),
    "unknown model": (
        404,
        "The model `x` does not exist",
        "shop does not offer the model tiny. Check its name. …",
    ),
    "no endpoint for the account": (
        404,
        "No endpoints found matching your data policy.",
        "tiny is not available on shop for your account. Check both. …",
    ),
    "no endpoint for all parameters": (
        404,
        "No endpoints found that can handle the requested parameters.",
        "No provider behind shop supports all parameters of this request. Drop response_format or some others. …",
    ),
    "no structured output": (
        400,
        "response_format is not supported",
        "shop does not support response_format with this model. Use another model, or remove it. …",
    ),
    "no tools": (
        404,
        "No endpoints found that support tool use.",
        "This model on shop does not support tools. Use another model, or turn tools off. …",
    ),
    "started without tools": (
        400,
        '"auto" tool choice requires --enable-auto-tool-choice to be set',
        "shop was started without tool support. Enable it, or turn tools off. …",
    ),
    "no images": (
        500,
        "image input is not supported",
        "On shop, the model cannot see images. Use another model, or send text only. …",
    ),
    "no audio": (
        404,
        "No endpoints found that support input audio",
        "On shop, the model cannot hear audio. Use another model, or send text only. …",
    ),
    "no videos": (
        400,
        "this model does not support video input",
        "On shop, the model cannot watch videos. Use another model, or send text only. …",
    ),
    "no files": (
        404,
        "No endpoints found that support file input",
        "On shop, the model cannot read files. Use another model, or send text only. …",
    ),
    "budget": (
        422,
        {"error": {"type": "budget_exceeded"}},
        "The budget at shop is used up. Raise it, or wait until it resets.",
    ),
    "too long": (
        400,
        "prompt is too long",
        "The conversation is too long for tiny on shop. Start a new one. …",
    ),
    "filtered": (
        400,
        "content policy",
        "The content filter of shop blocked the request. Please rephrase it. …",
    ),
    "garbled call": (
        422,
        {"error": "unreadable", "error_type": "tool_error"},
        "shop could not use a tool: Failed to call a function. Please try again.",
    ),
}
"""What a server reports -> the sentence; … stands for its own words."""

_MADE: dict[str, tuple[APIError, str]] = {
    "no key": (
        failures.upstream_failure(upstream_error("", status=401), _NO_KEY),
        "shop requires an API key. Set api_key.",
    ),
    "key in a header": (
        failures.upstream_failure(upstream_error("", status=401), _KEY_IN_HEADER),
        "shop rejected the key in the api-key header. Check headers.",
    ),
    "no connection": (
        failures.connection_failure(_SHOP, TransportError("connection refused", connecting=True)),
        "Could not reach shop at host:8000: connection refused. Is it running? Is base_url right?",
    ),
    "no connection, and no reason": (
        failures.connection_failure(_SHOP, TransportError(connecting=True)),
        "Could not reach shop at host:8000. Is it running? Is base_url right?",
    ),
    "no connection to a route of LiteLLM": (
        failures.connection_failure(_ROUTED, TransportError("its host name is unknown", connecting=True)),
        "Could not reach shop: its host name is unknown. Check the network connection.",
    ),
    "no connection to a route of LiteLLM in time": (
        failures.connection_failure(_ROUTED, TransportError(connecting=True, timed_out=True)),
        "Could not reach shop in time. Check the network connection.",
    ),
    "no connection in time": (
        failures.connection_failure(_SHOP, TransportError(connecting=True, timed_out=True)),
        "Could not reach shop at host:8000 in time. Is it running?",
    ),
    "connection lost": (
        failures.connection_failure(_SHOP, TransportError()),
        "The connection to shop was lost. Please try again.",
    ),
    "closed": (failures.closed(_SHOP), "The connection to shop was closed."),
    "no token in time": (
        failures.deadline_exceeded(DeadlineExceeded("first_token_s", 8), _SHOP),
        "shop did not answer in time (8 seconds). Please try again.",
    ),
    "no text in time": (
        failures.deadline_exceeded(DeadlineExceeded("first_text_s", 3), _SHOP),
        "shop did not answer in time (3 seconds). Please try again.",
    ),
    "no text in time, but reasoning": (
        failures.deadline_exceeded(DeadlineExceeded("thinking", 3), _SHOP),
        "shop is still thinking after 3 seconds. Please try again, or turn thinking off.",
    ),
    "no free slot": (failures.full(_SHOP), "shop is busy with other requests. Please try again in a moment."),
    "no end in time": (
        failures.deadline_exceeded(DeadlineExceeded("total_s", 0.5), _SHOP),
        "shop did not answer in time (0.5 seconds). Please try again.",
    ),
    "stalled": (
        failures.deadline_exceeded(DeadlineExceeded("stall_s", 8), _SHOP),
        "shop stopped responding: no data for 8 seconds. Please try again.",
    ),
    "above a limit": (
        failures.above_limit("answer_bytes", 1_000, _SHOP),
        "shop sent an answer that is too long. Ask for less, or raise limits.answer_bytes (1000).",
    ),
    "other schema": (
        failures.schema_mismatch(_SHOP, cut=False),
        "The answer of shop does not match response_format. Please try again.",
    ),
    "schema cut": (
        failures.schema_mismatch(_SHOP, cut=True),
        "shop reached max_tokens before its answer was complete. Raise max_tokens.",
    ),
    "prose": (
        failures.not_an_answer(upstream_error("Come back later."), _SHOP),
        "shop sent no answer. It said: Come back later.",
    ),
    "prose without words": (
        failures.not_an_answer(upstream_error("404 page not found"), _SHOP),
        "shop sent no answer. Please try again.",
    ),
    "answer filtered": (
        failures.content_filtered(_SHOP),
        "The content filter of shop blocked the answer. Please rephrase the request.",
    ),
    "request not built": (
        failures.request_not_built("please check the messages.", _SHOP),
        "The request to shop could not be built: please check the messages.",
    ),
    "all providers": (
        AllProvidersFailedError(
            [failures.content_filtered(_NO_KEY), failures.connection_failure(_SHOP, TransportError())]
        ),
        "No language model could answer. The connection to shop was lost. Please try again.",
    ),
}


_PART = call("get_weather", '{"city": "Os')
_CALL = {"tool_calls": [_PART]}

_STREAMED: dict[str, tuple[Script, str]] = {
    "nothing": (raw_stream(DONE), "shop sent no answer. Please try again."),
    "nothing, and no end": (stream(done=False), "shop sent an empty answer. Please try again."),
    "no text": (stream(STOP), "shop sent an empty answer. Please try again."),
    "text that breaks off": (
        stream(said("Hi"), done=False),
        "shop stopped in the middle of its answer. Please try again.",
    ),
    "reasoning that breaks off": (
        stream(chunk({"reasoning": "Hm."}), done=False),
        "shop stopped before giving an answer. Please try again.",
    ),
    "call that breaks off": (
        stream(chunk(_CALL), done=False),
        "shop stopped early and could not use a tool: Failed to call a function. Please try again.",
    ),
    "call that is cut": (
        stream(chunk(_CALL), chunk({}, "length")),
        "shop could not use a tool: Failed to call a function. Please try again. Its answer was cut by max_tokens.",
    ),
    "call that never came": (
        stream(said("Hm"), chunk({}, "tool_calls")),
        "shop could not use a tool: Failed to call a function. Please try again.",
    ),
    "reasoning alone": (
        stream(chunk({"reasoning": "Hm."}), STOP),
        "shop produced reasoning but no answer. Please try again.",
    ),
    "reasoning that is cut": (
        stream(chunk({"reasoning": "Hm."}), chunk({}, "length")),
        "shop produced reasoning but no answer. Raise max_tokens, or turn thinking off.",
    ),
    "cut before the text": (
        stream(chunk({}, "length")),
        "shop reached max_tokens before its answer began. Raise max_tokens.",
    ),
    "no room": (
        stream(chunk({}, "model_context_window_exceeded")),
        "shop had no room for an answer. The conversation is too long.",
    ),
    "filtered": (
        stream(chunk({}, "content_filter")),
        "The content filter of shop blocked the answer. Please rephrase the request.",
    ),
    "finish reason of a failure": (
        stream(chunk({}, "error")),
        "shop failed in the middle of its answer. Please try again.",
    ),
    "finish reason of a failed call": (
        stream(chunk({}, "error", native_finish_reason="MALFORMED_FUNCTION_CALL")),
        "shop failed in the middle of its answer. Please try again.",
    ),
    "too many calls": (
        stream(*(chunk({"tool_calls": [call("f", "{}", f"call{i}", index=i)]}) for i in range(3))),
        "shop made more than 2 tool calls in one answer (limits.calls). Please try again.",
    ),
    "JSON that is cut": (
        [http(b'{"choices": [{"mess')],
        "shop sent an answer that is cut or garbled. Please try again.",
    ),
    "web page": (
        [http(b"<html><title>Log in</title></html>", content_type="text/html")],
        "shop sent a web page instead of an answer. Check base_url, or sign in to the network.",
    ),
}
"""What a server streams -> the sentence."""

_TOOL = '{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}'
_SCHEMAS = (
    "a pydantic model, a dataclass or list[X], or an object such as "
    '{"type": "json_schema", "json_schema": {"name": "answer", "schema": …}}'
)

_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "messages": (
        {"messages": "Hi"},
        'messages must be a list of messages, such as [{"role": "user", "content": "Hello"}].',
    ),
    "tools": (
        {"tools": [print]},
        f"tools must be a list of tools, such as [{_TOOL}]. Functions are for run_turn.",
    ),
    "option of the provider": (
        {"base_url": "http://host"},
        "base_url is not an option of a single request: set it where the provider is created.",
    ),
    "option of another library": (
        {"num_retries": 3},
        "num_retries is not an option of a single request: use max_retries.",
    ),
    "misspelt option": (
        {"temprature": 1},
        "temprature is not a known option. Did you mean temperature? Else write it into extra_body.",
    ),
    "timeout": ({"timeout": "soon"}, "timeout must be a number of seconds above 0."),
    "max_retries": ({"max_retries": -1}, "max_retries must be a whole number, 0 or more."),
    "allow_empty": ({"allow_empty": "yes"}, "allow_empty must be True or False."),
    "metadata": ({"metadata": 7}, 'metadata must be an object, such as {"user_id": "7", "tags": ["home"]}.'),
    "extra_body": ({"extra_body": 7}, 'extra_body must be an object of fields, such as {"top_k": 5}.'),
    "extra_body with a field of ours": (
        {"extra_body": {"stream": True}},
        "stream cannot be set in extra_body: the provider writes it.",
    ),
    "value that is not JSON": ({"stop": print}, "stop holds a builtin_function_or_method, which is not JSON."),
    "response_format": (
        {"response_format": 7},
        f"response_format is a int. It must be a type with a schema, such as {_SCHEMAS}.",
    ),
}
"""Arguments of ``chat`` -> the sentence of the ``ConfigError``."""


@pytest.mark.parametrize(
    ("status", "body", "sentence"), [pytest.param(*row, id=name) for name, row in _REPORTED.items()]
)
def test_failure_that_a_server_reports(status: int | None, body: Any, sentence: str) -> None:
    """The sentence names the provider and what to do; the server's own words follow, if they add anything."""
    error = failures.upstream_failure(upstream_error(body, status=status), _SHOP)

    assert str(error) == sentence.replace("…", f"It said: {body}")


@pytest.mark.parametrize(("error", "sentence"), [pytest.param(*row, id=name) for name, row in _MADE.items()])
def test_failure_without_a_report(error: APIError, sentence: str) -> None:
    """The sentence names the provider and what to do."""
    assert str(error) == sentence


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A scripted server."""
    async with ScriptedServer() as running:
        yield running


def _provider(base_url: str) -> LiteLLMProvider:
    options: dict[str, Any] = {"retry": {"attempts": 1}, "limits": {"calls": 2}, "name": "shop"}
    return create_provider("openai_compatible", model="tiny", base_url=base_url, **options)


@pytest.mark.parametrize(("script", "sentence"), [pytest.param(*row, id=name) for name, row in _STREAMED.items()])
async def test_failure_of_a_stream(server: ScriptedServer, script: Script, sentence: str) -> None:
    """The sentence says what came, and what to do."""
    async with _provider(server.add("shop", script)) as provider:
        with pytest.raises(APIError) as raised:
            [event async for event in provider.stream_events([{"role": "user", "content": "Hi"}], list(TOOLS))]

    assert str(raised.value) == sentence


@pytest.mark.parametrize(("arguments", "sentence"), [pytest.param(*row, id=name) for name, row in _ARGUMENTS.items()])
async def test_argument_of_a_call(arguments: dict[str, Any], sentence: str) -> None:
    """The sentence names the argument and what it must be."""
    async with _provider("http://127.0.0.1:9/v1") as provider:
        with pytest.raises(ConfigError) as raised:
            await provider.chat(**{"messages": [{"role": "user", "content": "Hi"}], **arguments})

    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param({"providers": []}, "A FallbackProvider needs at least one provider.", id="no-provider"),
        pytest.param({"cooldown_s": -1}, "cooldown_s must be a number of seconds, 0 or more.", id="cooldown"),
        pytest.param(
            {"hedge_after_s": -1}, "hedge_after_s must be a number of seconds, 0 or more, or auto.", id="hedge"
        ),
        pytest.param({"first_token_s": 0}, "first_token_s must be a number of seconds above 0.", id="first-token"),
        pytest.param({"first_text_s": 0}, "first_text_s must be a number of seconds above 0.", id="first-text"),
    ],
)
async def test_argument_of_a_group(options: dict[str, Any], sentence: str) -> None:
    """The sentence names the argument and what it must be."""
    async with _provider("http://127.0.0.1:9/v1") as provider:
        with pytest.raises(ConfigError) as raised:
            FallbackProvider(**{"providers": [provider], **options})

    assert str(raised.value) == sentence


_SENTENCES = {row[-1] for table in (_REPORTED, _MADE, _STREAMED) for row in table.values()}


@pytest.mark.parametrize("sentence", sorted(_SENTENCES))
def test_sentence_is_fit_to_be_spoken(sentence: str) -> None:
    """It is short and complete, and has no words that agents take for something else."""
    assert len(sentence) <= _LONGEST_SPOKEN_CHARS
    assert "shop" in sentence
    assert "not found" not in sentence.lower()
    assert not {"nobody", "somebody", "who", "None"} & set(sentence.split())
    assert sentence.endswith((".", "?", "…"))
