"""Draws the results: one panel a row, one bar a client, and a line from the least to the greatest round."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tests.benchmarks.rows import BASELINE, ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from tests.benchmarks.results import Results
    from tests.benchmarks.rows import Row

_COLUMNS = 3
_OURS, _BASELINE_COLOUR, _PEER, _INK = "#2f6fde", "#4a4a4a", "#b9bec7", "#222222"


def pyplot() -> Any:
    """Load matplotlib so that it draws the same bytes each time."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "adapters", "svg.fonttype": "none", "font.size": 8, "text.color": _INK})
    mpl.rcParams["axes.prop_cycle"] = mpl.rcsetup.cycler(color=[_OURS])
    from matplotlib import pyplot as plt

    return plt


def draw(results: Results, path: Path) -> None:
    """Write an SVG that is the same, byte by byte, for the same results and the same matplotlib.

    Args:
        results: A run.
        path: Where to.
    """
    plt = pyplot()
    rows = [row for row in ROWS if row.short_title is not None and f"{row.measurement}.{row.figure}" in results.figures]
    if not rows:
        return
    lines = math.ceil(len(rows) / _COLUMNS)
    height = lines * (0.5 + 0.17 * len(results.titles))
    figure, panels = plt.subplots(
        lines, _COLUMNS, figsize=(11, height), squeeze=False, sharey=True, layout="constrained"
    )
    for panel, row in zip(panels.flat, rows, strict=False):
        _draw_panel(panel, results, row)
    for panel in panels.flat[len(rows) :]:
        panel.set_axis_off()
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def _draw_panel(panel: Axes, results: Results, row: Row) -> None:
    """Draw one row; a client without a figure has no bar, and a text in its place says why."""
    titles = list(results.titles.values())
    panel.set_yticks(range(len(titles)), titles)
    panel.invert_yaxis()
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    best = "more" if row.more_is_better else "less"
    panel.set_title(f"{row.short_title}{f' ({row.unit})' * bool(row.unit)}, {best} is better", fontsize=8, loc="left")
    spreads = {client: results.spread(row, client) for client in results.titles}
    widest = max(spread.most for spread in spreads.values() if spread is not None)
    for place, (client, spread) in enumerate(spreads.items()):
        if spread is None:
            panel.text(0, place, " failed" if results.failure(row, client) else " -", va="center")
            continue
        panel.barh(place, spread.median, height=0.7, color=_colour(client))
        panel.plot([spread.least, spread.most], [place, place], color=_INK, linewidth=0.8)
        label = f"{spread.median:,.{row.digits}f}"
        panel.text(max(spread.median, spread.most) + widest * 0.02, place, label, va="center", fontsize=7)
    panel.set_xlim(0, widest * 1.2)
    panel.locator_params(axis="x", nbins=5)


def _colour(client: str) -> str:
    if client.startswith("adapters"):
        return _OURS
    return _BASELINE_COLOUR if client == BASELINE else _PEER
