"""``transport.background``: slow work is done once, however many callers wait for it or are cancelled."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import ConfigError
from adapters.transport import background
from tests.forks.processes import python
from tests.transport.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORK = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore")  # Python's own, of forking with threads: that is what this is about
from adapters.errors import ConfigError
from adapters.transport import background, litellm_bridge
loading = background.start("litellm", litellm_bridge._import_litellm)
{before}
child = os.fork()
if child == 0:
    try:
        asyncio.run(litellm_bridge.warm_up("openai/"))
    except ConfigError as error:
        print(error)
    else:
        print("works")
    sys.exit()
_, status = os.waitpid(child, 0)
assert status == 0
loading.result()
asyncio.run(litellm_bridge.warm_up("openai/"))
print("parent works")
"""


@pytest.mark.parametrize(
    ("before", "words"),
    [
        pytest.param("", "This process was forked while LiteLLM was being loaded", id="while it loads"),
        pytest.param(
            "loading.result(); asyncio.run(litellm_bridge.warm_up('openai/'))", "works", id="after it was rehearsed"
        ),
    ],
)
def test_forks(before: str, words: str) -> None:
    """The child of a fork that cannot have LiteLLM any more says so at once; else it works, as the parent does."""
    done = run(_FORK.format(before=before), python() if before else [sys.executable])

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(words)
    assert done.stdout.endswith("parent works\n")


def test_what_a_fork_leaves_undone() -> None:
    """In the child of a fork only what was still being done fails; what was done before is kept."""
    waiting: Future[Any] = Future()
    done: Future[Any] = Future()
    done.set_result("done")
    background._started.update({"waiting": waiting, "done": done})
    try:
        background._fail_in_forked_child()
    finally:
        del background._started["waiting"], background._started["done"]

    assert isinstance(waiting.exception(), ConfigError)
    assert done.result() == "done"


async def test_slow_work_that_fails_is_tried_again() -> None:
    """All callers that wait get the error, and the next caller starts it again."""
    outcomes: Iterator[Any] = iter([ImportError("broken"), "loaded"])

    def work() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, ImportError):
            raise outcome
        return str(outcome)

    with pytest.raises(ImportError, match="broken"):
        await background.run_once("test", work)
    try:
        assert await background.run_once("test", work) == "loaded"
        assert await background.run_once("test", work) == "loaded"
    finally:
        del background._started["test"]
