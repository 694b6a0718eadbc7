"""Event streams as servers really write them: all of https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from typing import Final

from adapters.testing.answers import DONE, STOP, event, raw_stream, said, stream
from adapters.testing.case import CHAT_STREAM, STREAMS, Success, WireCase
from adapters.testing.cases.common import HI, HI_EVENTS


def _written(newline: str) -> bytes:
    """Write a whole stream with these line ends."""
    return b"".join(event(one, newline=newline) for one in HI_EVENTS) + f"data: [DONE]{newline * 2}".encode()


CASES: Final = (
    WireCase(
        "openrouter-comments",
        "': OPENROUTER PROCESSING' comes many times before and between the events",
        [stream(*[b": OPENROUTER PROCESSING\n\n"] * 17, said("Hi"), b": OPENROUTER PROCESSING\n\n", *HI_EVENTS[1:])],
        HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "tgi-bare-colon-comment",
        "the keep-alive of axum is a colon and nothing else",
        [stream(b":\n\n", said("Hi"), b":\n\n", *HI_EVENTS[1:])],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "mlx-keepalive-comment",
        "': keepalive 1/1' while the prompt is read, without a blank line of its own",
        [stream(b": keepalive 1/1\n", *HI_EVENTS)],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "llmgateway-comment-after-id",
        "an id: field and then a comment must not make an empty event",
        [stream(b"id: 1\n", said("Hi"), b": ping\n\n", b"id: 2\n", *HI_EVENTS[1:])],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "sagemaker-no-space",
        "'data:{…}' and 'data:[DONE]' have no space after the colon",
        [raw_stream(*[event(one, prefix="data:") for one in HI_EVENTS], b"data:[DONE]\n\n")],
        HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase("iis-crlf", "lines end with CR LF", [raw_stream(_written("\r\n"))], HI, ways=STREAMS),
    WireCase(
        "iis-crlf-cut-between",
        "every CR LF is cut in two by the network, which must not make two line ends",
        [raw_stream(*(part for part in _written("\r\n").replace(b"\r\n", b"\r\0\n").split(b"\0")))],
        HI,
        ways=STREAMS,
    ),
    WireCase("legacy-cr-only", "lines end with CR alone", [raw_stream(_written("\r"))], HI, ways=STREAMS),
    WireCase(
        "proxy-mixed-line-ends",
        "each event has line ends of its own",
        [raw_stream(event(HI_EVENTS[0], newline="\r"), event(HI_EVENTS[1], newline="\r\n"), event(HI_EVENTS[2]), DONE)],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "dotnet-byte-order-mark",
        "the stream starts with a byte order mark",
        [raw_stream(b"\xef\xbb\xbf" + event(HI_EVENTS[0]), *map(event, HI_EVENTS[1:]), DONE)],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "dotnet-byte-order-mark-cut",
        "the byte order mark itself is cut by the network",
        [raw_stream(b"\xef", b"\xbb", b"\xbf" + event(HI_EVENTS[0]), *map(event, HI_EVENTS[1:]), DONE)],
        HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "java-data-on-several-lines",
        "one JSON object over several data: lines is legal",
        [raw_stream(*[event(one).replace(b', "', b',\ndata: "') for one in HI_EVENTS], DONE)],
        HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "spring-event-id-retry-fields",
        "event:, id:, retry: and unknown fields stand beside data:",
        [raw_stream(*[b"event: message\nid: 7\nretry: 3000\nfoo: bar\nbaz\n" + event(one) for one in HI_EVENTS], DONE)],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "clone-no-final-blank-line",
        "the last event ends with the body, without a blank line",
        [raw_stream(*map(event, HI_EVENTS[:2]), event(STOP).rstrip(b"\n"))],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "clone-done-without-line-end",
        "'data: [DONE]' ends with the body",
        [raw_stream(*map(event, HI_EVENTS), b"data: [DONE]")],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "clone-done-with-spaces",
        "white space around [DONE]",
        [raw_stream(*map(event, HI_EVENTS), b"data:   [DONE] \n\n")],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "clone-extra-blank-lines",
        "blank lines before the first event and between the others",
        [raw_stream(b"\n\n\n", *[event(one) + b"\n\n" for one in HI_EVENTS], DONE)],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "proxy-empty-data",
        "heartbeats are events whose data is empty, or an empty object",
        [stream(b"data:\n\n", said("Hi"), b"data: \n\n", b"data: {}\n\n", *HI_EVENTS[1:])],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "anthropic-proxy-ping-event",
        "a ping event carries JSON that is no chunk",
        [stream(b'event: ping\ndata: {"type": "ping"}\n\n', *HI_EVENTS)],
        HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "network-all-at-once",
        "the whole stream comes in one HTTP chunk",
        [raw_stream(_written("\n"))],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "model-says-done",
        "the text [DONE] inside an answer ends nothing",
        [stream(said("say [DONE] now"), said("\ndata: [DONE]\n\n"), said(" ok"), STOP)],
        Success(text="say [DONE] now\ndata: [DONE]\n\n ok"),
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "model-repeats-itself",
        "105 equal tokens are an answer",
        [stream(*[said("ha ")] * 105, STOP)],
        Success(text="ha " * 105),
        ways=STREAMS,
    ),
    WireCase(
        "proxy-one-megabyte-event",
        "a line may be as long as it likes",
        [stream(said("x" * 1_000_000), STOP)],
        Success(text="x" * 1_000_000),
        ways=CHAT_STREAM,
    ),
)
