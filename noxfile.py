"""Every check of the project, one session each: ``nox`` runs what CI runs (``check``), ``nox -l`` lists the rest.

What a check means stands in ``pyproject.toml``; here stands only how it is started. Nearly all sessions use one
environment, ``.nox/dev``, which holds the locked dependencies of ``.ci/dev.lock`` and is made anew only when these
change; compiled modules lie in ``.nox/bytecode``, so that each is compiled once whoever imports it.
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
EXTRAS = ("local", "livekit", "mcp", "otel", "dev")
PIPECAT_EXTRAS = ("pipecat", "local", "dev")
BIN = Path(".nox/dev/bin").absolute()
BYTECODE = {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": str(Path(".nox/bytecode").absolute())}
IN_PARALLEL = ("-n", "auto", "--dist", "worksteal")
PYTHON_FILES = (".ci", "adapters", "noxfile.py", "tests")
PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))

LITELLM_VERSIONS = ("1.102.4", "1.106.10", "1.108.11", "1.109.3")
"""What ``compat`` tries; the range in ``pyproject.toml`` is never wider than what passes."""

WIRE_TESTS = (
    "tests/test_agent_contract.py",
    "tests/recorded/test_captures.py",
    "tests/recorded/test_recorded.py",
    "tests/recorded/test_recorded_failures.py",
    "tests/recorded/test_recorded_requests.py",
    "tests/testing/test_wire_cases.py",
    "tests/transport/test_litellm_bridge.py",
)
"""What sees LiteLLM at work: the requests that it sends, and every server that it talks to."""

COMPILED_FIRST = "import litellm.main, livekit.agents, adapters.transport.http"
"""What all processes of the tests import: compiled by one of them, and not by each that comes before it is."""

IMPORTS_NOTHING_HEAVY = "import adapters, sys; assert not {'litellm', 'openai', 'aiohttp'} & {*sys.modules}"

BUILD_TIME_S = "1580601600"
"""The time that files have in a package: the same for whoever builds it, and not before 1980, which zip cannot tell."""

EXCEPTION = re.compile(r"# (noqa|type: ignore|pyright: ignore|pragma:)")
EXCEPTION_WITH_REASON = re.compile(
    r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)* - \w"
    r"|# (type|pyright): ignore\[[\w, -]+\]  # \w"
    r"|# pragma: no (cover|branch) - \w"
)


@nox.session(venv_backend="none", requires=["dev"])
def check(session: nox.Session) -> None:
    """Run what CI runs, in two rows at once: tests wait as often as they compute, and the rest fills their pauses."""
    with ThreadPoolExecutor() as at_once:
        beside = at_once.submit(_nox, session, "lint", "typing", "package", "pipecat", silent=True)  # shown if it fails
        _nox(session, "tests")
        beside.result()
    _nox(session, "coverage")


def _nox(session: nox.Session, *sessions: str, silent: bool = False) -> None:
    """Run sessions one after the other in a process of their own."""
    session.run(sys.executable, "-m", "nox", "--session", *sessions, external=True, silent=silent)


@nox.session(reuse_venv=True, default=False)
def dev(session: nox.Session) -> None:
    """Install what the lock names, and the checkout, for all the sessions that want nothing else; others start it."""
    stamp = Path(session.virtualenv.location) / "installed"
    wanted = hashlib.sha256(Path(LOCK).read_bytes() + Path("pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        session.log("Everything is installed already.")
        return
    stamp.unlink(missing_ok=True)
    _install(session)
    stamp.write_text(wanted, encoding="utf-8")


def _install(session: nox.Session, lock: str = LOCK, extras: Sequence[str] = EXTRAS) -> None:
    """Install the lock and no more, and the checkout without an index, so that a lock that lags behind fails."""
    session.run_install("uv", "pip", "sync", "--quiet", "--require-hashes", lock)
    session.install("--no-index", "--no-build-isolation", "-e", f".[{','.join(extras)}]")


def _run(session: nox.Session, program: str, *args: str, env: Mapping[str, str | None] | None = None) -> None:
    """Run a program of the shared environment."""
    path = {"PATH": os.pathsep.join([str(BIN), os.environ["PATH"]])}
    session.run(str(BIN / program), *args, env={**path, **BYTECODE, **(env or {})}, external=True)


@nox.session(venv_backend="none", requires=["dev"])
def lint(session: nox.Session) -> None:
    """Style, format, the direction of imports, a fresh schema, and a reason for each exception to a rule."""
    _run(session, "ruff", "check")
    _run(session, "ruff", "format", "--check")
    _run(session, "lint-imports", "--no-logo")
    _run(session, "python", "-m", "adapters.config.schema", "--check")
    unexplained = [line for name in PYTHON_FILES for line in _unexplained_exceptions(Path(name))]
    if unexplained:
        session.error("write why the rule does not hold here:\n" + "\n".join(unexplained))


def _unexplained_exceptions(path: Path) -> list[str]:
    """Return ``file:line: comment`` for each comment that silences a tool and does not say why."""
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
    """Check types: mypy over everything, pyright over the package and a file that uses it as users do."""
    with ThreadPoolExecutor() as at_once:  # each uses one core
        for check in [at_once.submit(_run, session, program) for program in ("mypy", "pyright")]:
            check.result()


@nox.session(venv_backend="none", requires=["dev"])
def tests(session: nox.Session) -> None:
    """Run the tests and note what they cover; with arguments, which go to pytest, only run what they ask for."""
    if session.posargs:
        _run(session, "pytest", *session.posargs)
        return
    _run(session, "coverage", "erase")
    _run(session, "python", "-c", COMPILED_FIRST, env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"})  # as adapters sets it
    _run(session, "coverage", "run", "-m", "pytest", "--quiet", *IN_PARALLEL)


@nox.session(reuse_venv=True)
def pipecat(session: nox.Session) -> None:
    """Run the tests of ``adapters.pipecat`` and note what they cover; arguments go to pytest.

    In an environment of its own: pipecat and LiveKit want different versions of protobuf.
    """
    _install(session, PIPECAT_LOCK, PIPECAT_EXTRAS)
    session.run("coverage", "run", "-m", "pytest", "--quiet", "tests/test_pipecat.py", *session.posargs, env=BYTECODE)


@nox.session(venv_backend="none", requires=["dev"])
def coverage(session: nox.Session) -> None:
    """Fail unless ``tests`` and ``pipecat``, which come first, ran every line and every branch of the package."""
    _run(session, "coverage", "combine", "--quiet")
    _run(session, "coverage", "report")


@nox.session(venv_backend="none", requires=["dev"], default=False)
def integration(session: nox.Session) -> None:
    """Run those of the tests that start the real embedded server; arguments go to pytest."""
    _run(session, "pytest", "-m", "integration", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def fuzz(session: nox.Session) -> None:
    """Run the property tests with 20 000 examples and more; arguments go to pytest."""
    no_time_limit = ("-o", "faulthandler_timeout=0")
    _run(session, "pytest", "-m", "hypothesis", *no_time_limit, *session.posargs, env={"HYPOTHESIS_PROFILE": "fuzz"})


@nox.session(venv_backend="none", requires=["dev"], default=False)
def record(session: nox.Session) -> None:
    """Start the real servers and record the conversations anew; arguments name the servers, without them all."""
    _run(session, "python", "-m", "tests.servers.record", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def scale(session: nox.Session) -> None:
    """Load LiteLLM proxies with Redis and two model servers, and kill a server; ``-- --seconds N`` of load."""
    _run(session, "python", "-m", "tests.scale", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def pictures(session: nox.Session) -> None:
    """Take the README's pictures of the command line anew."""
    _run(session, "python", "-m", "tests.pictures")


