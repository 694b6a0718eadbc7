"""Every check of the project, one session each: ``nox`` runs what CI runs (``check``), ``nox -l`` lists the rest.

``pyproject.toml`` configures the checks, this file starts them. Nearly all sessions share one environment,
``.nox/dev``, which holds the locked dependencies of ``.ci/dev.lock`` and is created again only if these change.
Compiled modules are cached in ``.nox/bytecode``, so that each is compiled once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tarfile
import tokenize
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.envdir = ".nox"
nox.options.error_on_external_run = True
nox.options.sessions = ["check"]

LOCK = ".ci/dev.lock"
PIPECAT_LOCK = ".ci/pipecat.lock"
EXTRAS = ("local", "livekit", "mcp", "otel")
PIPECAT_EXTRAS = ("pipecat", "local")
PIPECAT_TESTS = ("tests/test_pipecat.py", "tests/docs/test_blocks.py", "tests/docs/test_examples.py", "-k", "pipecat")
BIN = Path(".nox/dev/bin").absolute()
BYTECODE = {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": str(Path(".nox/bytecode").absolute())}
CORES = os.cpu_count() or 1
IN_PARALLEL = ("-n", str(max(CORES, min(2 * CORES, 8))), "--dist", "worksteal")  # tests wait about half of their time
PYTHON_FILES = (".ci", "adapters", "noxfile.py", "tests")
PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))

LITELLM_VERSIONS = ("1.102.4", "1.106.10", "1.108.11", "1.109.3")
"""The versions that ``compat`` tests; the range in ``pyproject.toml`` is never wider than what passes."""

WIRE_TESTS = (
    "tests/test_agent_contract.py",
    "tests/recorded/test_captures.py",
    "tests/recorded/test_recorded.py",
    "tests/recorded/test_recorded_failures.py",
    "tests/recorded/test_recorded_requests.py",
    "tests/testing/test_wire_cases.py",
    "tests/transport/test_litellm_bridge.py",
    "tests/transport/test_litellm_globals.py",
    "tests/transport/test_translation.py",
)
"""The tests that LiteLLM takes part in: the requests that it builds, and every kind of server."""

IMPORTS_NOTHING_HEAVY = "import adapters, sys; assert not {'litellm', 'openai', 'aiohttp'} & {*sys.modules}"

BUILD_TIME_S = "1580601600"
"""Modification time of the files in a package: constant, and not before 1980, the first year that zip can store."""

EXCEPTION = re.compile(r"# (noqa|type: ignore|pyright: ignore|pragma:)")
EXCEPTION_WITH_REASON = re.compile(
    r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)* - \w"
    r"|# (type|pyright): ignore\[[\w, -]+\]  # \w"
    r"|# pragma: no (cover|branch) - \w"
)


@nox.session(venv_backend="none", requires=["dev"])
def check(session: nox.Session) -> None:
    """Run what CI runs, in two concurrent sequences, of which the tests have priority: they also wait for much."""
    with ThreadPoolExecutor() as threads:
        sequence = ("lint", "typing", "package", "pipecat")
        others = threads.submit(_nox, session, *sequence, niceness=4, silent=True)  # shown if it fails
        _nox(session, "tests")
        others.result()
    _nox(session, "coverage")


def _nox(session: nox.Session, *sessions: str, niceness: int = 0, silent: bool = False) -> None:
    """Run sessions in sequence, in a process of their own."""
    command = ("nice", f"-n{niceness}", sys.executable, "-m", "nox", "--session", *sessions)
    session.run(*command, external=True, silent=silent)


@nox.session(reuse_venv=True, default=False)
def dev(session: nox.Session) -> None:
    """Install the lock and the checkout; other sessions require this one."""
    stamp = Path(session.virtualenv.location) / "installed"
    required = hashlib.sha256(Path(LOCK).read_bytes() + Path("pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == required:
        session.log("Everything is already installed.")
        return
    stamp.unlink(missing_ok=True)
    _install(session)
    stamp.write_text(required, encoding="utf-8")


def _install(session: nox.Session, lock: str = LOCK, extras: Sequence[str] = EXTRAS) -> None:
    """Install the lock and nothing else, then the checkout without an index, so that an outdated lock fails."""
    session.run_install("uv", "pip", "sync", "--quiet", "--require-hashes", lock)
    session.install("--no-index", "--no-build-isolation", "-e", f".[{','.join(extras)}]")


def _run(
    session: nox.Session,
    program: str,
    *args: str,
    env: Mapping[str, str | None] | None = None,
    silent: bool = False,
) -> None:
    """Run a program of the shared environment; a silent one is shown if it fails."""
    path = {"PATH": os.pathsep.join([str(BIN), os.environ["PATH"]])}
    session.run(str(BIN / program), *args, env={**path, **BYTECODE, **(env or {})}, external=True, silent=silent)


@nox.session(venv_backend="none", requires=["dev"])
def lint(session: nox.Session) -> None:
    """Check style, format, import directions, the JSON schema, and the reason of each exception to a rule."""
    _run(session, "ruff", "check")
    _run(session, "ruff", "format", "--check")
    _run(session, "lint-imports", "--no-logo")
    _run(session, "python", "-m", "adapters.config.schema", "--check")
    unexplained = [line for name in PYTHON_FILES for line in _unexplained_exceptions(Path(name))]
    if unexplained:
        session.error("add the reason for each exception:\n" + "\n".join(unexplained))


def _unexplained_exceptions(path: Path) -> list[str]:
    """Return ``file:line: comment`` for each comment that silences a tool without a reason."""
    found = []
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        with file.open("rb") as source:
            comments = [token for token in tokenize.tokenize(source.readline) if token.type == tokenize.COMMENT]
        found += [
            f"{file}:{token.start[0]}: {token.string}"
            for token in comments
            if len(EXCEPTION.findall(token.string)) > len(list(EXCEPTION_WITH_REASON.finditer(token.string)))
        ]
    return found


@nox.session(venv_backend="none", requires=["dev"])
def typing(session: nox.Session) -> None:
    """Check types: mypy for everything, pyright for the package and for a file that uses it."""
    with ThreadPoolExecutor() as threads:  # each uses one core
        for check in [threads.submit(_run, session, program) for program in ("mypy", "pyright")]:
            check.result()


@nox.session(venv_backend="none", requires=["dev"])
def tests(session: nox.Session) -> None:
    """Run the tests and record their coverage; with arguments for pytest, run these tests without coverage."""
    if session.posargs:
        _run(session, "pytest", *session.posargs)
        return
    _run(session, "coverage", "erase")
    _run(session, "coverage", "run", "-m", "pytest", "--quiet", *IN_PARALLEL)


@nox.session(reuse_venv=True)
def pipecat(session: nox.Session) -> None:
    """Run the tests of ``adapters.pipecat`` and record their coverage; arguments are passed to pytest.

    This session has its own environment, because pipecat and LiveKit need different versions of protobuf.
    """
    _install(session, PIPECAT_LOCK, PIPECAT_EXTRAS)
    _share_bytecode(Path(session.virtualenv.location).absolute())
    session.run("coverage", "run", "-m", "pytest", "--quiet", *PIPECAT_TESTS, *session.posargs, env=BYTECODE)


@nox.session(venv_backend="none", requires=["dev"])
def coverage(session: nox.Session) -> None:
    """Fail unless ``tests`` and ``pipecat`` covered every line and branch of the package."""
    _run(session, "coverage", "combine", "--quiet")
    _run(session, "coverage", "report")


@nox.session(venv_backend="none", requires=["dev"], default=False)
def integration(session: nox.Session) -> None:
    """Run the tests that start the real embedded server; arguments are passed to pytest."""
    _run(session, "pytest", "-m", "integration", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def fuzz(session: nox.Session) -> None:
    """Run the property tests with 20,000 examples and more; arguments are passed to pytest."""
    no_time_limit = ("-o", "faulthandler_timeout=0")
    _run(session, "pytest", "-m", "hypothesis", *no_time_limit, *session.posargs, env={"HYPOTHESIS_PROFILE": "fuzz"})


@nox.session(venv_backend="none", requires=["dev"], default=False)
def record(session: nox.Session) -> None:
    """Start the real servers and record the conversations again; arguments name the servers (default: all)."""
    _run(session, "python", "-m", "tests.servers.record", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def scale(session: nox.Session) -> None:
    """Load LiteLLM proxies with Redis and two model servers, and kill a server; ``-- --seconds N`` of load."""
    _run(session, "python", "-m", "tests.scale", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def pictures(session: nox.Session) -> None:
    """Take the pictures of the command line again."""
    _run(session, "python", "-m", "tests.pictures")


@nox.session(venv_backend="none", requires=["dev"], default=False)
def soak(session: nox.Session) -> None:
    """Run mixed load with every fault for ten minutes, ``-- --minutes N``: nothing may be lost, mixed or leaked."""
    _run(session, "python", "-m", "tests.soak", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def schema(session: nox.Session) -> None:
    """Write ``config/providers.schema.json`` from the models of the configuration."""
    _run(session, "python", "-m", "adapters.config.schema")


@nox.session(python=PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """Run the tests on each installed Python of the classifiers; arguments are passed to pytest."""
    _install(session)
    session.run("pytest", "--quiet", *IN_PARALLEL, *session.posargs, env=BYTECODE)


@nox.session(default=False)
@nox.parametrize("version", LITELLM_VERSIONS)
def compat(session: nox.Session, version: str) -> None:
    """Run the tests that involve LiteLLM with another version of it; arguments are passed to pytest."""
    _install(session)
    session.install("--no-deps", f"litellm=={version}")  # newer ones ask for a certifi that not every index has yet
    session.install("h2>=4,<5")  # newer ones need it, and the lock's does not
    session.run("pytest", "--quiet", *IN_PARALLEL, *WIRE_TESTS, *session.posargs, env=BYTECODE)


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that ``pyproject.toml`` allows; arguments are passed to pytest."""
    session.install("--resolution", "lowest-direct", "-e", f".[{','.join(EXTRAS)}]", "--group", "dev")
    session.run("pytest", "--quiet", *IN_PARALLEL, *session.posargs, env=BYTECODE)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def audit(session: nox.Session) -> None:
    """Look for known vulnerabilities in the dependencies, if the database can be reached, and check licences."""
    _run(session, "python", ".ci/audit.py", LOCK)


