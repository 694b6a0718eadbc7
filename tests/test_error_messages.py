"""Every sentence that an error can say to a person, in one table, so that a change of wording is seen.

The sentences are made by the functions that make the errors. In them ``shop`` is the provider and ``tiny`` its model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import AllProvidersFailedError
from adapters.transport.deadlines import DeadlineExceeded
from adapters.transport.endpoint import NO_KEY, Endpoint
from adapters.transport.errors import failures
from adapters.transport.errors.upstream import upstream_error
from adapters.transport.http import TransportError

if TYPE_CHECKING:
    from adapters.errors import APIError

_SHOP = Endpoint("shop", "tiny", base_url="http://host:8000/v1", api_key="wire-KEY", key_name="SHOP_KEY")
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
        failures.rejected(upstream_error("", status=401), _NO_KEY),
        "shop requires an API key. Set api_key.",
    ),
    "key in a header": (
        failures.rejected(upstream_error("", status=401), _KEY_IN_HEADER),
        "shop rejected the key in the api-key header. Check headers.",
    ),
    "no connection": (
        failures.disconnected(_SHOP, TransportError("connection refused", connecting=True)),
        "Could not reach shop at host:8000: connection refused. Is it running? Is base_url right?",
    ),
    "no connection, and no reason": (
        failures.disconnected(_SHOP, TransportError(connecting=True)),
        "Could not reach shop at host:8000. Is it running? Is base_url right?",
    ),
    "no connection in time": (
        failures.disconnected(_SHOP, TransportError(connecting=True, timed_out=True)),
        "Could not reach shop at host:8000 in time. Is it running?",
    ),
    "connection lost": (
        failures.disconnected(_SHOP, TransportError()),
        "The connection to shop was lost. Please try again.",
    ),
    "no token in time": (
        failures.late(DeadlineExceeded("first_token_s", 8), _SHOP),
        "shop did not answer in time (8 seconds). Please try again.",
    ),
    "no end in time": (
        failures.late(DeadlineExceeded("total_s", 0.5), _SHOP),
        "shop did not answer in time (0.5 seconds). Please try again.",
    ),
    "stalled": (
        failures.late(DeadlineExceeded("stall_s", 8), _SHOP),
        "shop stopped responding: no data for 8 seconds. Please try again.",
    ),
    "above a limit": (
        failures.too_long("answer_bytes", 1_000, _SHOP),
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
        failures.no_answer(upstream_error("Come back later."), _SHOP),
        "shop sent no answer. It said: Come back later.",
    ),
    "prose without words": (
        failures.no_answer(upstream_error("404 page not found"), _SHOP),
        "shop sent no answer. Please try again.",
    ),
    "answer filtered": (
        failures.filtered(_SHOP),
        "The content filter of shop blocked the answer. Please rephrase the request.",
    ),
    "request not built": (
        failures.unbuildable("please check the messages.", _SHOP),
        "The request to shop could not be built: please check the messages.",
    ),
    "all providers": (
        AllProvidersFailedError([failures.filtered(_NO_KEY), failures.disconnected(_SHOP, TransportError())]),
        "No language model could answer. The connection to shop was lost. Please try again.",
    ),
}


@pytest.mark.parametrize(
    ("status", "body", "sentence"), [pytest.param(*row, id=name) for name, row in _REPORTED.items()]
)
def test_failure_that_a_server_reports(status: int | None, body: Any, sentence: str) -> None:
    """The sentence names the provider and what to do; the server's own words follow, if they add anything."""
    error = failures.rejected(upstream_error(body, status=status), _SHOP)

    assert str(error) == sentence.replace("…", f"It said: {body}")


@pytest.mark.parametrize(("error", "sentence"), [pytest.param(*row, id=name) for name, row in _MADE.items()])
def test_failure_without_a_report(error: APIError, sentence: str) -> None:
    """The sentence names the provider and what to do."""
    assert str(error) == sentence


_SENTENCES = {*(sentence for *_, sentence in _REPORTED.values()), *(sentence for _, sentence in _MADE.values())}


@pytest.mark.parametrize("sentence", sorted(_SENTENCES))
def test_sentence_is_fit_to_be_spoken(sentence: str) -> None:
    """It is short and complete, and has no words that agents take for something else."""
    assert len(sentence) <= _LONGEST_SPOKEN_CHARS
    assert "shop" in sentence
    assert "not found" not in sentence.lower()
    assert not {"nobody", "somebody", "who", "None"} & set(sentence.split())
    assert sentence.endswith((".", "?", "…"))
