"""Results as text: the table of ``RESULTS.md`` and the ratios that the README quotes.

``python -m tests.benchmarks.report`` writes both anew, and the plot, from ``results.json``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.results import Results
from tests.benchmarks.rows import BASELINE, ROWS

if TYPE_CHECKING:
    from tests.benchmarks.rows import Row

_HALF_OPEN = 0.99
_QUOTED = (
    "adapters",
    "adapters-openrouter",
    "litellm",
    "pydantic-ai",
    "langchain-openai",
    "any-llm",
    "livekit-plugins-openai",
    "aiohttp",
)
"""What the README compares with the baseline."""

_EXPLAINED = """\
A cell holds the ratio to the openai SDK that LiteLLM allows beside itself (bold), the median of the rounds and, in
brackets, the least and the greatest. Less is better, but for the streams that one core holds. CPU is the CPU time of
the client's process, all other times are wall clock; the client has one core and the server another. The last column
is the greatest share of its core that the server needed with any client: far from 100 %, it was not the limit.
"""


def document(results: Results) -> str:
    """Write the results out.

    Args:
        results: A run.

    Returns:
        Markdown.
    """
    about = [f"- {name}: {value}" for name, value in results.about.items()]
    versions = [f"- {title}: {results.versions[client]}" for client, title in results.titles.items()]
    parts = ["# Results", _EXPLAINED.strip(), _table(results), *_notes(results)]
    parts += ["## Machine and command", "\n".join(about), "## Versions", "\n".join(versions)]
    return "\n\n".join(parts) + "\n"


def _table(results: Results) -> str:
    lines = [
        f"| row | {' | '.join(results.titles.values())} | server's core |",
        "|---" * (len(results.titles) + 2) + "|",
    ]
    for row in ROWS:
        if row.measurement in results.failures or f"{row.measurement}.{row.figure}" in results.figures:
            cells = [_cell(results, row, client) for client in results.titles]
            unit = f" ({row.unit})" * bool(row.unit)
            lines.append(f"| {row.title}{unit} | {' | '.join(cells)} | {_server_share(results, row)} |")
    return "\n".join(lines)


def _cell(results: Results, row: Row, client: str) -> str:
    spread = results.spread(row, client)
    if spread is None:
        return "failed" if results.failure(row, client) else "-"
    low, middle, high = (f"{value:.{row.digits}f}" for value in (spread.least, spread.median, spread.most))
    ratio = results.ratio(row, client, BASELINE)
    bold = "" if ratio is None else f"**{ratio:.2f}** "
    return f"{bold}{middle} ({low}..{high}){' †' * bool(_partly_open(results, row, client))}"


def _partly_open(results: Results, row: Row, client: str) -> float | None:
    """Tell which share of the streams was open at once, if it was not all."""
    spread = results.spread_of(row.measurement, "open_share", client)
    return spread.median if spread is not None and spread.median < _HALF_OPEN else None


def _server_share(results: Results, row: Row) -> str:
    spreads = [results.spread_of(row.measurement, "server_share", client) for client in results.titles]
    shares = [spread.median for spread in spreads if spread is not None]
    return f"{max(shares):.0%}" if shares else "-"


def _notes(results: Results) -> list[str]:
    """Tell what the cells leave out: peers without such a call, pools that are too small, failures."""
    notes = ["-: no such call. `prewarm()` is this package's and LiveKit's; LiveKit's plug-in streams every answer."]
    partly = {
        f"{title} {share:.0%} in {row.title!r}"
        for row in ROWS
        for client, title in results.titles.items()
        if (share := _partly_open(results, row, client)) is not None
    }
    if partly:
        notes.append(f"†: not all streams were open at once (its pool, or its speed): {'; '.join(sorted(partly))}.")
    notes += [
        f"{results.titles[client]} failed in {measurement}: {reason}"
        for measurement, clients in results.failures.items()
        for client, reason in clients.items()
        if reason
    ]
    return notes


def quotation(results: Results) -> str:
    """Write out what the README says: ratios of medians, and nothing else.

    Args:
        results: A run.

    Returns:
        Markdown.
    """
    clients = [client for client in _QUOTED if client in results.titles]
    lines = [
        "Ratios to the openai SDK on the same bytes and one core; less is better, but for the streams that are held.",
        "[All figures](tests/benchmarks/RESULTS.md), their spread, versions and machine; `nox -s bench` measures anew.",
        "",
        f"| openai SDK = 1 | {' | '.join(results.titles[client] for client in clients)} |",
        "| --- " * (len(clients) + 1) + "|",
    ]
    for row in ROWS:
        if row.short_title is not None:
            ratios = [results.ratio(row, client, BASELINE) for client in clients]
            if not any(ratios):
                continue  # not measured in this run
            cells = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
            lines.append(f"| {row.short_title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "![The same as bars](tests/benchmarks/results.svg)", ""])


def quote(text: str, readme: Path, mark: str = "bench") -> None:
    """Write a text into the README, between two marks.

    Args:
        text: What to write.
        readme: The README.
        mark: The name of the marks.

    Raises:
        ValueError: If the README has no such marks.
    """
    marked = re.compile(rf"(?<=<!-- {mark} -->\n).*?(?=<!-- /{mark} -->)", re.DOTALL)
    before = readme.read_text(encoding="utf-8")
    if marked.search(before) is None:
        raise ValueError(f"{readme.name} has no <!-- {mark} --> … <!-- /{mark} -->")
    readme.write_text(marked.sub(lambda _: text, before), encoding="utf-8")


def main() -> None:
    """Write everything anew from the figures of the latest whole run."""
    from tests.benchmarks import plot

    folder = Path(__file__).parent
    results = Results.load(folder / "results.json")
    (folder / "RESULTS.md").write_text(document(results), encoding="utf-8")
    plot.draw(results, folder / "results.svg")
    quote(quotation(results), folder.parent.parent / "README.md")


if __name__ == "__main__":
    main()
