"""What ``LiteLLMProvider`` makes of answers that real servers gave: every capture in ``captures/``, twice.

A capture is what ``curl -i`` printed: the head as it was, the body without its HTTP chunks. ``captures/expected.json``
says by hand what each of them means; all of them were asked for the same few things.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from adapters.factory import create_provider
from adapters.testing import KEY, Failure, ScriptedServer, Success, WireCase, check, play
from adapters.testing.answers import SSE_END, answer, http_chunk
from adapters.testing.case import CHAT, STREAM_EVENTS

if TYPE_CHECKING:
    from adapters.config import KindName
    from adapters.testing import Step
    from adapters.testing.answers import Script

pytest_plugins = ["adapters.testing.plugin"]

_FOLDER = Path(__file__).parent.parent / "captures"
_EXPECTED: dict[str, dict[str, Any]] = json.loads((_FOLDER / "expected.json").read_text(encoding="utf-8"))
_AGAIN = "Asked again."
_EVENT = re.compile(rb".+?\n\n", re.DOTALL)


def _script(capture: bytes) -> Script:
    """Play a capture as its server did: in chunks, an event each, or until the connection is closed."""
    head, _, body = capture.partition(b"\r\n\r\n")
    start = head + b"\r\n\r\n"
    if b"transfer-encoding: chunked" in head.lower():
        return (start, *map(http_chunk, _EVENT.findall(body)), SSE_END)
    if head.startswith(b"HTTP/1.0") or b"connection: close" in head.lower():
        return (start, body, "eof")
    return (start, body)


def _expectation(row: dict[str, Any]) -> Success | Failure:
    if "error" in row:
        status_code = {"status_code": row["status"]} if "status" in row else {}
        return Failure(row["error"], retryable=row["retryable"], says=tuple(row.get("says", ())), **status_code)
    usage = row["usage"] and tuple(row["usage"])
    calls = tuple((name, arguments) for name, arguments in row.get("calls", ()))
    return Success(
        text=row.get("text", ""), calls=calls, usage=usage, reasoning=row.get("reasoning"), finish_reason=row["finish"]
    )


def _asked_as_recorded(name: str) -> WireCase:
    """Make the case of a capture that is asked for as it was recorded: streamed or not, with tools."""
    row = _EXPECTED[name]
    capture = (_FOLDER / f"{name}.txt").read_bytes()
    ways = STREAM_EVENTS if b"text/event-stream" in capture.lower() else CHAT
    requests = 2 if row.get("status") == 400 else 1  # a refused parameter is left out once, and these go on refusing
    case_id = re.sub(r"[^a-z0-9]+", "-", name)
    return WireCase(
        case_id, name, [_script(capture)], _expectation(row), ways=ways, tools=True, requests=requests, within_s=60.0
    )


def _asked_for_text(name: str) -> WireCase:
    """Make the case of a capture that is asked for as a stream of text, with tools forbidden."""
    row = _EXPECTED[name]
    capture = (_FOLDER / f"{name}.txt").read_bytes()
    again = row.get("asks_again", False)
    expect = Success(text=_AGAIN) if again else _expectation(row)
    requests = 2 if again or row.get("status") == 400 else 1
    case_id = re.sub(r"[^a-z0-9]+", "-", name)
    steps: list[Step] = [_script(capture), *([answer(_AGAIN)] if again else [])]
    return WireCase(case_id, name, steps, expect, ways=("chat_stream",), tools=True, requests=requests, within_s=60.0)


async def _problems(case: WireCase, server: ScriptedServer) -> list[str]:
    base_url = server.add(case.id, *case.steps)
    async with create_provider(
        cast("KindName", case.kind), model="m", base_url=base_url, api_key=KEY, **case.provider_options
    ) as provider:
        return check(case, await play(provider, case), server.seen[case.id])


@pytest.mark.usefixtures("litellm_is_loaded")
@pytest.mark.parametrize("name", _EXPECTED)
async def test_answer_that_was_recorded(name: str, scripted_server: ScriptedServer) -> None:
    """Asked with tools, a recorded answer gives its text, calls, usage and reasoning, or its honest error.

    Asked with tools forbidden, it gives its text; one that is nothing but calls is asked again.
    """
    assert await _problems(_asked_as_recorded(name), scripted_server) == []
    assert await _problems(_asked_for_text(name), scripted_server) == []


def test_every_capture_has_an_expectation() -> None:
    """No capture is left out, and none is expected that is not there."""
    names = {str(path.relative_to(_FOLDER).with_suffix("")) for path in _FOLDER.glob("*/*.txt")}

    assert names == set(_EXPECTED)
