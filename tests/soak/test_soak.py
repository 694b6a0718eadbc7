"""The short form of ``nox -s soak``: each kind of question some times, and nothing is lost, mixed or left behind."""

from __future__ import annotations

import pytest

from tests.soak.__main__ import soak
from tests.soak.asking import Outcome
from tests.soak.load import Tally
from tests.soak.plans import KINDS, kind_of, words_of
from tests.soak.report import Held, Memory, Report

_PLAIN = next(number for number in range(1, 100) if kind_of(number).name == "call")
_NOTHING = Held(0, 0)


def test_nothing_is_lost_mixed_or_leaked() -> None:
    """Every kind was asked, from loops that last and loops that end. How long it took is not judged."""
    report = soak(0.05, workers=3, pause_s=0.05)

    assert not report.faults, str(report)
    assert {*report.tally.asked} == {kind.name for kind in KINDS}
    assert report.tally.loops > 4


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        pytest.param(Outcome(_PLAIN, words_of(_PLAIN), {_PLAIN}), "good", id="whole"),
        pytest.param(Outcome(_PLAIN, words_of(_PLAIN)[:-3], {_PLAIN}), "lost", id="the last word is missing"),
        pytest.param(Outcome(_PLAIN), "lost", id="no answer"),
        pytest.param(Outcome(_PLAIN, words_of(7), {_PLAIN}), "mixed", id="the words of another"),
        pytest.param(Outcome(_PLAIN, words_of(_PLAIN), {7}), "mixed", id="the count of another"),
        pytest.param(Outcome(_PLAIN, error=RuntimeError("?")), "unexpected", id="an error that is not ours"),
    ],
)
def test_what_is_not_good_is_a_fault(outcome: Outcome, verdict: str) -> None:
    """What the soak looks for would be seen, and told."""
    tally = Tally()
    tally.add(outcome)
    report = Report(1.0, tally, _NOTHING, _NOTHING, Memory(), [])

    assert outcome.verdict == verdict
    assert bool(report.faults) == (verdict != "good")
    assert verdict == "good" or f"{verdict}: {_PLAIN} (call, plain)" in str(report)


def test_what_is_left_is_a_fault() -> None:
    """So is a socket, a thread, a task and a line on stderr."""
    tally = Tally()
    tally.loop_ended(0.1, 2)

    assert Report(1.0, tally, _NOTHING, Held(3, 1), Memory(), ["oh"]).faults == [
        "3 files or sockets leaked",
        "1 threads leaked",
        "2 tasks leaked",
        "1 lines on stderr",
    ]