@nox.session(venv_backend="none", requires=["dev"])
def package(session: nox.Session) -> None:
    """Build the package twice, check its content, and use it in an empty environment."""
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work)
    _build(session, Path(), work)
    wheel, sdist = next(work.glob("*.whl")), next(work.glob("*.tar.gz"))
    _check_content(session, wheel, sdist)
    _check_reproducible(session, wheel, sdist)
    _use_wheel(session, wheel, work / "env")


def _build(session: nox.Session, source: Path, target: Path, *args: str) -> None:
    options = ("--quiet", "--no-build-isolation", "--python", str(BIN / "python"), "--out-dir", str(target))
    _run(session, "uv", "build", *options, *args, str(source), env={"SOURCE_DATE_EPOCH": BUILD_TIME_S})


def _check_reproducible(session: nox.Session, wheel: Path, sdist: Path) -> None:
    """Fail unless building the sdist again, in another place and later, gives the same wheel byte for byte."""
    elsewhere = wheel.parent / "again"
    usual = os.umask(0o077)  # private file modes must not matter
    try:
        with tarfile.open(sdist) as archive:
            archive.extractall(elsewhere, filter="data")
        for path in elsewhere.rglob("*"):
            os.utime(path)
        _build(session, next(elsewhere.iterdir()), elsewhere, "--wheel")
    finally:
        os.umask(usual)
    first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, elsewhere / wheel.name))
    if first != second:
        session.error("the wheel differs when it is built again")
    session.log(f"{wheel.name} is {first} in every build")


