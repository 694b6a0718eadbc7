"""Links of the documentation lead to existing files and headings, and the README's claims have evidence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from adapters.testing import CASES
from tests.benchmarks.rows import ROWS
from tests.docs.pages import PAGES, README, ROOT, anchors_of, comparison, links_of

if TYPE_CHECKING:
    from pathlib import Path

_ISSUE = re.compile(r"[\w.-]+/[\w.-]+#\d+")
_MAX_README_LINES = 250


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    """A relative link names a file of the repository, and a heading in it if it has an anchor."""
    broken = []
    for link in links_of(page):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_paths(page: Path) -> None:
    """A path in a code span names a file of the repository, or one of the package."""
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|yaml|lock|svg))`", page.read_text(encoding="utf-8"))
    roots = (ROOT, ROOT / "adapters")
    elsewhere = ("src/caal/", "./")

    assert [
        path for path in paths if not path.startswith(elsewhere) and not any((root / path).exists() for root in roots)
    ] == []


def test_each_page_is_linked() -> None:
    """The README links every page of docs."""
    assert {f"docs/{page.name}" for page in PAGES if page.parent == ROOT / "docs"} <= {
        link.partition("#")[0] for link in links_of(README)
    }


def test_readme_is_short() -> None:
    """The README has at most 250 lines; docs has the rest."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= _MAX_README_LINES


def test_comparison_has_evidence() -> None:
    """Each row of the comparison names a wire case, a public issue, or a row of the benchmark."""
    cases = {case.id for case in CASES}
    measured = {row.short_title for row in ROWS}
    for row in comparison():
        for evidence in row["evidence"].split(", ") if row["evidence"] not in measured else []:
            assert evidence.strip("`") in cases or _ISSUE.fullmatch(evidence)


def test_comparison_quotes_the_benchmark() -> None:
    """The ratios of the comparison are those of the benchmark's table."""
    (row,) = [row for row in comparison() if row["evidence"] in {measured.short_title for measured in ROWS}]
    text = README.read_text(encoding="utf-8").partition("| openai SDK = 1 |")[2]
    names = [name.strip() for name in text.splitlines()[0].strip("| ").split("|")]
    line = next(line for line in text.splitlines() if line.startswith(f"| {row['evidence']} |"))
    ratios = dict(zip(names, [cell.strip() for cell in line.strip("| ").split("|")][1:], strict=True))

    assert (row["openai SDK"], row["LiteLLM"]) == ("1", ratios["LiteLLM"])
    assert (row["LiveKit's plugin"], row["adapters"]) == (ratios["livekit-plugins-openai"], ratios["adapters"])


def test_sdist_has_the_pages() -> None:
    """The source distribution contains README and docs."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert '"docs"' in text.partition("only-include = [")[2].partition("]")[0]