@nox.session(venv_backend="none", requires=["dev"], default=False)
def soak(session: nox.Session) -> None:
    """Ask for ten minutes, every fault at once; nothing may be lost, mixed or leaked; ``-- --minutes N``."""
    _run(session, "python", "-m", "tests.soak", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def schema(session: nox.Session) -> None:
    """Write ``config/providers.schema.json`` from the models of the configuration."""
    _run(session, "python", "-m", "adapters.config.schema")


@nox.session(python=PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """Run the tests on each Python of the classifiers that is installed here; arguments go to pytest."""
    _install(session)
    session.run("pytest", "--quiet", *IN_PARALLEL, *session.posargs, env=BYTECODE)


@nox.session(default=False)
@nox.parametrize("version", LITELLM_VERSIONS)
def compat(session: nox.Session, version: str) -> None:
    """Run the tests over the wire with another version of LiteLLM; arguments go to pytest."""
    _install(session)
    session.install("--no-deps", f"litellm=={version}")  # newer ones ask for a certifi that not every index has yet
    session.install("h2>=4,<5")  # newer ones need it, and the lock's does not
    session.run("pytest", "--quiet", *IN_PARALLEL, *WIRE_TESTS, *session.posargs, env=BYTECODE)


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that ``pyproject.toml`` allows; arguments go to pytest."""
    session.install("--resolution", "lowest-direct", "-e", f".[{','.join(EXTRAS)}]")
    session.run("pytest", "--quiet", *IN_PARALLEL, *session.posargs, env=BYTECODE)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def audit(session: nox.Session) -> None:
    """Known holes in what we depend on, where the database of them can be reached, and the licence of each part."""
    _run(session, "python", ".ci/audit.py", LOCK)


@nox.session(venv_backend="none", requires=["dev"])
def package(session: nox.Session) -> None:
    """Build the package twice, look into it, and use it where nothing else is installed."""
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
    """Fail unless somebody else, elsewhere and later, gets the same wheel, byte for byte, from the sdist."""
    elsewhere = wheel.parent / "again"
    usual = os.umask(0o077)  # what is private there may not show
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
    session.log(f"{wheel.name} is {first}, whoever builds it")


def _use_wheel(session: nox.Session, wheel: Path, env: Path) -> None:
    """Use the package as somebody who has only installed it: without extras, then with the embedded server."""
    constraint = str(Path(LOCK).resolve())
    install = ("uv", "pip", "install", "--quiet", "--python", str(env), "--constraint", constraint)
    _run(session, "uv", "venv", "--quiet", "--python", str(BIN / "python"), str(env))
    _run(session, *install, str(wheel))
    with session.chdir(wheel.parent):  # not the checkout, whose package and configuration would be found first
        session.run(str(env / "bin" / "python"), "-c", IMPORTS_NOTHING_HEAVY, external=True, env=BYTECODE)
        session.run(str(env / "bin" / "adapters"), "providers", external=True, env=BYTECODE)
        _run(session, *install, f"{wheel}[local]")
        session.run(str(env / "bin" / "adapters"), "chat", "What is the weather in Paris?", external=True, env=BYTECODE)


def _check_content(session: nox.Session, wheel: Path, sdist: Path) -> None:
    """Fail unless the wheel holds the package and its default configuration alone, and the sdist all to build it."""
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
    """Write the locks anew from ``pyproject.toml``; ``nox -s lock -- --upgrade`` takes the newest of everything."""
    session.install("uv")
    for lock, extras in {LOCK: (*EXTRAS, "bench"), PIPECAT_LOCK: PIPECAT_EXTRAS}.items():
        session.run(
            *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
            *(option for extra in extras for option in ("--extra", extra)),
            *("--generate-hashes", "--no-annotate", "--custom-compile-command", "nox -s lock"),
            *("pyproject.toml", "--output-file", lock, *session.posargs),
        )


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure speed beside the peers; ``-- --rounds 2 --rows burst,plain`` is a part of it, ``-- turn`` whole turns."""
    session.install("uv", "--constraint", LOCK, "-e", ".[local,livekit,bench]")
    what, *rest = session.posargs if session.posargs[:1] == ["turn"] else ["run", *session.posargs]
    session.run("python", "-m", f"tests.benchmarks.{what}", *rest, env=BYTECODE)
