"""Tool calls in pieces, in any mix of dialects: assembled as the model made them, or an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import assume, event, given
from hypothesis import strategies as st

from adapters._arguments import is_whole
from adapters.response.tool_calls import CallAssembler, TooManyCallsError
from tests.property.call_pieces import IDS, INDEXES, NAMES, TOOLS, Dialect, random_calls, random_fragments

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from adapters.response.chunks import CallFragment
    from tests.property.call_pieces import Call

_DIALECTS = st.builds(Dialect, st.sampled_from(IDS), st.sampled_from(INDEXES), st.sampled_from(NAMES), st.booleans())


def _distinct(calls: Iterable[Call]) -> set[str]:
    """Equal calls count once, as they run once."""
    return {json.dumps(call, sort_keys=True) for call in calls}


def _assembled(fragments: Iterable[CallFragment]) -> tuple[list[Call], bool]:
    """Return the calls that run, and whether there is an error."""
    assembler = CallAssembler(TOOLS)
    try:
        for fragment in fragments:
            assembler.feed([fragment])
        calls = assembler.finish(cut=False)
    except TooManyCallsError:  # each letter has an index and a name
        return [], True
    if assembler.is_uncertain or not calls:
        return [], True
    return [(call.name, call.arguments) for call in calls if not call.error], any(call.error for call in calls)


@given(_DIALECTS, st.randoms(use_true_random=False))
def test_call_pieces(dialect: Dialect, random: Random) -> None:
    """No call runs that the model did not make; with one quirk at most, all calls run that it made."""
    made = random_calls(random)
    fragments = random_fragments(random, made, dialect)
    if sum(bool(arguments) for _, arguments in made) > 1 and not dialect.is_known:
        # By chance, the pieces of several calls are one object: {"a": + {"b": "{ + 1 + }"} + }
        assume(not is_whole("".join(part.arguments or "" for part in fragments)))

    run, is_error = _assembled(fragments)

    event(f"{'known' if dialect.is_known else 'mixed'}: {'error' if is_error else 'right'}")
    assert _distinct(run) <= _distinct(made)
    assert (is_error and not dialect.is_known) or _distinct(run) == _distinct(made)
