"""Counts how many responses of Anthropic, Gemini and Bedrock this package and plain LiteLLM read right.

``python -m tests.benchmarks.routes`` plays the responses of ``tests.servers.routes`` to both, streamed and not, and
prints a table. A response is right if its text, its calls, its finish reason or the class of its error are those that
the provider sent. No time is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.errors import APIError
from adapters.factory import create_provider
from adapters.testing import ASK, TOOLS, ScriptedServer
from adapters.testing.answers import http_chunk
from adapters.types import ResponseDone, TextDelta
from tests.servers import routes
from tests.servers.routes import SSE_HEAD, Turn, anthropic_event, bedrock_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.testing.answers import Script

_OSLO = '{"city": "Oslo"}'
_MODELS = {
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "bedrock": "bedrock/converse/anthropic.claude-3-5-sonnet-20240620-v1:0",
}
_AWS = {"aws_access_key_id": "AKIA-1", "aws_secret_access_key": "aws-1", "aws_region_name": "us-east-1"}
_REFUSALS = {"anthropic": "refusal", "gemini": "SAFETY", "bedrock": "guardrail_intervened"}
_CUT = {"IncompleteResponseError", "APIConnectionError"}
_LITELLM_ERRORS = {
    "Timeout": "APITimeoutError",
    "ContentPolicyViolationError": "ContentFilterError",
    "ServiceUnavailableError": "InternalServerError",
    "BadGatewayError": "InternalServerError",
}
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client made of a response.

    Attributes:
        text: The text.
        calls: Names and arguments of the calls.
        finish: The finish reason.
        error: The class of the error, by its name in this package, or "".
    """

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One response, and what is right.

    Attributes:
        route: Name of the provider.
        name: What happens.
        script: The response.
        outcome: The right outcome; of a failure only ``errors`` counts, and the text before it.
        errors: The classes of error of which any is right; empty if the response is a success.
        stream: Whether it is streamed.
    """

    route: str
    name: str
    script: Script
    outcome: Outcome
    errors: frozenset[str] = frozenset()
    stream: bool = field(default=False, kw_only=True)

    def is_right(self, outcome: Outcome) -> bool:
        """Return whether a client read the response right."""
        if outcome.finish == "content_filter":  # says the same as the error, to a caller that looks
            return "ContentFilterError" in self.errors and outcome.text == self.outcome.text
        if self.errors:
            return outcome.error in self.errors and outcome.text == self.outcome.text
        return outcome == self.outcome


_TURNS: dict[str, tuple[Turn, Outcome]] = {
    "text": (Turn(text=("Hel", "lo.")), Outcome("Hello.", (), "stop")),
    "equal pieces": (Turn(text=["ha "] * 150), Outcome("ha " * 150, (), "stop")),
    "unicode": (Turn(text=("Grüße, ", "世界 🌍")), Outcome("Grüße, 世界 🌍", (), "stop")),
    "call": (
        Turn(calls=(("toolu_1", "get_weather", _OSLO),)),
        Outcome("", (("get_weather", _OSLO),), "tool_calls"),
    ),
    "text and two calls": (
        Turn(text=("Let me look.",), calls=(("toolu_1", "get_weather", _OSLO), ("toolu_2", "lights_off", "{}"))),
        Outcome("Let me look.", (("get_weather", _OSLO), ("lights_off", "{}")), "tool_calls"),
    ),
    "thinking": (
        Turn(text=("Hello.",), thinking="The user greets.", signature="SIG=="),
        Outcome("Hello.", (), "stop"),
    ),
}
_PERMISSION_DENIED = {
    "anthropic": "permission_error",
    "gemini": "PERMISSION_DENIED",
    "bedrock": "AccessDeniedException",
}
_OVERLOADED = {"anthropic": "529 Overloaded", "gemini": "503 Unavailable", "bedrock": "503 Service Unavailable"}
_TOO_LONG = {
    "anthropic": ("invalid_request_error", "prompt is too long: 218849 tokens > 200000 maximum"),
    "gemini": (
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "bedrock": ("ValidationException", "Input is too long for requested model."),
}
_STATUSES = {
    "401": ("401 Unauthorized", "AuthenticationError"),
    "404": ("404 Not Found", "NotFoundError"),
    "429": ("429 Too Many Requests", "RateLimitError"),
    "500": ("500 Internal Server Error", "InternalServerError"),
}


def cases() -> Iterator[Case]:
    """Yield all responses."""
    for route in _MODELS:
        for stream in (True, False):
            yield from _cases_of(route, stream=stream)


def _cases_of(route: str, *, stream: bool) -> Iterator[Case]:
    play = getattr(routes, f"{route}_{'stream' if stream else 'reply'}")
    error = getattr(routes, f"{route}_error")
    case = partial(Case, route, stream=stream)
    for name, (turn, outcome) in _TURNS.items():
        yield case(name, play(turn), outcome)
    for name, (status, kind) in _STATUSES.items():
        yield case(name, error(status, "some_error", "No."), Outcome(), frozenset({kind}))
    denied = error("403 Forbidden", _PERMISSION_DENIED[route], "Permission denied.")
    yield case("403", denied, Outcome(), frozenset({"PermissionDeniedError"}))
    overloaded = error(_OVERLOADED[route], "overloaded_error", "Overloaded.")
    yield case("overloaded", overloaded, Outcome(), frozenset({"InternalServerError"}))
    long = error("400 Bad Request", *_TOO_LONG[route])
    yield case("context length", long, Outcome(), frozenset({"ContextWindowExceededError"}))
    refused = play(Turn(stop=_REFUSALS[route]))
    yield case("refusal", refused, Outcome(), frozenset({"ContentFilterError"}))
    if stream:
        yield from _cut_streams(route)


def _cut_streams(route: str) -> Iterator[Case]:
    play = getattr(routes, f"{route}_stream")
    hello, call = _TURNS["text"][0], _TURNS["call"][0]
    text = Outcome("Hello.")
    streamed = partial(Case, route, stream=True)
    yield streamed("cut text", play(hello, ends=False), text, frozenset(_CUT))
    yield streamed("broken connection", (*play(hello, ends=False)[:-1], "rst"), text, frozenset(_CUT))
    if route == "anthropic":
        event = anthropic_event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        yield streamed("cut call", (*play(call)[:-6], routes.END), Outcome(), frozenset(_CUT))
        pings = [anthropic_event({"type": "ping"})] * 5
        yield streamed("pings", (SSE_HEAD, *pings, *play(hello)[1:]), _TURNS["text"][1])
    elif route == "gemini":
        failure = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
        event = http_chunk(b"data: %b\r\n\r\n" % json.dumps(failure).encode())
    else:
        event = bedrock_event("serviceUnavailableException", {"message": "Overloaded"}, "exception")
        yield streamed("cut call", (*play(call)[:-5], routes.END), Outcome(), frozenset(_CUT))
    script = (*play(hello, ends=False)[:-1], event, routes.END)
    yield streamed("error event", script, text, frozenset({"InternalServerError"}))


async def ask_adapters(case: Case, address: str) -> Outcome:
    """Return what this package makes of a response."""
    options: dict[str, Any] = {"base_url": address, "api_key": "k"}
    if case.route == "bedrock":
        options = {"litellm": {**_AWS, "aws_bedrock_runtime_endpoint": address}}
    text = ""
    provider = create_provider("litellm", model=_MODELS[case.route], retry={"attempts": 1}, **options)
    async with provider:
        try:
            if case.stream:
                async for event in provider.stream_events(list(ASK), list(TOOLS)):
                    text += event.text if isinstance(event, TextDelta) else ""
                    response = event.response if isinstance(event, ResponseDone) else None
                assert response is not None
            else:
                response = await provider.chat(list(ASK), list(TOOLS))
                text = response.content or ""
        except APIError as error:
            return Outcome(text.strip(), error=type(error).__name__)
    calls = tuple((call.name, json.dumps(call.arguments)) for call in response.tool_calls)
    return Outcome(text, calls, response.finish_reason)


async def ask_litellm(case: Case, address: str) -> Outcome:
    """Return what plain LiteLLM makes of a response."""
    import litellm

    options: dict[str, Any] = {"api_base": address, "api_key": "k"}
    if case.route == "bedrock":
        options = {**_AWS, "aws_bedrock_runtime_endpoint": address}
    text, finish = "", None
    calls: dict[int, list[str]] = {}
    try:
        result: Any = await litellm.acompletion(
            model=_MODELS[case.route],
            messages=list(ASK),
            tools=list(TOOLS),
            stream=case.stream,
            max_retries=0,
            num_retries=0,
            **options,
        )
        if not case.stream:
            choice = result.choices[0]
            found = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
            return Outcome(choice.message.content or "", _normal(found), choice.finish_reason)
        async for chunk in result:
            choice = chunk.choices[0]
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                held = calls.setdefault(call.index, ["", ""])
                held[0] += call.function.name or ""
                held[1] += call.function.arguments or ""
    except Exception as error:  # noqa: BLE001 - LiteLLM raises anything; its class is what counts
        return Outcome(text.strip(), error=_error_name(error))
    return Outcome(text, _normal([(name, arguments) for name, arguments in calls.values()]), finish)


def _normal(calls: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return calls with their arguments in one spelling; ones that are no JSON stay."""
    normal = []
    for name, arguments in calls:
        spelled = arguments
        with contextlib.suppress(ValueError):
            spelled = json.dumps(json.loads(arguments or "{}"))
        normal.append((name, spelled))
    return tuple(normal)