def _use_wheel(session: nox.Session, wheel: Path, env: Path) -> None:
    """Use the installed package without extras, then with the embedded server."""
    constraint = str(Path(LOCK).resolve())
    install = ("uv", "pip", "install", "--quiet", "--python", str(env), "--constraint", constraint)
    _run(session, "uv", "venv", "--quiet", "--python", str(BIN / "python"), str(env))
    _run(session, *install, str(wheel))
    _share_bytecode(env)
    with session.chdir(wheel.parent):  # outside the checkout, whose package and configuration would be found first
        session.run(str(env / "bin" / "python"), "-c", IMPORTS_NOTHING_HEAVY, external=True, env=BYTECODE)
        session.run(str(env / "bin" / "adapters"), "providers", external=True, env=BYTECODE)
        _run(session, *install, f"{wheel}[local]")
        session.run(str(env / "bin" / "adapters"), "chat", "What is the weather in Paris?", external=True, env=BYTECODE)


def _share_bytecode(env: Path) -> None:
    """Let an environment use what the shared one has compiled, if the installer linked their files: they are the same.

    A module is compiled again if its file has another size or time.
    """
    shared, own = (next(folder.glob("lib/*/site-packages")) for folder in (BIN.parent, env))
    module = Path("litellm", "__init__.py")
    cache = Path(BYTECODE["PYTHONPYCACHEPREFIX"] or "")
    link = cache / own.relative_to("/")
    if (shared / module).samefile(own / module) and not link.is_symlink():
        shutil.rmtree(link, ignore_errors=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cache / shared.relative_to("/"))


def _check_content(session: nox.Session, wheel: Path, sdist: Path) -> None:
    """Fail unless the wheel has the package and its default configuration only, and the sdist all that builds it."""
    modules = {str(path) for path in Path("adapters").rglob("*") if path.suffix in {".py", ".typed"}}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        in_sdist = {name.split("/", maxsplit=1)[1] for name in archive.getnames()}
    if in_wheel != modules | {"adapters/providers.yaml"}:
        session.error(f"the wheel differs from the package in {sorted(in_wheel ^ modules)}")
    if missing := {*modules, "pyproject.toml", "README.md", "LICENSE", "config/providers.yaml"} - in_sdist:
        session.error(f"the sdist lacks {sorted(missing)}")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Write the locks from ``pyproject.toml``; ``nox -s lock -- --upgrade`` takes the newest version of everything."""
    session.install("uv")
    for lock, extras, groups in (LOCK, EXTRAS, ("dev", "bench")), (PIPECAT_LOCK, PIPECAT_EXTRAS, ("dev",)):
        session.run(
            *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
            *(option for extra in extras for option in ("--extra", extra)),
            *(option for group in groups for option in ("--group", group)),
            *("--generate-hashes", "--no-annotate", "--custom-compile-command", "nox -s lock"),
            *("pyproject.toml", "--output-file", lock, *session.posargs),
        )


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure speed beside other clients; ``-- --rounds 2 --rows burst,plain`` measures a part, ``-- turn`` turns."""
    session.install("uv", "--constraint", LOCK, "-e", ".[local,livekit]", "--group", "bench")
    what, *rest = session.posargs if session.posargs[:1] == ["turn"] else ["run", *session.posargs]
    session.run("python", "-m", f"tests.benchmarks.{what}", *rest, env=BYTECODE)
