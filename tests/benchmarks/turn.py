"""How long a person waits: ``nox -s bench -- turn`` measures whole turns, from the question to the spoken answer.

Three ways to answer (``WAYS``) are asked the same by two servers: the byte server at 50 tokens a second, and the
embedded llama.cpp with its demo model, which speaks at once. Each way is a process of its own; it makes a turn that is
thrown away, and then five. A tool answers at once, so that what is seen is waiting for the model. All ways must say the
same words. Writes ``TURN.md`` and ``turn.svg`` beside this file and the figures into ``docs/voice-latency.md``, or only
the former two, into a folder (``nox -s bench -- turn FOLDER``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tests.benchmarks import report
from tests.benchmarks.clients import KEY
from tests.benchmarks.peers import REQUIREMENTS
from tests.benchmarks.server import serve
from tests.servers.environments import installed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parent.parent
_TURNS = 5
_TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "Current weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_TOOLS = [{"type": "function", "function": _TOOL}]
_WEATHER = "sunny, 21 degrees"

QUESTIONS: Mapping[str, str] = {
    "no tool call": "Count to ten, please.",
    "one tool call": "What is the weather in Paris?",
}
"""What is asked; the tool is offered with both."""


class Way:
    """A way to answer.

    Attributes:
        title: Its name in the plot.
    """

    title: ClassVar[str]

    def __init__(self, base_url: str, model: str) -> None:
        raise NotImplementedError

    def turn(self, question: str) -> AsyncIterator[str]:
        """Answer; the pieces of text that may be spoken, as soon as they may be."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Give back what is open, where the process goes on."""


class _Adapters(Way):
    """A way over a provider of this package."""

    def __init__(self, base_url: str, model: str) -> None:
        from adapters import create_provider

        self._provider = create_provider("openai_compatible", model=model, base_url=base_url, api_key=KEY)

    async def aclose(self) -> None:
        """Close the provider."""
        await self._provider.aclose()


class ChatThenSpeak(_Adapters):
    """CAAL's way: ask for whole answers until one calls no tool, and speak that one."""

    title = "chat, then speak (CAAL)"

    async def turn(self, question: str) -> AsyncIterator[str]:
        """Answer in one piece."""
        provider, messages = self._provider, [{"role": "user", "content": question}]
        while (response := await provider.chat(messages, tools=_TOOLS)).tool_calls:
            messages.append(provider.format_tool_call_message(response.content, response.tool_calls))
            messages += [provider.format_tool_result(_WEATHER, call.id, call.name) for call in response.tool_calls]
        yield response.content or ""


class RunTurn(_Adapters):
    """This package's tool loop."""

    title = "adapters.agent.run_turn"

    async def turn(self, question: str) -> AsyncIterator[str]:
        """Answer piece by piece."""
        from adapters import TextDelta
        from adapters.agent import run_turn

        async def call_tool(_name: str, _arguments: dict[str, Any]) -> str:
            return _WEATHER

        async for event in run_turn(self._provider, [{"role": "user", "content": question}], _TOOLS, call_tool):
            if isinstance(event, TextDelta):
                yield event.text


class LiveKitPlugin(Way):
    """LiveKit's official plug-in in a loop as LiveKit's own is."""

    title = "livekit-plugins-openai"

    def __init__(self, base_url: str, model: str) -> None:
        from livekit.agents import llm
        from livekit.plugins import openai

        async def get_weather(raw_arguments: dict[str, object]) -> None:
            """Stand for the tool; the loop below answers for it."""

        self._llm_module, self._llm = llm, openai.LLM(model=model, base_url=base_url, api_key=KEY)
        self._tools = [llm.function_tool(get_weather, raw_schema=_TOOL)]

    async def turn(self, question: str) -> AsyncIterator[str]:
        """Answer piece by piece."""
        llm = self._llm_module
        context = llm.ChatContext.empty()
        context.add_message(role="user", content=question)
        calls: list[Any] = [None]
        while calls:
            calls = []
            async with self._llm.chat(chat_ctx=context, tools=self._tools) as chunks:
                async for chunk in chunks:
                    if chunk.delta and chunk.delta.content:
                        yield chunk.delta.content
                    calls += chunk.delta.tool_calls if chunk.delta else []
            for call in calls:
                same = {"call_id": call.call_id, "name": call.name}
                context.items.append(llm.FunctionCall(**same, arguments=call.arguments))
                context.items.append(llm.FunctionCallOutput(**same, output=_WEATHER, is_error=False))


WAYS: Mapping[str, type[Way]] = {"caal": ChatThenSpeak, "run_turn": RunTurn, "livekit": LiveKitPlugin}


@dataclass(frozen=True, slots=True)
class Turn:
    """How long a listener waits.

    Attributes:
        first_s: Seconds from the question to the first text.
        last_s: Seconds to the last text.
        text: What was said.
    """

    first_s: float
    last_s: float
    text: str


