"""``failures`` and ``classify`` of ``transport.errors``: what a server said becomes one class, and one sentence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import errors
from adapters.errors import (
    AllProvidersFailedError,
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextWindowExceededError,
    IncompleteResponseError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
)
from adapters.transport.deadlines import DeadlineExceeded, Limit
from adapters.transport.endpoint import NO_KEY, Endpoint
from adapters.transport.errors import failures
from adapters.transport.errors.classify import lacks_tools
from adapters.transport.errors.upstream import upstream_error
from adapters.transport.http import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "wire-KEY-0123456789"
ORIGIN = Endpoint("shop", "tiny", base_url="http://host:8000/v1", api_key=KEY, key_name="SHOP_KEY", secrets=(KEY,))


def rejected(body: Any, status: int | None = None, headers: dict[str, str] | None = None) -> APIError:
    """The error for an error body."""
    return failures.upstream_failure(
        upstream_error(body, status=status, headers=headers, secrets=ORIGIN.secrets), ORIGIN
    )


@pytest.mark.parametrize(
    ("status", "expected", "retryable"),
    [
        pytest.param(301, NotFoundError, False, id="301"),
        pytest.param(307, NotFoundError, False, id="307"),
        pytest.param(400, BadRequestError, False, id="400"),
        pytest.param(401, AuthenticationError, False, id="401"),
        pytest.param(402, PaymentRequiredError, False, id="402"),
        pytest.param(403, PermissionDeniedError, False, id="403"),
        pytest.param(404, NotFoundError, False, id="404"),
        pytest.param(405, NotFoundError, False, id="405"),
        pytest.param(406, BadRequestError, False, id="406"),
        pytest.param(408, InternalServerError, True, id="408"),
        pytest.param(409, InternalServerError, True, id="409"),
        pytest.param(410, NotFoundError, False, id="410"),
        pytest.param(413, BadRequestError, False, id="413"),
        pytest.param(422, BadRequestError, False, id="422"),
        pytest.param(424, InternalServerError, True, id="424"),
        pytest.param(425, InternalServerError, True, id="425"),
        pytest.param(429, RateLimitError, True, id="429"),
        pytest.param(498, InternalServerError, True, id="Groq's 498"),
        pytest.param(499, InternalServerError, True, id="nginx' 499"),
        pytest.param(500, InternalServerError, True, id="500"),
        pytest.param(502, InternalServerError, True, id="502"),
        pytest.param(503, InternalServerError, True, id="503"),
        pytest.param(529, InternalServerError, True, id="Anthropic's 529"),
        pytest.param(999, InternalServerError, True, id="999"),
    ],
)
@pytest.mark.parametrize("body", ["", "No.", {"error": {"message": "No.", "code": "whatever"}}, [{}]])
def test_class_by_status(status: int, expected: type[APIError], retryable: bool, body: Any) -> None:
    """The status of the response decides, whatever the body is."""
    error = rejected(body, status)

    assert type(error) is expected
    assert (error.provider, error.model) == ("shop", "tiny")
    assert error.status_code == status
    assert error.retryable is retryable
    assert error.retry_after_s is None


@pytest.mark.parametrize(
    ("body", "expected", "status"),
    [
        pytest.param({"error": {"code": 429, "message": "Slow."}}, RateLimitError, 429, id="number"),
        pytest.param({"error": {"code": "402"}}, PaymentRequiredError, 402, id="number in a string"),
        pytest.param({"error": {"type": "insufficient_quota"}}, PaymentRequiredError, None, id="quota"),
        pytest.param({"error": {"code": "rate_limit_exceeded"}}, RateLimitError, None, id="rate limit"),
        pytest.param({"error": {"type": "too_many_requests"}}, RateLimitError, None, id="too many"),
        pytest.param({"error": {"code": "invalid_api_key"}}, AuthenticationError, None, id="key"),
        pytest.param({"error": {"type": "authentication_error"}}, AuthenticationError, None, id="authentication"),
        pytest.param({"error": {"status": "PERMISSION_DENIED"}}, PermissionDeniedError, None, id="permission"),
        pytest.param({"error": {"code": "model_not_found"}}, NotFoundError, None, id="missing"),
        pytest.param({"error": {"type": "invalid_request_error"}}, BadRequestError, None, id="invalid"),
        pytest.param({"error": {"code": "ValidationError"}}, BadRequestError, None, id="validation"),
        pytest.param({"error": {"type": "server_error"}}, InternalServerError, None, id="server"),
        pytest.param({"error": {"type": "overloaded_error"}}, InternalServerError, None, id="overloaded"),
        pytest.param({"error": "It broke."}, InternalServerError, None, id="no word at all"),
        pytest.param("It broke.", InternalServerError, None, id="text"),
    ],
)
def test_class_by_code(body: Any, expected: type[APIError], status: int | None) -> None:
    """Inside a success the codes of the body decide; a failure without a code is the server's own."""
    error = rejected(body)

    assert type(error) is expected
    assert error.status_code == status


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(429, {"code": "insufficient_quota"}, PaymentRequiredError, id="OpenAI: no quota"),
        pytest.param(
            404,
            {"message": "No endpoints found that can handle the requested parameters. Visit: https://openrouter.ai"},
            BadRequestError,
            id="OpenRouter: not all of it",
        ),
        pytest.param(429, {"type": "billing_hard_limit"}, PaymentRequiredError, id="OpenAI: billing"),
        pytest.param(422, {"type": "budget_exceeded"}, PaymentRequiredError, id="LiteLLM proxy: budget"),
        pytest.param(400, {"message": "Budget has been exceeded! 1 > 0"}, PaymentRequiredError, id="the same, older"),
        pytest.param(
            429,
            {"message": "No deployments available - crossed budget: 2 >= 1", "code": "429"},
            PaymentRequiredError,
            id="LiteLLM proxy: budget of a provider",
        ),
        pytest.param(500, {"message": "crossed budget"}, InternalServerError, id="a server that failed has no budget"),
        pytest.param(400, {"message": "API key not valid."}, AuthenticationError, id="Google: key, with 400"),
        pytest.param(400, {"code": "invalid_api_key"}, AuthenticationError, id="xAI: key, with 400"),
        pytest.param(400, {"code": "context_length_exceeded"}, ContextWindowExceededError, id="OpenAI: too long"),
        pytest.param(413, {"message": "prompt is too long: 9 > 8"}, ContextWindowExceededError, id="413"),
        pytest.param(422, {"message": "the maximum context is 8"}, ContextWindowExceededError, id="422"),
        pytest.param(500, {"message": "exceeds the context size"}, ContextWindowExceededError, id="llama.cpp: 500"),
        pytest.param(429, {"message": "the context size"}, RateLimitError, id="429 is 429"),
        pytest.param(400, {"code": "content_filter"}, ContentFilterError, id="Azure"),
        pytest.param(403, {"message": "Your input was flagged"}, ContentFilterError, id="OpenRouter"),
        pytest.param(403, {"metadata": {"flagged_input": "x"}}, ContentFilterError, id="OpenRouter: flagged"),
        pytest.param(500, {"message": "flagged"}, InternalServerError, id="a server that failed is no filter"),
        pytest.param(422, {"message": "x", "type": "tool_error"}, IncompleteResponseError, id="TGI: garbled call"),
        pytest.param(400, {"message": "Unexpected endpoint (POST /x)"}, NotFoundError, id="LM Studio: address"),
        pytest.param(501, {"message": "File Not Found"}, NotFoundError, id="llama.cpp: address"),
        pytest.param(400, {"message": "unknown field set_rate_limit"}, BadRequestError, id="a tool is no limit"),
        pytest.param(500, {"message": "insufficient balance (1008)"}, PaymentRequiredError, id="MiniMax: no money"),
        pytest.param(
            429,
            {"message": "You exceeded your current quota, please retry in 34s"},
            RateLimitError,
            id="Gemini: a limit for each minute",
        ),
        pytest.param(403, {"message": "Invalid API key"}, AuthenticationError, id="a key that is wrong, with 403"),
        pytest.param(403, {"message": "Out of call volume quota."}, RateLimitError, id="Azure API Management"),
        pytest.param(500, {"message": "image input is not supported"}, BadRequestError, id="llama.cpp: no images"),
        pytest.param(429, {"message": "image input is not supported"}, RateLimitError, id="429 with any words"),
        pytest.param(400, {"message": "m is not a multimodal model"}, BadRequestError, id="vLLM: text only"),
        pytest.param(500, {"message": "Failed to parse input at pos 3: {"}, IncompleteResponseError, id="llama.cpp"),
        pytest.param(500, {"message": "Jinja Exception: No."}, BadRequestError, id="a template that refuses"),
        pytest.param(500, {"message": "Model x not found"}, NotFoundError, id="unknown model, with 500"),
        pytest.param(400, {"message": "tool x of the model not found"}, BadRequestError, id="a tool is no model"),
        pytest.param(400, {"message": "max_tokens 9 exceeds server limit (4)"}, BadRequestError, id="not the prompt"),
    ],
)
def test_class_by_words(status: int, body: dict[str, Any], expected: type[APIError]) -> None:
    """The words decide where the status cannot: too long, filtered, the wrong address, a garbled call."""
    error = rejected({"error": body}, status)

    assert type(error) is expected
    assert error.status_code == status


