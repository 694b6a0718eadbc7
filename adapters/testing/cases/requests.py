"""What is sent beside the conversation: defaults, tools, headers, and where to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import answer, reply
from adapters.testing.case import ALL, ASK, CALLING, CHAT, CHAT_STREAM, KEY, STREAMS, TOOLS, Failure, Success, WireCase
from adapters.testing.cases.common import HISTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.testing.answers import JsonObject
    from adapters.testing.server import Seen


def _sent(case_id: str, why: str, saw: Callable[[JsonObject], object], **fields: Any) -> WireCase:
    """Make one case about the body of the only request."""
    return WireCase(
        case_id, why, [answer("Hi there")], Success(text="Hi there"), saw=lambda seen: saw(seen.bodies[0]), **fields
    )


def _url(case_id: str, why: str, url: str, query: str = "", **fields: Any) -> WireCase:
    return WireCase(
        case_id,
        why,
        [answer("Hi there")],
        Success(text="Hi there"),
        ways=("chat", "chat_stream"),
        url=url,
        saw=lambda seen: seen.paths == [f"/{case_id}/v1/chat/completions{query}"],
        **fields,
    )


def _authorised(seen: Seen) -> bool:
    return seen.headers[0]["authorization"] == f"Bearer {KEY}"


CASES: Final = (
    _sent(
        "request-chat-tools-auto",
        "with tools the model may choose",
        lambda body: body["tool_choice"] == "auto" and body["tools"] == list(TOOLS),
        ways=CALLING,
        tools=True,
    ),
    _sent(
        "request-chat-stream-tools-none",
        "a stream of text forbids calls, and still shows the tools of the history",
        lambda body: body["tool_choice"] == "none" and body["tools"] == list(TOOLS) and body["stream"] is True,
        ways=CHAT_STREAM,
        tools=True,
        messages=HISTORY,
    ),
    _sent(
        "request-no-tools",
        "without tools there is no word of them",
        lambda body: not {"tools", "tool_choice", "parallel_tool_calls"} & set(body),
    ),
    _sent("request-no-choices", "nothing that makes a second choice", lambda body: body.get("n", 1) == 1),
    _sent(
        "request-stream-usage",
        "a stream asks for its usage",
        lambda body: body["stream_options"] == {"include_usage": True},
        ways=STREAMS,
    ),
    _sent(
        "request-chat-does-not-stream",
        "a plain request asks for no stream",
        lambda body: not body.get("stream") and "stream_options" not in body,
        ways=CHAT,
    ),
    _sent(
        "request-defaults",
        "temperature and max_tokens of the configuration are sent",
        lambda body: (body["temperature"], body["max_tokens"], body["model"]) == (0.15, 321, "m"),
        options={"temperature": 0.15, "max_tokens": 321},
    ),
    _sent(
        "request-kwargs",
        "what one request asks for beats the configuration",
        lambda body: (body["temperature"], body["max_tokens"], body["top_p"], body["stop"]) == (0.9, 11, 0.5, ["x"]),
        options={"temperature": 0.15, "max_tokens": 321},
        kwargs={"temperature": 0.9, "max_tokens": 11, "top_p": 0.5, "stop": ["x"]},
    ),
    _sent(
        "request-nulls-left-out",
        "a parameter that is None is not sent",
        lambda body: not {"temperature", "max_tokens"} & set(body),
        options={"temperature": None, "max_tokens": None},
    ),
    _sent(
        "request-extra-body",
        "extra fields of the configuration stand at top level",
        lambda body: body["provider"] == {"sort": "latency"} and "extra_body" not in body,
        options={"extra_body": {"provider": {"sort": "latency"}}},
        kind="openrouter",
    ),
    _sent(
        "request-kwargs-tool-choice",
        "a forced tool is passed on",
        lambda body: body["tool_choice"] == {"type": "function", "function": {"name": "lights_off"}},
        ways=CALLING,
        tools=True,
        kwargs={"tool_choice": {"type": "function", "function": {"name": "lights_off"}}},
    ),
    *[
        WireCase(
            f"request-key-{kind.replace('_', '-')}",
            "the key goes into one header and nowhere else",
            [answer("Hi there")],
            Success(text="Hi there"),
            kind=kind,
            ways=CHAT,
            saw=lambda seen: _authorised(seen) and KEY not in str(seen.bodies) + str(seen.paths),
        )
        for kind in ("openai_compatible", "openrouter", "groq", "ollama")
    ],
    WireCase(
        "request-headers",
        "headers of the configuration are sent as they are",
        [answer("Hi there")],
        Success(text="Hi there"),
        ways=("chat", "chat_stream"),
        kind="openrouter",
        options={"headers": {"HTTP-Referer": "https://example.com", "X-Title": "Test"}},
        saw=lambda seen: (
            (seen.headers[0]["http-referer"], seen.headers[0]["x-title"]) == ("https://example.com", "Test")
        ),
    ),
    *[
        WireCase(
            f"request-configured-authorization-{kind.replace('_', '-')}",
            "a configured Authorization header, in any spelling, replaces the key on every kind",
            [answer("Hi there")],
            Success(text="Hi there"),
            ways=("chat", "chat_stream"),
            kind=kind,
            options={"headers": {"authorization": "Basic d2lyZTprZXk="}},
            saw=lambda seen: seen.headers[0]["authorization"] == "Basic d2lyZTprZXk=" and KEY not in str(seen.headers),
        )
        for kind in ("openai_compatible", "openrouter", "groq", "ollama")
    ],
    *[
        WireCase(
            f"request-stream-uncompressed-{kind.replace('_', '-')}",
            "a proxy that compresses a stream collects it first: streams are asked for as they are, documents are not",
            [answer("Hi there")],
            Success(text="Hi there"),
            kind=kind,
            saw=lambda seen: (
                seen.headers[0]["accept-encoding"] == ("identity" if seen.bodies[0].get("stream") else "gzip, deflate")
            ),
        )
        for kind in ("openai_compatible", "openrouter")
    ],
    WireCase(
        "request-extra-header-repeated",
        "an error that repeats the value of a header of this request does not show it",
        [reply({"error": {"message": "Session s3cr3t-session is over", "code": "s3cr3t-session"}}, "400 Bad Request")],
        Failure(
            "BadRequestError",
            status_code=400,
            retryable=False,
            hides=("s3cr3t",),
            holds=lambda error: "s3cr3t" not in f"{vars(error)} {vars(error.__cause__)}",
        ),
        kwargs={"extra_headers": {"X-Session": "s3cr3t-session"}},
    ),
    WireCase(
        "request-does-not-advertise-a-library",
        "OpenRouter is not told the name of a library",
        [answer("Hi there")],
        Success(text="Hi there"),
        ways=CHAT,
        kind="openrouter",
        saw=lambda seen: (
            "litellm" not in str([seen.headers[0].get(name) for name in ("http-referer", "x-title")]).lower()
        ),
    ),
    _url("url-trailing-slash", "a slash at the end", "{base}/"),
    _url("url-whole-endpoint", "the whole endpoint was pasted", "{base}/chat/completions"),
    _url("url-models-endpoint", "the list of models was pasted", "{base}/models"),
    _url("url-white-space", "white space around it", "  {base} \n"),
    _url("url-endpoint-and-slash", "the endpoint and a slash", "{base}/chat/completions/"),
    _url("url-query", "a query, as Azure wants one", "{base}?api-version=2024-10-21", "?api-version=2024-10-21"),
    _url("url-endpoint-and-query", "the endpoint and a query", "{base}/chat/completions?a=1&b=2#top", "?a=1&b=2"),
    _url("url-query-openrouter", "a query on LiteLLM's other route", "{base}?a=1", "?a=1", kind="openrouter"),
    _url(
        "url-extra-query",
        "a query of the configuration, beside the one in the address, which it overrides",
        "{base}?a=1&b=2",
        "?a=1&b=3%204&c=%26",
        options={"extra_query": {"b": "3 4", "c": "&"}},
    ),
    _sent(
        "request-plain-history",
        "an ordinary conversation is sent word for word",
        lambda body: body["messages"] == list(ASK),
        ways=ALL,
    ),
)
