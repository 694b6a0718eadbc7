"""``transport.upstream``: an error body of any shape, with its message, status, codes and parameter found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import UpstreamError
from adapters.transport.endpoint import Endpoint
from adapters.transport.errors import failures
from adapters.transport.errors.upstream import upstream_error
from tests.patience import quiet_s

KEY = "wire-KEY-0123456789"
_ORIGIN = Endpoint("shop", "tiny", secrets=(KEY,))
_STALL_S = 0.02


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"error": {"message": "No."}}, "No.", id="OpenAI"),
        pytest.param({"error": "No."}, "No.", id="a string"),
        pytest.param({"error": {"error": {"message": "No."}}}, "No.", id="twice wrapped"),
        pytest.param([{"error": {"message": "No."}}], "No.", id="Google: a list of one"),
        pytest.param({"object": "error", "message": "No."}, "No.", id="vLLM: flat"),
        pytest.param({"detail": "No."}, "No.", id="FastAPI"),
        pytest.param({"detail": [{"msg": "No.", "loc": ["body", "n"]}, {"msg": "Never."}]}, "No.; Never.", id="list"),
        pytest.param({"detail": {"error": "No."}}, "No.", id="detail that is an object"),
        pytest.param({"errors": [{"message": "No."}]}, "No.", id="errors"),
        pytest.param({"errors": [{"message": str(number)} for number in range(9)]}, "0; 1; 2", id="the first three"),
        pytest.param({"error": {"message": {"detail": "No."}}}, "No.", id="message that is an object"),
        pytest.param({"error": {"message": '{"error": {"message": "No."}}'}}, "No.", id="message that is JSON"),
        pytest.param({"error": {"message": "[1, 2]"}}, "[1, 2]", id="JSON that says nothing"),
        pytest.param({"error": {"message": "{oops"}}, "{oops", id="message that looks like JSON"),
        pytest.param({"error": {"message": "[" * 99_999}}, "[" * 999 + "…", id="JSON that is too deep"),
        pytest.param({"error_message": "No."}, "No.", id="error_message"),
        pytest.param({"error": {"description": "No."}}, "No.", id="description"),
        pytest.param({"title": "No."}, "No.", id="problem details"),
        pytest.param({"error": {"code": 500}, "message": "No."}, "No.", id="message beside the error"),
        pytest.param({"error": {"message": None, "msg": "No."}}, "No.", id="null before it"),
        pytest.param({"error": {"message": "litellm.BadRequestError: OpenAIException - No."}}, "No.", id="relayed"),
        pytest.param(
            {"error": {"message": "No.\nmodel=m context_window_fallbacks=None. Received Model Group=m"}},
            "No.",
            id="notes of a relay",
        ),
        pytest.param({"error": {"message": "Two\nlines\tof <b>words</b>"}}, "Two lines of <b>words</b>", id="one line"),
        pytest.param("<html><title>502 Bad Gateway</title></html>", "502 Bad Gateway", id="web page"),
        pytest.param("upstream connect error", "upstream connect error", id="text"),
        pytest.param('{"error": {"message": "No."}}', "No.", id="text that is JSON"),
        pytest.param('{"error": {"message": "No \\"n\\".", "input": "my secr', 'No "n".', id="JSON that is cut off"),
        pytest.param('[{"detail": [{"input": "a", "msg": "No.", "ct', "No.", id="list that is cut off"),
        pytest.param(f'{{"message": "{"No. " * 999}', f"{'No. ' * 249}No.", id="sentence that is cut off"),
        pytest.param('{"input": [{"role": "user", "content": "my secr', "", id="JSON that is cut off before it"),
        pytest.param("", "", id="empty"),
        pytest.param(None, "", id="null"),
        pytest.param(7, "", id="number"),
        pytest.param([], "", id="empty list"),
        pytest.param(["No.", "Never."], "No.; Never.", id="list of strings"),
        pytest.param({}, "", id="empty object"),
        pytest.param({"error": {}}, "", id="empty error"),
        pytest.param(
            {"error": {"message": 'Engine returned 500: {"error": {"code": 500, "message": "No."}}'}},
            "No.",
            id="JSON in a sentence",
        ),
        pytest.param(
            {"error": {"message": 'Upstream: {\\"error\\": {\\"message\\": \\"No.\\"}} (status 400)'}},
            "No.",
            id="escaped JSON in a sentence",
        ),
        pytest.param(
            {"error": {"message": "Error code: 429 - {'error': {'code': '429', 'message': \"Don't.\"}}"}},
            "Don't.",
            id="Python dict in a sentence",
        ),
        pytest.param({"message": "Got {'message': 'It\\'s bro"}, "It's bro", id="Python dict that is cut off"),
        pytest.param({"message": 'Got {"code": 7, "x": '}, 'Got {"code": 7, "x":', id="object without a message"),
        pytest.param({"message": 'Bad schema {"type": "object"}'}, 'Bad schema {"type": "object"}', id="a schema"),
        pytest.param(
            {"message": '{"message": "{\\"message\\": \\"Failed: {\'error\': \'No.\'}\\"}"}'}, "No.", id="nested texts"
        ),
        pytest.param(
            {"message": "While executing at line 1 in: {{ raise_exception('Roles ... Error: Jinja Exception: Roles."},
            "Jinja Exception: Roles.",
            id="llama.cpp: a piece of the template",
        ),
        pytest.param(
            "<?xml version='1.0'?>\n<Error><Code>X</Code><Message>No &amp; no.</Message></Error>", "No & no.", id="XML"
        ),
        pytest.param("<Error><Message><![CDATA[No <b>.]]></Message></Error>", "No <b>.", id="XML with CDATA"),
        pytest.param("<s:Fault><faultcode>X</faultcode><faultstring>No.</faultstring></s:Fault>", "No.", id="SOAP"),
        pytest.param("<Error><Message> </Message><Detail>No.</Detail></Error>", "No.", id="XML with an empty message"),
        pytest.param("<a><b>No</b> <c>way.</c></a>", "No way.", id="XML without a message"),
        pytest.param({"error": {"message": "<Error><Message>No.</Message></Error>"}}, "No.", id="XML in JSON"),
        pytest.param(
            {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "No."}}, "No.", id="MiniMax: base_resp"
        ),
        pytest.param(
            {"message": 'error parsing tool call: raw=\'{"city": "Oslo"}\', err=x'},
            "error parsing tool call",
            id="what the model generated",
        ),
        pytest.param({"error": {"message": f"Bad key {KEY} or sk-12345678"}}, "Bad key [hidden] or [hidden]", id="key"),
    ],
)
def test_message(body: Any, message: str) -> None:
    """The message is found in any shape, as one line, without keys and without the words of a relay."""
    assert upstream_error(body, secrets=(KEY,)).message == message


@pytest.mark.parametrize(
    ("message", "metadata", "expected"),
    [
        pytest.param(
            "Provider returned error",
            {"raw": '{"error": {"message": "Too hot."}}'},
            "Provider returned error: Too hot.",
            id="OpenRouter: JSON in a string",
        ),
        pytest.param(
            "Provider returned error", {"raw": {"detail": "Too hot."}}, "Provider returned error: Too hot.", id="object"
        ),
        pytest.param("Provider returned error.", {"raw": "Too hot."}, "Provider returned error: Too hot.", id="text"),
        pytest.param("", {"raw": "Too hot."}, "Too hot.", id="no message"),
        pytest.param(
            "Error from provider: Provider returned error",
            {"raw": '{"error": "Too hot."}'},
            "Error from provider: Provider returned error: Too hot.",
            id="a relay behind a relay",
        ),
        pytest.param(
            "Provider returned error",
            {"raw": {"error": {"message": "Error", "metadata": {"raw": "Too hot."}}}},
            "Provider returned error: Error: Too hot.",
            id="twice",
        ),
        pytest.param("Error", {"raw": None}, "Error", id="nothing behind it"),
        pytest.param("Error", {"raw": "[" * 99_999}, f"Error: {'[' * 992}…", id="too deep"),
        pytest.param("No credits.", {"raw": "Too hot."}, "No credits.", id="a message that says something"),
        pytest.param("", {"raw": "Too hot.", "flagged_input": "hot"}, "", id="flagged input"),
    ],
)
def test_relayed_message(message: str, metadata: dict[str, Any], expected: str) -> None:
    """The message of a relayed error is added where the relay's own says nothing."""
    assert upstream_error({"error": {"message": message, "metadata": metadata}}).message == expected


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        pytest.param({"error": {"code": 402}}, 400, 400, id="the head is the truth"),
        pytest.param({"error": {"code": 402}}, None, 402, id="number"),
        pytest.param({"error": {"code": " 402 "}}, None, 402, id="string"),
        pytest.param({"error": {"code": " " * 20 + "402"}}, None, 402, id="string with much space before it"),
        pytest.param({"error": {"code": "9" * 9_999}}, None, None, id="a number longer than any"),
        pytest.param({"error": {"code": "rate_limit", "status_code": 429}}, None, 429, id="a word, and a status"),
        pytest.param({"error": {"http_status_code": 503}}, None, 503, id="Cerebras"),
        pytest.param({"error": {"message": "No."}, "status": 500}, None, 500, id="beside the error"),
        pytest.param({"status": 200, "error_code": 404}, None, 404, id="no error, and an error"),
        pytest.param({"error": {"code": 200}}, None, None, id="no error"),
        pytest.param({"error": {"code": 1301}}, None, None, id="a code of its own"),
        pytest.param({"error": {"code": True}}, None, None, id="true"),
        pytest.param({"error": {"code": None}}, None, None, id="null"),
        pytest.param("502 Bad Gateway", None, None, id="text"),
        pytest.param("502 Bad Gateway", 502, 502, id="text with a head"),
    ],
)
def test_status(body: Any, status: int | None, expected: int | None) -> None:
    """A failing status of the response counts; inside a success the one in the body does."""
    assert upstream_error(body, status=status).status == expected


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        pytest.param({"error": {"code": "Rate_Limit", "type": "requests"}}, "rate_limit requests", id="OpenAI"),
        pytest.param({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, "resource_exhausted", id="Google"),
        pytest.param({"error": {"message": "No."}, "error_type": "overloaded"}, "overloaded", id="TGI"),
        pytest.param({"error": {"code": "A" * 9_999}}, "a" * 200, id="a word longer than any"),
        pytest.param({"error": {"code": "  ", "type": None, "reason": ["x"]}}, "", id="no words"),
        pytest.param({"error": {"code": 40301}}, "40301", id="a number of its own"),
        pytest.param({"base_resp": {"status_code": 1008, "status_msg": "No."}}, "1008", id="MiniMax"),
        pytest.param({"error": {"metadata": {"raw": '{"code": "3230"}'}}}, "", id="metadata without words"),
        pytest.param({"error": {"metadata": {"raw": '{"code": "3230", "message": "x"}'}}}, "3230", id="relayed"),
        pytest.param({"message": "Got {'error': {'code': '1113', 'message': 'x'}}"}, "1113", id="in a sentence"),
        pytest.param("<Error><Code>SlowDown</Code></Error>", "slowdown", id="XML"),
        pytest.param("text", "", id="text"),
    ],
)
def test_codes(body: Any, codes: str) -> None:
    """The codes of all layers are kept; HTTP statuses and blanks are not codes."""
    assert upstream_error(body).codes == codes


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({"error": {"param": "temperature"}}, "temperature", id="OpenAI"),
        pytest.param({"error": "No.", "param": "n"}, "n", id="flat"),
        pytest.param({"detail": [{"loc": ["body", "temperature"], "msg": "No."}]}, "temperature", id="FastAPI"),
        pytest.param({"detail": [{"loc": []}, {"loc": ["body", 3]}, {"loc": ["n"]}]}, "n", id="the first with a name"),
        pytest.param({"error": {"message": {"detail": {"loc": ["n"]}}}}, "n", id="wrapped"),
        pytest.param({"error": {"error": {"error": {"error": {"loc": ["n"]}}}}}, None, id="wrapped too often"),
        pytest.param({"error": {"param": None}}, None, id="null"),
        pytest.param({"error": {"param": ["n"]}}, None, id="list"),
        pytest.param("text", None, id="text"),
    ],
)
def test_param(body: Any, param: str | None) -> None:
    """The field that a server complains about is found in OpenAI's form and in FastAPI's."""
    assert upstream_error(body).param == param