@pytest.mark.parametrize(
    ("wait_s", "when"),
    [
        pytest.param("3", "wait a moment", id="a moment"),
        pytest.param("10", "try again in 10 seconds", id="seconds"),
        pytest.param("90", "try again in 90 seconds", id="as long as seconds are plain"),
        pytest.param("91", "try again in 2 minutes", id="minutes, rounded up"),
        pytest.param("7000", "try again in 2 hours", id="hours"),
        pytest.param("172800", "try again in 2 days", id="days"),
    ],
)
def test_long_wait(wait_s: str, when: str) -> None:
    """A wait of more than a few seconds is named in the sentence."""
    error = rejected("", 429, {"retry-after": wait_s})

    assert str(error) == f"shop is busy, or its rate limit is reached. Please {when}."
    assert error.retry_after_s == float(wait_s)


@pytest.mark.parametrize(
    ("api_key", "headers", "advice"),
    [
        pytest.param(NO_KEY, {}, "Set api_key", id="no-key"),
        pytest.param(NO_KEY, {"X-Title": "a"}, "Set api_key", id="other-headers"),
        pytest.param(NO_KEY, {"X-Title": "a", "Ocp-Apim-Subscription-Key": "k"}, "Ocp-Apim-Subscription-Key", id="key"),
        pytest.param("sk-1", {"X-Auth": "k"}, "Check api_key", id="key-and-another-header"),
        pytest.param("sk-1", {"authorization": "Bearer k"}, "the authorization header", id="header-that-wins"),
    ],
)
def test_rejected_key(api_key: str, headers: dict[str, str], advice: str) -> None:
    """The error names what to check: the setting, or the header that holds the key."""
    failure = upstream_error("", status=401)

    assert advice in str(failures.upstream_failure(failure, Endpoint("shop", "tiny", api_key=api_key, headers=headers)))


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(404, "Not Found", id="FastAPI"),
        pytest.param(404, "404 page not found", id="Go"),
        pytest.param(404, "404: NOT FOUND.", id="number and capitals"),
        pytest.param(404, "The model 'x' was not found", id="model"),
        pytest.param(404, 'model "x" not found, try pulling it first', id="Ollama"),
        pytest.param(404, "No such function: model not found", id="model beside another word"),
        pytest.param(400, "model is not found on this server", id="400"),
        pytest.param(None, "Model x not found", id="inside a success"),
        pytest.param(404, "Model\nnot\n found", id="on several lines"),
    ],
)
def test_unknown_model_is_no_unknown_tool(status: int | None, message: str) -> None:
    """Agents read "not found" as an unknown tool, so no other error has these words."""
    error = rejected({"error": {"message": message}}, status)

    assert "not found" not in str(error).lower()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        pytest.param(400, {"message": "tool x not found"}, "tool x not found", id="unknown tool"),
        pytest.param(
            400,
            {"message": "Failed to call a function. See 'failed_generation'"},
            "Failed to call a function",
            id="Groq: words",
        ),
        pytest.param(400, {"message": "Oops.", "code": "tool_use_failed"}, "(tool_use_failed)", id="Groq: code"),
        pytest.param(
            400, {"message": "tool_use_failed", "code": "tool_use_failed"}, "It said: tool_use_failed", id="Groq: both"
        ),
        pytest.param(400, {"message": "Oops. " * 99, "code": "tool_use_failed"}, "(tool_use_failed)", id="Groq: long"),
    ],
)
def test_words_that_agents_match(status: int, body: dict[str, Any], words: str) -> None:
    """The words by which agents decide to ask again are kept."""
    error = rejected({"error": body}, status)

    assert words in str(error)
    assert str(error).count("tool_use_failed") <= 1
    assert len(str(error)) <= failures.MAX_TEXT_CHARS