async def one_turn(way: Way, question: str) -> Turn:
    """Ask once.

    Args:
        way: The client.
        question: What is asked.

    Returns:
        What was said, and when.
    """
    started_s, times_s, pieces = time.perf_counter(), [], []
    async for piece in way.turn(question):
        times_s.append(time.perf_counter() - started_s)
        pieces.append(piece)
    return Turn(times_s[0], times_s[-1], "".join(pieces).strip())


async def _turns(name: str, base_url: str, model: str, question: str) -> None:
    """Make the turns of one process and print the median of their times."""
    way = WAYS[name](base_url, model)
    turns = [await one_turn(way, question) for _ in range(_TURNS + 1)][1:]
    first_s, last_s = (statistics.median(getattr(turn, field) for turn in turns) for field in ("first_s", "last_s"))
    assert len({turn.text for turn in turns}) == 1, turns
    print(json.dumps(asdict(Turn(first_s, last_s, turns[0].text))), flush=True)  # noqa: T201 - the parent process reads this
    os._exit(0)


async def _measured(name: str, base_url: str, model: str, question: str) -> Turn:
    python = sys.executable
    if name == "livekit":
        requirement = REQUIREMENTS["livekit-plugins-openai"]
        python = str(installed("bench-livekit-plugins-openai", requirement) / "python")
    command = [python, "-m", "tests.benchmarks.turn", "--one", name, base_url, model, question]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    output, _ = await process.communicate()
    return Turn(**json.loads(output))


async def measure() -> dict[str, dict[str, Turn]]:
    """Measure every way at every server with every question.

    Returns:
        ``server, question`` -> title of the way -> its turn.
    """
    from adapters.local import LocalServer

    found: dict[str, dict[str, Turn]] = {}
    async with serve() as port, LocalServer() as llama:
        servers = {
            "50 tokens/s": (f"http://127.0.0.1:{port}/v1", "turn-50-40"),
            "llama.cpp, demo model": (await llama.start(), llama.model),
        }
        for server, (base_url, model) in servers.items():
            for case, question in QUESTIONS.items():
                turns = {WAYS[name].title: await _measured(name, base_url, model, question) for name in WAYS}
                said = {turn.text for turn in turns.values()}
                assert len(said) == 1, f"the ways did not say the same: {said}"
                found[f"{server}, {case}"] = turns
    return found


def document(found: Mapping[str, Mapping[str, Turn]]) -> str:
    """Write the turns out as a table: seconds to the first and to the last text.

    Args:
        found: What ``measure`` returns.

    Returns:
        Markdown.
    """
    titles = list(next(iter(found.values())))
    lines = [f"| seconds to first text, to last | {' | '.join(titles)} |", "| --- " * (len(titles) + 1) + "|"]
    for case, turns in found.items():
        cells = [f"**{turns[title].first_s:.3f}**, {turns[title].last_s:.3f}" for title in titles]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(found: Mapping[str, Mapping[str, Turn]], path: Path) -> None:
    """Draw the turns: waiting is grey, speaking is blue.

    Args:
        found: What ``measure`` returns.
        path: Where to; the same bytes for the same turns.
    """
    from tests.benchmarks.plot import pyplot

    plt = pyplot()
    figure, panels = plt.subplots(2, 2, figsize=(11, 3.2), sharey=True, layout="constrained")
    for panel, (case, turns) in zip(panels.flat, found.items(), strict=True):
        panel.set_yticks(range(len(turns)), list(turns))
        panel.set_ylim(len(turns) - 0.4, -0.6)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.set_title(f"{case} (s)", fontsize=8, loc="left")
        longest = max(turn.last_s for turn in turns.values())
        panel.set_xlim(0, longest * 1.2)
        for place, turn in enumerate(turns.values()):
            panel.barh(place, turn.first_s, height=0.6, color="#d5d8de")
            panel.barh(place, max(turn.last_s - turn.first_s, longest / 200), left=turn.first_s, height=0.6)
            label = f"{turn.first_s:.3f} to {turn.last_s:.3f}"
            panel.text(turn.last_s + longest * 0.015, place, label, va="center", fontsize=7)
    figure.suptitle("from the question: grey = silence, blue = text to speak", fontsize=8, x=0.01, ha="left")
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def main() -> None:
    """Measure, and write the table, the plot and the page on latency; or be one of the processes of that."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=_FOLDER)
    parser.add_argument("--one", nargs=4, metavar=("WAY", "BASE_URL", "MODEL", "QUESTION"))
    asked = parser.parse_args()
    if asked.one:
        asyncio.run(_turns(*asked.one))
    found = asyncio.run(measure())
    table = document(found)
    print(table)  # noqa: T201 - for the user
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / "TURN.md").write_text(f"# From question to speech\n\n{table}", encoding="utf-8")
    draw(found, asked.folder / "turn.svg")
    if asked.folder == _FOLDER:
        picture = "\n![Silence and speech of each turn](../tests/benchmarks/turn.svg)\n"
        report.quote(table + picture, _ROOT / "docs" / "voice-latency.md", "turn")


if __name__ == "__main__":
    main()