def test_other_fields() -> None:
    """Headers are kept in lower case, with OpenRouter's metadata about waiting and Groq's failed generation."""
    metadata = {"raw": "x", "flagged_input": "y", "headers": {"X-RateLimit-Reset": "1"}, "reason": "in_flight"}
    body = {"error": {"message": "No.", "metadata": metadata, "failed_generation": "<function=f>"}}

    failure = upstream_error(body, headers={"Retry-After": "3"})

    assert failure.headers == {"retry-after": "3"}
    assert failure.metadata == {"headers": {"X-RateLimit-Reset": "1"}, "reason": "in_flight"}
    assert failure.is_flagged
    assert failure.failed_generation == "<function=f>"


def test_delay_of_google() -> None:
    """Google names the delay before a retry in a list of details."""
    details = ["x", {"@type": "Help"}, {"@type": "RetryInfo", "retryDelay": "34s"}]

    assert upstream_error([{"error": {"code": 429, "details": details}}]).metadata == {"retry_after": "34s"}
    assert upstream_error([{"error": {"code": 429, "details": details[:2]}}]).metadata == {}
    assert upstream_error([{"error": {"code": 429, "details": "x"}}]).metadata == {}


@pytest.mark.parametrize(
    "body", [{"error": {"metadata": ["x"], "failed_generation": {"a": 1}}}, {"metadata": None}, "text", None]
)
def test_fields_of_another_type(body: Any) -> None:
    """Metadata that is no object and a generation that is no text are left out."""
    failure = upstream_error(body)

    assert failure.metadata == {}
    assert failure.failed_generation is None


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        pytest.param(UpstreamError("No."), "No.", id="no status"),
        pytest.param(UpstreamError("No.", status=404), "status 404: No.", id="status"),
        pytest.param(
            upstream_error({"error": {"code": 500, "message": KEY}}, secrets=(KEY,)), "status 500: [hidden]", id="key"
        ),
    ],
)
def test_text_of_an_upstream_error(failure: UpstreamError, text: str) -> None:
    """The text has status and message, and no secret."""
    assert str(failure) == text
    assert KEY not in repr(failure)


