"""A program that configures no logging gets nothing on stderr, whatever goes wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.forks.processes import python

_PROGRAM = """
import asyncio
from adapters import APIError, FallbackProvider, create_provider
from adapters.testing.answers import answer, call, reply
from adapters.testing.server import ScriptedServer

ASK = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {}}}]
REFUSAL = {"error": {"message": "Unsupported parameter: 'temperature'", "param": "temperature"}}

async def main():
    async with ScriptedServer() as server:
        def provider(name, *steps, **options):
            return create_provider(
                "openai_compatible", model="m", base_url=server.add(name, *steps), retry={"attempts": 1}, **options
            )
        failing = provider("failing", reply({"error": {"message": "no"}}, "500 Internal Server Error"))
        group = FallbackProvider([failing, provider("good", answer("Hi."))])
        assert (await group.chat(ASK)).content == "Hi."
        picky = provider("picky", reply(REFUSAL, "400 Bad Request"), answer("Hi."), temperature=0.5)
        assert (await picky.chat(ASK)).content == "Hi."
        long = provider("long", answer("Hi." * 1000), limits={"answer_bytes": 500})
        many = provider("many", answer(calls=[call("get_weather", "{}", each) for each in "ab"]), limits={"calls": 1})
        halves = [call("get_weather", '{"city": "Oslo"}'), call("get_weather", '{"city": ', "b")]
        cut = provider("cut", answer("Hi.", calls=halves, finish="length"))
        assert (await cut.chat(ASK, TOOLS)).content == "Hi."
        away = create_provider("openai_compatible", model="m", base_url="http://127.0.0.1:9/v1")
        await away.prewarm()
        try:
            await long.chat(ASK)
        except APIError as error:
            print("answer_bytes" in str(error))
        try:
            await many.chat(ASK, TOOLS)
        except APIError as error:
            print("limits.calls" in str(error))
        for each in (group, picky, long, many, cut, away):
            await each.aclose()

asyncio.run(main())
"""


def test_nothing_is_printed_without_logging() -> None:
    """A switch of a fallback, a refused parameter, limits, a dropped call and a failed prewarm leave stderr empty."""
    done = subprocess.run(
        [*python(), "-c", _PROGRAM],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parent.parent,
        text=True,
        timeout=100,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("True\nTrue\n", "", 0)