def _error_name(error: Exception) -> str:
    """Return the name in this package for an error of LiteLLM; a wrapper around an error of a stream is looked into."""
    original = getattr(error, "original_exception", None) or error
    name = type(original).__name__
    return _LITELLM_ERRORS.get(name, name)


async def count() -> tuple[Counter[str], Counter[str], list[str]]:
    """Play all responses to both clients.

    Returns:
        How many responses there are of each provider, how many each client read right (``client route``), and a line
        for each that was read wrong.
    """
    totals: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong = []
    clients = {"adapters": ask_adapters, "LiteLLM": ask_litellm}
    async with ScriptedServer() as server:
        for number, case in enumerate(cases()):
            totals[case.route] += 1
            for client, ask in clients.items():
                address = server.add(f"{client}{number}", case.script).removesuffix("/v1")
                try:
                    async with asyncio.timeout(_PATIENCE_S):
                        outcome = await ask(case, address)
                except TimeoutError:
                    outcome = Outcome(error="TimeoutError")
                if case.is_right(outcome):
                    right[f"{client} {case.route}"] += 1
                else:
                    kind = "streamed" if case.stream else "whole"
                    wrong.append(f"{client}: {case.route}, {case.name}, {kind}: {str(outcome)[:160]}")
    return totals, right, wrong


def main() -> None:
    """Print the table and the responses that were read wrong."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    logging.disable(logging.ERROR)
    totals, right, wrong = asyncio.run(count())
    lines = ["| route | responses | adapters | LiteLLM |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {totals[name]} | {right[f'adapters {name}']} | {right[f'LiteLLM {name}']} |" for name in totals
    ]
    print(*lines, "", *wrong, sep="\n")  # noqa: T201 - the result of the program


if __name__ == "__main__":
    main()