_LONGEST_ERROR_BYTES = 64 * 1024


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(" ", id="space"),
        pytest.param("<title>", id="title"),
        pytest.param("<h1>x", id="heading"),
        pytest.param("<!--", id="comment"),
        pytest.param("<!-- -", id="comment-and-dash"),
        pytest.param("<style ", id="style"),
        pytest.param("<script></", id="script"),
        pytest.param("<a", id="tag"),
        pytest.param("&#9", id="character"),
        pytest.param("&amp", id="entity"),
        pytest.param("model=", id="note of a relay"),
        pytest.param("Error", id="name of an error"),
        pytest.param("Error - ", id="names of errors"),
        pytest.param("{", id="brace"),
        pytest.param("[", id="bracket"),
        pytest.param('{"message":', id="open objects"),
        pytest.param("{'message':", id="open Python objects"),
        pytest.param("{'message': '", id="open Python texts"),
        pytest.param('{\\"error\\":', id="escaped objects"),
        pytest.param("<Message>", id="open XML"),
        pytest.param("<Message><![CDATA[", id="open CDATA"),
        pytest.param("Jinja Exception: ", id="template errors"),
        pytest.param("image is not supported by the model input ", id="words of many patterns"),
        pytest.param("A1b2", id="token"),
        pytest.param("bearer ", id="bearer"),
        pytest.param("sk-", id="key"),
        pytest.param("://", id="address"),
        pytest.param("9", id="digit"),
        pytest.param("retry after 1", id="wait"),
        pytest.param("max_tokens at most ", id="limit"),
        pytest.param("\u0130", id="letter that grows"),
    ],
)
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(str, id="text"),
        pytest.param(lambda text: f"<html>{text}", id="page"),
        pytest.param(lambda text: {"error": {"message": text}}, id="JSON"),
        pytest.param(lambda text: {"error": {"message": f"<p>{text}"}}, id="page in JSON"),
        pytest.param(lambda text: {"error": {"code": text, "type": text, "param": text}}, id="codes"),
        pytest.param(lambda text: {"error": {"metadata": {"raw": text, "retry_after": text}}}, id="metadata"),
        pytest.param(
            lambda text: {"error": {"message": text, "metadata": {"flagged_input": text}}}, id="what was flagged"
        ),
        pytest.param(lambda text: {"detail": [{"loc": [text], "msg": text}]}, id="FastAPI"),
    ],
)
def test_time_to_read_the_longest_error(piece: str, wrap: Any) -> None:
    """The longest error body, made of pieces that are slow to match, does not block the event loop."""
    body = wrap(f"a{piece * (_LONGEST_ERROR_BYTES // len(piece))}b")
    headers = {"retry-after": piece * 1_000, "x-ratelimit-reset": piece * 1_000, "date": piece * 1_000}

    def read() -> None:
        error = failures.upstream_failure(upstream_error(body, status=429, headers=headers, secrets=(KEY,)), _ORIGIN)
        assert len(str(error)) <= failures.MAX_TEXT_CHARS

    assert quiet_s(read, _STALL_S) < _STALL_S


def test_long_message() -> None:
    """Only the beginning of a long message is kept."""
    assert len(upstream_error({"error": {"message": "word " * 9_999}}).message) <= 1_000


def test_cut_quotation() -> None:
    """A message that repeats the flagged input is dropped, even if the quotation is cut in its middle."""
    said = f"Flagged: {'my secret plan ' * 20}"
    metadata = {"flagged_input": f"{said[9:80]}...{said[-20:]}"}

    assert upstream_error({"error": {"message": said, "metadata": metadata}}).message == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "code", "status", "metadata", "raw", "loc", "param", "type"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON, st.none() | st.integers(300, 599))
def test_any_body(body: Any, status: int | None) -> None:
    """Any JSON gives one printable line and never an exception."""
    failure = upstream_error(body, status=status, secrets=(KEY,))

    assert failure.message.isprintable()
    assert failure.status == status if status else failure.status is None or 400 <= failure.status <= 599
    assert upstream_error(json.dumps(body)).message.isprintable()
