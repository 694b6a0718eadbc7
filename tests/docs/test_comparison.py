"""The README's comparison is true: the openai SDK and LiteLLM are played the wire cases of its rows.

LiveKit's plugin is not in the environment of the tests; its column was measured in the same way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import litellm
import openai
import pytest

from adapters.testing import CASES, KEY, TOOLS
from tests.docs.pages import README, comparison

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.testing import ScriptedServer, WireCase

pytest_plugins = ["adapters.testing.plugin"]

_CASES = {case.id: case for case in CASES}
_NAMED = {name: version(name) for name in ("openai", "litellm")}
_PLAYED_TO = README.read_text("utf-8").partition("bytes were played to")[2].partition("\n\n")[0]
_IS_MEASURED = all(re.search(rf"{name} {_NAMED[name]}\b", _PLAYED_TO, re.IGNORECASE) for name in _NAMED)


@dataclass(slots=True)
class Result:
    """What a client returned for a case."""

    text: str = ""
    calls: dict[int, str] = field(default_factory=dict)
    error: Exception | None = None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


CLAIMS: dict[str, Callable[[Result], bool]] = {
    "speaks the markup": lambda result: "<tool_call>" in result.text,
    "speaks it": lambda result: "<think>" in result.text,
    "success": lambda result: result.error is None and bool(result.text),
    "empty success": lambda result: result.error is None and not result.text,
    "half a call": lambda result: result.error is None and not any(map(_is_json, result.calls.values())),
    "one merged call": lambda result: len(result.calls) == 1 and not _is_json(result.calls[0]),
    "error": lambda result: result.error is not None,
    "HTML in the error": lambda result: "<html" in str(result.error).lower(),
}
"""What a cell of the table means."""


async def _play(client: str, case: WireCase, base_url: str) -> Result:
    """Stream the response of a case through a client."""
    result = Result()
    options: dict[str, Any] = {"messages": list(case.messages), "stream": True, "temperature": 0.7, "max_retries": 0}
    options |= {"tools": list(TOOLS)} if case.tools else {}
    sdk = openai.AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=options.pop("max_retries"))
    try:
        if client == "LiteLLM":
            chunks = await litellm.acompletion("openai/m", api_base=base_url, api_key=KEY, max_retries=0, **options)
        else:
            chunks = await sdk.chat.completions.create(model="m", **options)
        async for chunk in chunks:
            for choice in chunk.choices or []:
                result.text += choice.delta.content or ""
                for call in choice.delta.tool_calls or []:
                    result.calls[call.index] = result.calls.get(call.index, "") + (call.function.arguments or "")
    except Exception as error:  # noqa: BLE001 - every error is a result
        result.error = error
    await sdk.close()
    return result


def _claims() -> list[Any]:
    return [
        pytest.param(client, case, row[client], id=f"{case}-{client}")
        for row in comparison()
        for case in re.findall(r"`([\w-]+)`", row["evidence"])
        for client in ("openai SDK", "LiteLLM")
        if row[client] != "no deadline"
    ]


@pytest.mark.skipif(not _IS_MEASURED, reason="other versions than those of the README are installed")
@pytest.mark.filterwarnings("ignore")  # of both libraries
@pytest.mark.parametrize(("client", "case", "claim"), _claims())
async def test_claim(client: str, case: str, claim: str, scripted_server: ScriptedServer) -> None:
    """A client does with the bytes of a case what the table says."""
    base_url = scripted_server.add(case, *_CASES[case].steps)

    assert CLAIMS[claim](await _play(client, _CASES[case], base_url))


def test_deadlines() -> None:
    """Neither client limits the time to first token: their timeouts apply to a pause between bytes."""
    assert openai.DEFAULT_TIMEOUT.read == 600
    assert litellm.request_timeout == 6000