def test_flagged_input() -> None:
    """The input that moderation flagged is not in the sentence, even if the server repeats it."""
    metadata = {"flagged_input": "my secret plan", "reasons": ["violence"]}
    silent = rejected({"error": {"message": "Flagged: my secret plan", "metadata": metadata}}, 403)
    polite = rejected({"error": {"message": "Your input was flagged", "metadata": metadata}}, 403)

    assert str(silent) == "The content filter of shop blocked the request. Please rephrase it."
    assert str(polite) == f"{silent} It said: Your input was flagged"
    assert isinstance(silent, ContentFilterError)


def _texts_of(thing: object, seen: set[int]) -> Iterator[str]:
    """Yield all texts of an error: its arguments, attributes and causes, and those of all of these."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    yield repr(thing)
    parts: list[object] = []
    if isinstance(thing, dict):
        parts = [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set):
        parts = [*thing]
    elif isinstance(thing, BaseException):
        parts = [str(thing), thing.args, thing.__cause__, thing.__context__, vars(thing)]
    for part in parts:
        yield from _texts_of(part, seen)


@pytest.mark.parametrize("status", [403, 400, None])
@pytest.mark.parametrize(
    "error",
    [
        pytest.param({"message": "Your input was flagged"}, id="in-the-metadata"),
        pytest.param({"message": "Flagged:  my secret\nplan"}, id="in-the-message"),
        pytest.param({"message": ""}, id="behind-the-message"),
        pytest.param({"message": "Provider returned error"}, id="of-the-provider-behind"),
    ],
)
def test_prompt_in_an_error_body(error: dict[str, Any], status: int | None) -> None:
    """The prompt is in no error and in no cause of one, wherever the server repeats it."""
    metadata = {
        "flagged_input": "my secret plan",
        "reasons": ["violence"],
        "raw": {"error": {"message": "my secret plan"}},
        "messages": ["my secret plan"],
    }
    failure = upstream_error({"error": {**error, "metadata": metadata, "input": "my secret plan"}}, status=status)
    failed = failures.with_cause(failures.upstream_failure(failure, ORIGIN), failure)

    texts = list(_texts_of(failed, set()))
    assert any("status" in text for text in texts)
    assert not any("secret" in text for text in texts)


@pytest.mark.parametrize(
    ("body", "headers", "retryable", "wait_s"),
    [
        pytest.param({}, {"retry-after": "3"}, False, 3.0, id="a time alone"),
        pytest.param({"metadata": {"reason": "in_flight_requests"}}, {"retry-after": "3"}, True, 3.0, id="both"),
        pytest.param({"metadata": {"reason": "in_flight_requests"}}, {}, False, None, id="a reason alone"),
    ],
)
def test_reserved_credits(body: dict[str, Any], headers: dict[str, str], retryable: bool, wait_s: Any) -> None:
    """An empty account is final, unless requests in flight reserve the credits and the server names a time."""
    error = rejected({"error": {"message": "No credits", **body}}, 402, headers)

    assert error.retryable is retryable
    assert error.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        pytest.param({"X-Request-ID": "a", "x-litellm-call-id": "b"}, "a", id="the server's"),
        pytest.param({"x-litellm-call-id": "b"}, "b", id="LiteLLM proxy"),
        pytest.param({"x-request-id": "", "request-id": "c"}, "c", id="Anthropic"),
        pytest.param({"apim-request-id": "d"}, "d", id="Azure"),
        pytest.param({}, None, id="none"),
    ],
)
def test_request_id(headers: dict[str, str], request_id: str | None) -> None:
    """The server's id of the request is kept for its operator."""
    assert rejected("No.", 500, headers).request_id == request_id


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("No endpoints found that support tool use", id="OpenRouter"),
        pytest.param("registry.ollama.ai/library/gemma does not support tools", id="Ollama"),
        pytest.param('"auto" tool choice requires --enable-auto-tool-choice', id="vLLM"),
        pytest.param("tools param requires --jinja flag", id="llama.cpp"),
    ],
)
def test_servers_without_tools(message: str) -> None:
    """The wording of each server for a lack of tools is known."""
    assert lacks_tools(upstream_error(message))
    assert not lacks_tools(upstream_error("temperature is not supported"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(TransportError("connection refused", connecting=True), APIConnectionError, id="refused"),
        pytest.param(TransportError(connecting=True, timed_out=True), APITimeoutError, id="no-connection-in-time"),
        pytest.param(TransportError(), APIConnectionError, id="lost"),
    ],
)
def test_connection_failure(error: TransportError, expected: type[APIError], caplog: pytest.LogCaptureFixture) -> None:
    """A connection failure is retryable; if no connection was opened, the log has the whole address."""
    caplog.set_level(logging.INFO, logger="adapters")
    failed = failures.connection_failure(ORIGIN, error)

    assert ("http://host:8000/v1" in caplog.text) is error.connecting
    assert type(failed) is expected
    assert failed.retryable
    assert failed.status_code is None


