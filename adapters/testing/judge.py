"""``check``: compare the outcome of a client with the one that a case requires."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.testing.case import KEY, Failure, Success

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.testing.case import Outcome, WireCase
    from adapters.testing.server import Seen
    from adapters.types import Json

_T = TypeVar("_T")

_MAX_SPOKEN_CHARACTERS = 300

# Error messages are spoken; voice agents recognize a missing tool by the words "not found".
_NEVER_SPOKEN = ("traceback", "<html", "<!doctype", "<h1", "object at 0x", "httpx", "not found")


def check(case: WireCase, outcome: Outcome, seen: Seen | None = None, *, strict: bool = True) -> list[str]:
    """Compare one outcome with its case.

    Args:
        case: The case.
        outcome: The outcome of the client.
        seen: What the server received, ``server.seen[…]``; not checked if None.
        strict: Whether errors must have the classes and attributes of ``adapters.errors``. Otherwise any exception
            counts as the expected error if the text before it is right and its message can be spoken, which suits
            clients of another make.

    Returns:
        The problems, one sentence each; empty if there are none.
    """
    problems = [] if outcome.took_s <= case.within_s else [f"took {outcome.took_s:.2f} s, more than {case.within_s} s"]
    if isinstance(case.expect, Failure):
        problems += _failure_problems(case.expect, outcome, strict=strict)
    elif outcome.error is not None:
        problems.append(f"raised {type(outcome.error).__name__}: {outcome.error}")
    else:
        problems += [*_success_problems(case.expect, outcome), *_shape_problems(outcome)]
        if strict and outcome.usage != case.expect.usage:
            problems.append(f"usage is {outcome.usage}, expected {case.expect.usage}")
    if seen is not None:
        problems += _wire_problems(case, seen)
    return problems


def _success_problems(expect: Success, outcome: Outcome) -> Iterator[str]:
    if outcome.text != expect.text:
        yield f"text is {_short(outcome.text)}, expected {_short(expect.text)}"
    if outcome.calls is not None:
        calls = [(call.name, call.arguments) for call in outcome.calls]
        if calls != list(expect.calls):
            yield f"calls are {_short(calls)}, expected {_short(list(expect.calls))}"
        errors = [call.error is not None for call in outcome.calls]
        if any(errors) != any(expect.call_errors) or (expect.call_errors and errors != list(expect.call_errors)):
            yield f"errors of the calls are {[call.error for call in outcome.calls]}"
    response = outcome.response
    if response is not None and (response.reasoning and response.reasoning.strip()) != expect.reasoning:
        yield f"reasoning is {_short(response.reasoning)}, expected {_short(expect.reasoning)}"
    if response is not None and response.finish_reason != expect.finish_reason:
        yield f"finish_reason is {response.finish_reason!r}, expected {expect.finish_reason!r}"
    if not expect.holds(outcome):
        yield "a further condition on the outcome does not hold"


def _shape_problems(outcome: Outcome) -> Iterator[str]:
    """Yield problems that no response may have, whatever the server sent."""
    if "" in outcome.pieces:
        yield "a piece of text is empty"
    if outcome.text.encode("utf-8", "ignore").decode() != outcome.text:
        yield "the text cannot be encoded"
    calls = outcome.calls or []
    ids: list[Any] = [call.id for call in calls]
    if not all(isinstance(call_id, str) and call_id.strip() for call_id in ids) or len(set(ids)) != len(ids):
        yield f"ids must be unique strings and not blank: {ids}"
    if not all(isinstance(call.arguments, dict) for call in calls):
        yield "arguments must be objects"
    response = outcome.response
    if response is not None and response.content != (outcome.text or None):
        yield f"content of the whole response is {_short(response.content)}, its text {_short(outcome.text)}"
    if response is not None and response.tool_calls != calls:
        yield "the whole response has other calls than those that were yielded"


def _failure_problems(expect: Failure, outcome: Outcome, *, strict: bool) -> Iterator[str]:
    error = outcome.error
    if error is None:
        yield f"no error was raised, text {_short(outcome.text)}, calls {_short(outcome.calls)}"
        return
    if outcome.text != expect.after:
        yield f"text before the error is {_short(outcome.text)}, expected {_short(expect.after)}"
    if outcome.calls:
        yield f"calls were yielded before the error: {_short(outcome.calls)}"
    yield from _spoken_problems(expect, error)
    if strict:
        yield from _attribute_problems(expect, error)


def _spoken_problems(expect: Failure, error: BaseException) -> Iterator[str]:
    said = str(error)
    for words in (*_NEVER_SPOKEN, *expect.hides):
        if words.lower() in said.lower():
            yield f"{words!r} is in the error's text: {_short(said)}"
    if KEY in "".join(traceback.format_exception(error)) + repr(error):
        yield "the key is in the error or in its cause"
    if not said.strip() or len(said) > _MAX_SPOKEN_CHARACTERS:
        yield f"an error of {len(said)} characters cannot be spoken"


def _attribute_problems(expect: Failure, error: Json) -> Iterator[str]:
    names = {base.__name__ for base in type(error).__mro__}
    kinds = {expect.kinds} if isinstance(expect.kinds, str) else set(expect.kinds)
    if not names & kinds or "AdapterError" not in names:
        yield f"{type(error).__name__}: {_short(str(error))} is not one of {sorted(kinds)}"
        return
    for words in (error.provider, *expect.says):
        if words.lower() not in str(error).lower():
            yield f"{words!r} is not in the error's text: {_short(str(error))}"
    for name in ("status_code", "retryable"):
        if getattr(error, name) != getattr(expect, name):
            yield f"{name} is {getattr(error, name)!r}, expected {getattr(expect, name)!r} ({_short(str(error))})"
    if not _is_about(error.retry_after_s, expect.retry_after_s):
        yield f"retry_after_s is {error.retry_after_s!r}, expected {expect.retry_after_s!r}"
    if not expect.holds(error):
        yield "a further condition on the error does not hold"


def _is_about(value: float | None, expected: float | tuple[float, float] | None) -> bool:
    if isinstance(expected, tuple):
        return value is not None and expected[0] <= value <= expected[1]
    return value == expected


def _wire_problems(case: WireCase, seen: Seen) -> Iterator[str]:
    seen = _without_lists(seen)
    if len(seen.paths) > case.requests:
        yield f"{len(seen.paths)} requests were sent, {case.requests} are allowed"
    if case.saw is not None:
        try:
            fine = case.saw(seen)
        except (LookupError, TypeError, AttributeError) as error:
            fine, problem = False, repr(error)
        else:
            problem = ""
        if not fine:
            yield f"the server saw something else {problem}: {seen.paths} {_short(seen.bodies)}"


def _without_lists(seen: Seen) -> Seen:
    """Return what the server received except requests for the list of models, which ``prewarm`` sends."""
    lists = {index for index, path in enumerate(seen.paths) if path.partition("?")[0].endswith("/models")}

    def kept(values: list[_T]) -> list[_T]:
        return [value for index, value in enumerate(values) if index not in lists]

    return replace(
        seen,
        bodies=kept(seen.bodies),
        headers=kept(seen.headers),
        paths=kept(seen.paths),
        started=kept(seen.started),
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SPOKEN_CHARACTERS else f"{text[:_MAX_SPOKEN_CHARACTERS]}…"
