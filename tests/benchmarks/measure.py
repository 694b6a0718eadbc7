"""Measures one client in a process of its own: ``python -m tests.benchmarks.measure openai PORT CORE burst short``.

Prints one line of JSON for each measurement: its figures, or why there are none. ``MEASUREMENTS`` lists them; each is a
coroutine that returns figures by name, with the unit at the end of the name.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import math
import os
import resource
import statistics
import time
from typing import TYPE_CHECKING

from tests.benchmarks.clients import Client, NotOfferedError
from tests.benchmarks.meter import Bench, memory_mb, watched_memory, watched_stalls
from tests.benchmarks.peers import CLIENTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

Figures = dict[str, float]

_LAG_LIMIT_MS = 100.0
_MOST_STREAMS = 2000
_HOLDS_WITHIN_S = 4.0  # all streams begin within 1 s and last 1.5 s


async def start(bench: Bench) -> Figures:
    """Import the library, make a client and wait for its first text, in a process that has done nothing else."""
    gc.collect()
    memory, cpu_s, wall_s = memory_mb(), time.process_time(), time.perf_counter()
    importlib.import_module(bench.client.library)
    figures = {"import_cpu_ms": (time.process_time() - cpu_s) * 1e3, "import_mb": memory_mb() - memory}
    async with bench.asking() as client:
        await _first_text_s(client, "burst-5")
        figures["cold_ms"] = (time.perf_counter() - wall_s) * 1e3
    return {**figures, "first_answer_mb": memory_mb() - memory}


async def prewarm(bench: Bench) -> Figures:
    """Prewarm a client while a ticker runs; then compare its first answer with those that follow."""
    if bench.client.prewarm is Client.prewarm:
        raise NotOfferedError
    importlib.import_module(bench.client.library)
    async with bench.asking() as client:
        async with watched_stalls() as stall:
            await client.prewarm("burst-5")
        first_s = await _first_text_s(client, "burst-5")
        steady_s = statistics.median([await _first_text_s(client, "burst-5") for _ in range(30)])
    return {"stall_ms": stall.value * 1e3, "first_ms": first_s * 1e3, "first_to_steady": first_s / steady_s}


async def burst(bench: Bench, tokens: int = 2000) -> Figures:
    """Read answers that arrive as fast as they can."""
    async with bench.asking() as client:
        model, rounds = f"burst-{tokens}", 2
        await _text(client, "burst-200")
        async with bench.metered() as metered:
            texts = [await _text(client, model) for _ in range(rounds)]
    _assert_tokens(texts, rounds * tokens)
    return {"cpu_us": metered.cpu_s / rounds / tokens * 1e6, "server_share": metered.server_share}


def route(name: str, tokens: int = 2000) -> Callable[[Bench], Awaitable[Figures]]:
    """Make a measurement of answers over one of LiteLLM's routes that arrive as fast as they can."""

    async def measurement(bench: Bench) -> Figures:
        async with bench.asking() as client:
            rounds = 2
            await _joined(client.routed(name, "burst-200"))
            async with bench.metered() as metered:
                texts = [await _joined(client.routed(name, f"burst-{tokens}")) for _ in range(rounds)]
        _assert_tokens(texts, rounds * tokens)
        return {"cpu_us": metered.cpu_s / rounds / tokens * 1e6, "server_share": metered.server_share}

    return measurement


async def short(bench: Bench, answers: int = 20) -> Figures:
    """Read short answers one after the other: 30 tokens, 1 ms apart."""
    async with bench.asking() as client:
        await _text(client, "paced-1000-30")
        async with bench.metered() as metered:
            texts = [await _text(client, "paced-1000-30") for _ in range(answers)]
    _assert_tokens(texts, answers * 30)
    return {"cpu_ms": metered.cpu_s / answers * 1e3, "server_share": metered.server_share}


async def plain(bench: Bench, calls: int = 100) -> Figures:
    """Ask without streaming."""
    async with bench.asking() as client:
        for _ in range(10):
            await client.whole("plain")
        async with bench.metered() as metered:
            for _ in range(calls):
                await client.whole("plain")
    return {"cpu_ms": metered.cpu_s / calls * 1e3, "server_share": metered.server_share}


async def big(bench: Bench, answers: int = 5) -> Figures:
    """Read one answer of 1 MB."""
    async with bench.asking() as client:
        await client.whole("big-1000")
        async with bench.metered() as metered:
            texts = [await client.whole("big-1000") for _ in range(answers)]
    _assert_tokens(texts, answers * 205_000)
    return {"cpu_ms": metered.cpu_s / answers * 1e3, "server_share": metered.server_share}


def first_text(messages: int = 1, tools: int = 0, asks: int = 20) -> Callable[[Bench], Awaitable[Figures]]:
    """Make a measurement of the time to the first text, with so many messages and tools in the request."""

    async def measurement(bench: Bench) -> Figures:
        async with bench.asking(messages, tools) as client:
            for _ in range(3):
                await _text(client, "burst-5")
            async with bench.metered() as metered:
                waits_s = [await _first_text_s(client, "burst-5") for _ in range(asks)]
        return {"ms": statistics.median(waits_s) * 1e3, "server_share": metered.server_share}

    return measurement


async def paced(bench: Bench, streams: int = 100, tokens: int = 100) -> Figures:
    """Read many answers at once that come at the speed of speech, all of them started in the same moment."""
    async with bench.asking() as client:
        await _text(client, "paced-1000-20")
        async with bench.metered() as metered:
            lags_ms = await _lags_ms(client, streams, tokens)
    return {
        "cpu_us": metered.cpu_s / len(lags_ms) * 1e6,
        "p99_ms": _p99(lags_ms),
        "open_share": metered.server.most_open / streams,
        "server_share": metered.server_share,
    }