def test_answer_above_a_limit() -> None:
    """The limit is named with its value, and the error is not retryable."""
    error = failures.above_limit("event_bytes", 10, ORIGIN)

    assert type(error) is IncompleteResponseError
    assert "limits.event_bytes (10)" in str(error)
    assert not error.retryable


@pytest.mark.parametrize("limit", ["first_token_s", "stall_s", "total_s"])
def test_deadline(limit: Limit) -> None:
    """An exceeded deadline is a retryable timeout."""
    error = failures.deadline_exceeded(DeadlineExceeded(limit, 0.5), ORIGIN)

    assert type(error) is APITimeoutError
    assert type(error).__name__.endswith("TimeoutError")
    assert error.retryable


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param("Come back later", "shop sent no answer. It said: Come back later", id="words"),
        pytest.param("404 page not found", "shop sent no answer. Please try again.", id="words that an agent mistakes"),
        pytest.param("\x00\x01", "shop sent no answer. Please try again.", id="no words"),
    ],
)
def test_prose(message: str, text: str) -> None:
    """A sentence in place of an answer is repeated, if it has words."""
    error = failures.not_an_answer(upstream_error(message), ORIGIN)

    assert type(error) is IncompleteResponseError
    assert str(error) == text
    assert error.retryable


def test_other_failures() -> None:
    """A cut answer is retryable; a filtered answer and a request that was not sent are not."""
    incomplete = failures.incomplete("sent an empty answer.", ORIGIN)
    filtered = failures.content_filtered(ORIGIN)
    unbuildable = failures.request_not_built("please check it.", ORIGIN)

    assert (str(incomplete), incomplete.retryable, incomplete.status_code) == ("shop sent an empty answer.", True, None)
    assert (type(filtered), filtered.retryable) == (ContentFilterError, False)
    assert (type(unbuildable), unbuildable.retryable) == (BadRequestError, False)
    assert "shop could not be built: please check it." in str(unbuildable)


