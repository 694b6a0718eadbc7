"""The pages of the documentation, and the code blocks, links and headings in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced code block.

    Attributes:
        page: Name of its page.
        line: Line number of its first line.
        language: Language of the fence, or "".
        code: Its text.
        config: The nearest YAML block before it on its page, or "".
    """

    page: str
    line: int
    language: str
    code: str
    config: str

    @property
    def id(self) -> str:
        """Page and line, for the id of a test."""
        return f"{self.page}:{self.line}"

    @property
    def file_name(self) -> str:
        """The file that a first line such as ``# conftest.py`` names, or ""."""
        found = re.match(r"# (\w+\.py)\n", self.code)
        return found.group(1) if found else ""


def blocks_of(page: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    blocks: list[Block] = []
    config = ""
    for found in _BLOCK.finditer(text):
        language, code = found.groups()
        blocks.append(Block(page.name, text.count("\n", 0, found.start()) + 2, language, code, config))
        if language == "yaml":
            config = code
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def links_of(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    return _LINK.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as forges derive them."""
    headings = _HEADING.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def comparison() -> list[dict[str, str]]:
    """Return the rows of the README's comparison, by heading."""
    table = README.read_text(encoding="utf-8").partition("| what happens |")[2].partition("\n\n")[0]
    head, _, *rows = ["what happens |" + table.splitlines()[0], *table.splitlines()[1:]]
    names = [name.strip() for name in head.strip("| ").split("|")]
    return [dict(zip(names, (cell.strip() for cell in row.strip("| ").split("|")), strict=True)) for row in rows]
