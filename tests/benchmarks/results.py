"""The results of a run: what was measured, of what, where and when; kept as JSON."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.rows import Row


@dataclass(frozen=True, slots=True)
class Spread:
    """The rounds of one figure, drawn together.

    Attributes:
        median: The middle of them.
        least: The least.
        most: The greatest.
    """

    median: float
    least: float
    most: float


@dataclass(slots=True)
class Results:
    """A run.

    Attributes:
        about: What ran where and when, by name; told with the results.
        titles: The name of each client in the tables, in their order.
        versions: The version of each client, or why it could not be installed.
        figures: ``measurement.figure`` -> client -> one figure a round.
        failures: Measurement -> client -> why it has no figures. Empty if the peer does not offer such a call.
    """

    about: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, client: str, outcome: dict[str, Any]) -> None:
        """Take in one line of ``measure``."""
        measurement = outcome["measurement"]
        if "figures" not in outcome:
            self.failures.setdefault(measurement, {})[client] = outcome.get("failure", "")
        for name, value in outcome.get("figures", {}).items():
            self.figures.setdefault(f"{measurement}.{name}", {}).setdefault(client, []).append(round(value, 4))

    def spread(self, row: Row, client: str) -> Spread | None:
        """Draw the rounds of a row together; None if the client has no figures there."""
        return self.spread_of(row.measurement, row.figure, client)

    def spread_of(self, measurement: str, figure: str, client: str) -> Spread | None:
        """Draw the rounds of any figure together; None if there are none."""
        values = self.figures.get(f"{measurement}.{figure}", {}).get(client)
        return Spread(statistics.median(values), min(values), max(values)) if values else None

    def failure(self, row: Row, client: str) -> str | None:
        """Tell why a client has no figures in a row; None if it did not fail."""
        return self.failures.get(row.measurement, {}).get(client) or None

    def ratio(self, row: Row, client: str, baseline: str) -> float | None:
        """Divide the median of a client by that of another; None if one of them has none."""
        ours, theirs = self.spread(row, client), self.spread(row, baseline)
        return ours.median / theirs.median if ours and theirs and theirs.median else None

    def save(self, path: Path) -> None:
        """Write the run down."""
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a run that was written down."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