def test_reason_fields() -> None:
    """An error carries the upstream failure, the exceeded limit or the schema mismatch, not only as its cause."""
    failure = upstream_error({"error": {"message": "No."}}, status=400)

    assert failures.upstream_failure(failure, ORIGIN)._upstream is failure
    assert failures.not_an_answer(failure, ORIGIN)._upstream is failure
    assert failures.deadline_exceeded(DeadlineExceeded("deadline_s", 1), ORIGIN)._reason == "deadline_s"
    assert {failures.schema_mismatch(ORIGIN, cut=cut)._reason for cut in (False, True)} == {"schema_mismatch"}
    assert (failures.content_filtered(ORIGIN)._upstream, failures.content_filtered(ORIGIN)._reason) == (None, None)


def test_all_classes_are_reachable() -> None:
    """Each class of the tree is made for some failure."""
    reachable = {
        *(type(rejected("", status)) for status in (400, 401, 402, 403, 404, 429, 500)),
        *(type(rejected(words, 400)) for words in ("prompt is too long", "content policy")),
        type(failures.connection_failure(ORIGIN, TransportError())),
        type(failures.deadline_exceeded(DeadlineExceeded("total_s", 1), ORIGIN)),
        type(failures.incomplete("x", ORIGIN)),
    }
    tree = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, APIError)}

    assert reachable == tree - {APIError, AllProvidersFailedError}


_WORDS = st.text(max_size=400) | st.sampled_from(
    ["not found", "model x not found", KEY, f"Bearer {KEY}", "<html><body>x", "tool_use_failed", "context length"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "detail", "code", "type", "status", "metadata", "raw", "flagged_input", "reason"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    _JSON, st.none() | st.integers(300, 599), st.dictionaries(st.sampled_from(["retry-after", "x-request-id"]), _WORDS)
)
def test_any_error_body_becomes_a_sentence(body: Any, status: int | None, headers: dict[str, str]) -> None:
    """Any JSON with any status is an ``APIError`` that can be spoken and holds no secret."""
    error = rejected(body, status, headers)

    assert str(error).isprintable()
    assert "shop" in str(error)
    assert len(str(error)) <= failures.MAX_TEXT_CHARS
    assert KEY not in f"{error!r}"
    assert status is None or error.status_code == status
    assert not (isinstance(error, NotFoundError) and "not found" in str(error).lower())
