"""What becomes of question number n: a pure function of n, on which the server and the load agree.

Each question carries its number, and each word, tool argument and count of its answer carries it back. So the load
knows of every answer whether it is all there and whether it is this question's own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from adapters.testing.answers import Answer, answer, call, http, reply

if TYPE_CHECKING:
    from adapters.testing.answers import Action, Script

Way: TypeAlias = Literal["stream", "events", "plain", "turn", "leave", "cancel stream", "cancel plain", "cancel turn"]
"""How it is asked: ``leave`` closes the stream after its first text, ``cancel`` ends the task soon."""

Asked: TypeAlias = Literal["one", "hasty", "patient", "proxied", "group", "hedged", "closing"]
"""Which provider is asked; ``asking.providers_for`` makes them. ``closing`` is one of its own, closed in the middle."""

End: TypeAlias = Literal["whole", "broken", "failed", "left"]
"""All words; some words and then an error; an error alone; the load itself went away."""

Step: TypeAlias = Literal[
    "good", "slow", "500", "429", "closed", "silent", "no json", "half", "half silent", "half garbled"
]
"""What the server does at one try."""

TOOL = "look_up"
FAILING = "failing"
"""The model that always fails before it says anything: the first of the group."""

_QUESTION = re.compile(rb"Question (\d+)\.")
_OWN_NUMBER = re.compile(r"(\d+)[a-z]\d*")
_MODEL = re.compile(rb'"model":\s*"([^"]+)"')
_WORDS = 12
_PAUSE_S = 0.01
_FAILURES: tuple[Step, ...] = ("500", "429", "closed", "no json")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of question.

    Attributes:
        name: As the report calls it.
        way: How it is asked.
        asked: The provider.
        tries: What the server does at the first try, at the second and so on; the last repeats.
        ends: How it may end.
        timeout_s: The limit of the call, or None.
    """

    name: str
    way: Way
    asked: Asked = "one"
    tries: tuple[Step, ...] = ("good",)
    ends: tuple[End, ...] = ("whole",)
    timeout_s: float | None = None


_CUT: tuple[End, ...] = ("whole", "broken")  # what hits an answer before its first word is mended by another try

KINDS = (
    Kind("stream", "stream"),
    Kind("stream", "stream", tries=("slow",)),
    Kind("events", "events"),
    Kind("call", "plain"),
    Kind("turn", "turn"),
    Kind("turn", "turn", tries=("slow",)),
    Kind("cancelled", "cancel stream", tries=("slow",), ends=("left", "whole")),
    Kind("cancelled", "cancel plain", tries=("slow",), ends=("left", "whole")),
    Kind("left in the middle", "leave", tries=("slow",), ends=("left",)),
    Kind("500, then good", "stream", tries=("500", "500", "good")),
    Kind("429, then good", "plain", tries=("429", "good")),
    Kind("closed, then good", "events", tries=("closed", "good")),
    Kind("garbled, then good", "stream", tries=("no json", "good")),
    Kind("cut, then good", "plain", tries=("half", "good")),
    Kind("cut after words", "stream", tries=("half",), ends=("broken",)),
    # Words that a busy loop reads together with the garbage are lost: aiohttp's parser raises before it hands them on.
    Kind("garbled after words", "events", tries=("half garbled",), ends=("broken", "failed")),
    Kind("always 500", "plain", tries=("500",), ends=("failed",)),
    Kind("always closed", "stream", tries=("closed",), ends=("failed",)),
    Kind("silent", "stream", tries=("silent",), ends=("failed",), timeout_s=0.4),
    Kind("silent", "plain", tries=("silent",), ends=("failed",), timeout_s=0.4),
    Kind("silent after words", "stream", asked="hasty", tries=("half silent",), ends=("broken",)),
    Kind("server restarts", "stream", asked="patient", tries=("slow",), ends=_CUT),
    Kind("server restarts", "plain", asked="patient", tries=("slow",)),
    Kind("server restarts", "turn", asked="patient", ends=_CUT),
    Kind("proxy cuts", "stream", asked="proxied", tries=("slow",), ends=_CUT),
    Kind("proxy cuts", "plain", asked="proxied"),
    Kind("fallback", "stream", asked="group", tries=("slow",), ends=_CUT),
    Kind("fallback", "plain", asked="group"),
    Kind("fallback", "turn", asked="group", ends=_CUT),
    Kind("hedged", "stream", asked="hedged", tries=("slow",)),
    Kind("hedged", "plain", asked="hedged"),
    Kind("cancelled group", "cancel stream", asked="group", tries=("slow",), ends=("left", *_CUT)),
    Kind("cancelled group", "cancel plain", asked="hedged", tries=("slow",), ends=("left", "whole")),
    Kind("cancelled group", "cancel turn", asked="hedged", tries=("slow",), ends=("left", "whole")),
    Kind("closed in the middle", "stream", asked="closing", tries=("slow",), ends=("whole", "broken", "failed")),
    Kind("closed in the middle", "plain", asked="closing", tries=("slow",), ends=("whole", "failed")),
)