async def memory(bench: Bench, streams: int = 200) -> Figures:
    """Hold many answers open."""
    async with bench.asking() as client:
        await asyncio.gather(*(_text(client, "paced-1000-20") for _ in range(5)))
        gc.collect()
        before = memory_mb()
        async with bench.metered() as metered, watched_memory() as most:
            texts = await asyncio.gather(*(_text(client, "paced-20-20") for _ in range(streams)))
    _assert_tokens(texts, streams * 20)
    return {
        "mb": most.value - before,
        "open_share": metered.server.most_open / streams,
        "server_share": metered.server_share,
    }


async def capacity(bench: Bench) -> Figures:
    """Search how many answers at the speed of speech one core holds, started one by one over a second."""
    shares = []

    async with bench.asking() as client:
        await _text(client, "paced-1000-20")

        async def holds(streams: int) -> bool:
            lags_ms: list[float] = []
            async with bench.metered() as metered:
                with contextlib.suppress(TimeoutError):  # streams that are so late are not held
                    async with asyncio.timeout(_HOLDS_WITHIN_S):
                        lags_ms = await _lags_ms(client, streams, tokens=75, spread_s=1.0)
            shares.append(metered.server_share)
            return bool(lags_ms) and _p99(lags_ms) < _LAG_LIMIT_MS and metered.server.most_open >= streams

        streams = await most_streams(holds, bench.guess)
    return {"streams": streams, "server_share": max(shares)}


async def capacity_frozen(bench: Bench) -> Figures:
    """Search the same after a prewarm that exempts all objects from garbage collection."""
    async with bench.asking() as client:
        await client.prewarm("burst-5", freeze_gc=True)
        await _text(client, "burst-5")
    return await capacity(bench)


async def most_streams(holds: Callable[[int], Awaitable[bool]], guess: int, ceiling: int = _MOST_STREAMS) -> int:
    """Find the greatest number that holds, within a ninth: away from the guess in growing strides, then by halves.

    Args:
        holds: Tells whether so many are held.
        guess: Where to begin.
        ceiling: Where to stop.

    Returns:
        The number; 0 if not even one is held.
    """
    low, high, streams, stride = 0, ceiling + 1, guess, 1.1
    while high - low > max(1, low // 9):
        if await holds(streams):
            low = streams
        else:
            high = streams
        if low and high <= ceiling:
            streams = (low + high) // 2
        else:
            streams = min(ceiling, math.ceil(low * stride)) if low else max(1, int(high / stride))
            stride **= 2
    return low


async def _text(client: Client, model: str) -> str:
    return await _joined(client.stream(model))


async def _joined(pieces: AsyncIterator[str]) -> str:
    return "".join([piece async for piece in pieces])


async def _first_text_s(client: Client, model: str) -> float:
    """Return the seconds until the first text; the answer is read to its end, so that the connection is kept."""
    started_s, first_s = time.perf_counter(), 0.0
    async for _ in client.stream(model):
        first_s = first_s or time.perf_counter() - started_s
    return first_s


async def _lags_ms(client: Client, streams: int, tokens: int, spread_s: float = 0.0) -> list[float]:
    """Read streams of 50 tokens a second; return how long each token took from the server's hands into ours."""
    lags_ms: list[float] = []

    async def one(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        rest = ""
        async for piece in client.stream(f"paced-50-{tokens}"):
            now_ns = time.monotonic_ns()
            *sent, rest = (rest + piece).split(" ")
            lags_ms.extend((now_ns - int(sent_ns)) / 1e6 for sent_ns in sent)

    await asyncio.gather(*(one(spread_s * number / streams) for number in range(streams)))
    assert len(lags_ms) == streams * tokens, f"{streams * tokens - len(lags_ms)} tokens were lost"
    return lags_ms


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def _assert_tokens(texts: list[str], tokens: int) -> None:
    got = sum(len(text.split()) for text in texts)
    assert got == tokens, f"{got} tokens came instead of {tokens}"


MEASUREMENTS: Mapping[str, Callable[[Bench], Awaitable[Figures]]] = {
    "start": start,
    "prewarm": prewarm,
    "burst": burst,
    "short": short,
    "plain": plain,
    "first-text": first_text(),
    "messages-4": first_text(messages=4),
    "messages-40": first_text(messages=40),
    "messages-400": first_text(messages=400, asks=8),
    "tools-8": first_text(tools=8),
    "tools-64": first_text(tools=64),
    "big": big,
    "route-openai": route("openai"),
    "route-anthropic": route("anthropic"),
    "paced": paced,
    "memory": memory,
    "capacity": capacity,
    "capacity-frozen": capacity_frozen,
}


async def _measure(bench: Bench, names: list[str]) -> None:
    for name in names:
        outcome: dict[str, object] = {"measurement": name}
        try:
            outcome["figures"] = await MEASUREMENTS[name](bench)
        except NotOfferedError:
            outcome["not_offered"] = True
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way, and the table tells how
            outcome["failure"] = f"{type(error).__name__}: {error}"[:200]
        print(json.dumps(outcome), flush=True)  # noqa: T201 - the parent process reads this line


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("port", type=int)
    parser.add_argument("core", type=int, help="the one core that the process may use")
    parser.add_argument("measurements", nargs="+", choices=MEASUREMENTS)
    parser.add_argument("--guess", type=int, default=64, help="where the search for the most streams begins")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {asked.core})
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    asyncio.run(_measure(Bench(CLIENTS[asked.client], asked.port, asked.guess), asked.measurements))
    os._exit(0)  # how a peer cleans up is not measured, and some of them take long


if __name__ == "__main__":
    main()
