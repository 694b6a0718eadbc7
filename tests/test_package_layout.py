"""Rules of the whole repository: import contracts, the typed view of the API, and the CI command."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

import adapters

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _imported_libraries() -> set[str]:
    """Return the top-level names of all third-party libraries that the package imports."""
    found = set()
    for path in (ROOT / "adapters").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"adapters"}


def test_each_library_has_a_contract() -> None:
    """Each library that the package imports has an import contract, and each contract is used."""
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    protected = [name for contract in contracts for name in contract.get("protected_modules", []) if name != "adapters"]

    assert sorted(protected) == sorted(_imported_libraries())


def test_each_public_name_is_used_in_the_typed_view() -> None:
    """The type checkers see every public name in ``tests/typing/api.py``."""
    tree = ast.parse((ROOT / "tests" / "typing" / "api.py").read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert set(adapters.__all__) - used == set()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """The last line of ``.ci/run`` is the second command of the README, letter for letter."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)\n```$", readme, flags=re.DOTALL | re.MULTILINE)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert len(commands) == 2
    assert script[-1] == commands[1]


def test_each_dependency_has_its_reason() -> None:
    """Each requirement in ``pyproject.toml`` has a comment with its reason."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    extras = [*PYPROJECT["project"]["optional-dependencies"].values(), *PYPROJECT["dependency-groups"].values()]
    requirements = [*PYPROJECT["build-system"]["requires"], *PYPROJECT["project"]["dependencies"], *chain(*extras)]
    with_requirement = [line for line in lines if any(f'"{requirement}"' in line for requirement in requirements)]

    assert len(with_requirement) >= len(set(requirements))
    assert [line for line in with_requirement if not re.search(r"# \w", line)] == []


def test_the_map_shows_the_package() -> None:
    """The tree in CONTRIBUTING.md names each top-level folder and module of the package, and nothing else."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = text.partition("```\nadapters/\n")[2].partition("\n```")[0]
    entries = [re.split(r" {3,}", line.strip(), maxsplit=1)[0].split() for line in drawn.splitlines()]
    existing = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "adapters").iterdir()
        if path.name not in {"__pycache__", "py.typed"}
    }

    assert sorted(chain(*entries)) == sorted(existing)