def kind_of(number: int) -> Kind:
    """What kind of question it is."""
    return KINDS[number % len(KINDS)]


def question(number: int) -> str:
    """What the person says."""
    return f"Question {number}."


def words_of(number: int) -> str:
    """The whole answer; each word carries the number."""
    return " ".join(f"{number}w{place}" for place in range(_WORDS))


def numbers_in(text: str) -> set[int]:
    """Whose words these are."""
    return {int(number) for number in _OWN_NUMBER.findall(text)}


def number_in(request: bytes) -> int | None:
    """Which question a request asks, or None if it asks nothing."""
    asked = _QUESTION.search(request)
    return int(asked[1]) if asked else None


def cut_after_bytes(number: int) -> int:
    """After so many bytes of the answer the proxy cuts; some are in its head, some in its middle, some behind it."""
    return number * 37 % 3000


def script_for(request: bytes, number: int, attempt: int) -> Script:
    """What the server plays.

    Args:
        request: The body.
        number: Which question it asks.
        attempt: Which try it is, from 0.
    """
    kind = kind_of(number)
    model = _MODEL.search(request)
    if model is not None and model[1].decode() == FAILING:
        step = _FAILURES[number % len(_FAILURES)]
    else:
        step = kind.tries[min(attempt, len(kind.tries) - 1)]
    stream = re.search(rb'"stream":\s*true', request) is not None
    calls = kind.way in {"turn", "cancel turn"} and re.search(rb'"role":\s*"tool"', request) is None
    return _play(step, _call_of(number) if calls else _answer_of(number), stream=stream)


def _answer_of(number: int) -> Answer:
    first, *others = words_of(number).split(" ")
    return answer(first, *(f" {word}" for word in others), usage=_usage(number))


def _call_of(number: int) -> Answer:
    return answer(calls=[call(TOOL, json.dumps({"number": number}), f"call{number}")], usage=_usage(number))


def _usage(number: int) -> dict[str, int]:
    return {"prompt_tokens": number, "completion_tokens": _WORDS, "total_tokens": number + _WORDS}


def _play(step: Step, good: Answer, *, stream: bool) -> Script:
    whole = good.stream if stream else good.plain
    half = _first_half(whole)
    scripts: dict[Step, Script] = {
        "good": whole,
        "slow": _with_pauses(whole) if stream else (5 * _PAUSE_S, *whole),
        "500": reply({"error": {"message": "The server is broken."}}, "500 Internal Server Error"),
        "429": reply({"error": {"message": "Too many requests."}}, "429 Too Many Requests", retry_after="0.05"),
        "closed": ("eof",),
        "silent": ("hang",),
        "no json": (http(b'{"choices": [{"message": {"content": "Half'),),
        "half": (*half, "eof"),
        "half silent": (*half, "hang"),
        "half garbled": (*half, _PAUSE_S, b"no chunk\r\n", "eof"),
    }
    return scripts[step]


def _first_half(whole: Script) -> tuple[Action, ...]:
    if len(whole) > 1:
        return tuple(whole[: len(whole) // 2])
    (action,) = whole
    assert isinstance(action, bytes)
    return (action[:-100],)


def _with_pauses(whole: Script) -> tuple[Action, ...]:
    return tuple(each for action in whole for each in (action, _PAUSE_S))
