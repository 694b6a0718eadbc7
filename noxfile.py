"""Every check of the project, one session each: ``nox`` runs what CI runs, ``nox -l`` lists the rest.

What a check means stands in ``pyproject.toml``; here stands only how it is started. Sessions install the locked
dependencies of ``.ci/dev.lock``, the same for all of them, so that uv fetches each package once.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tokenize
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True

LOCK = ".ci/dev.lock"
IN_PARALLEL = ("-n", "auto", "--dist", "worksteal")
PYTHON_FILES = ("adapters", "noxfile.py", "tests")

LITELLM_VERSIONS = ("1.100.5", "1.102.4", "1.104.9", "1.105.7", "1.106.10")
"""What ``compat`` tries; the range in ``pyproject.toml`` is never wider than what passes and can be installed."""

WIRE_TESTS = (
    "tests/test_agent_contract.py",
    "tests/test_captures.py",
    "tests/test_recorded.py",
    "tests/test_recorded_failures.py",
    "tests/test_recorded_requests.py",
    "tests/test_wire_cases.py",
)
"""What sees LiteLLM at work: the requests that it sends, and every server that it talks to."""

IMPORTS_NOTHING_HEAVY = "import adapters, sys; assert not {'litellm', 'openai', 'aiohttp'} & {*sys.modules}"

EXCEPTION = re.compile(r"# (noqa|type: ignore|pyright: ignore|pragma:)")
EXCEPTION_WITH_REASON = re.compile(
    r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)* - \w"
    r"|# (type|pyright): ignore\[[\w, -]+\]  # \w"
    r"|# pragma: no (cover|branch) - \w"
)


def _install(session: nox.Session, *, compiled: bool = False) -> None:
    """Install the lock, then the checkout on top of it: without an index, so that a lock that lags behind fails.

    Args:
        session: The session whose environment it is.
        compiled: Whether to compile all modules now: that pays where many processes import LiteLLM.
    """
    session.install("--require-hashes", "-r", LOCK, env={"UV_COMPILE_BYTECODE": "1"} if compiled else {})
    session.install("--no-index", "--no-build-isolation", "-e", ".[local,livekit,dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, the direction of imports, a fresh schema, and a reason for each exception to a rule."""
    _install(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-logo", silent=True)
    session.run("python", "-m", "adapters.config.schema", "--check")
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


@nox.session
def typing(session: nox.Session) -> None:
    """Check types: mypy over everything, pyright over the package and a file that uses it as users do."""
    _install(session)
    session.run("mypy")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests that need no server but scripted ones; arguments go to pytest."""
    _install(session, compiled=True)
    _pytest_with_coverage(session, "-m", "not integration", *IN_PARALLEL, *session.posargs)


@nox.session
def integration(session: nox.Session) -> None:
    """Run the tests against the real embedded server; arguments go to pytest."""
    _install(session, compiled=True)
    _pytest_with_coverage(session, "-m", "integration", *session.posargs)


def _pytest_with_coverage(session: nox.Session, *args: str) -> None:
    """Run pytest; keep what it covered in files of this session's own, for ``coverage`` to combine."""
    env = {"COVERAGE_FILE": f".coverage.{session.name}"}
    session.run("coverage", "erase", env=env)
    session.run("coverage", "run", "-m", "pytest", *args, env=env)


@nox.session(requires=["tests", "integration"])
def coverage(session: nox.Session) -> None:
    """Fail unless ``tests`` and ``integration`` together ran every line and every branch of the package."""
    _install(session)
    session.run("coverage", "combine", "--keep")
    session.run("coverage", "report")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Run the property tests with 20 000 examples and more; arguments go to pytest."""
    _install(session)
    no_time_limit = ("-o", "faulthandler_timeout=0")
    session.run("pytest", "-m", "hypothesis", *no_time_limit, *session.posargs, env={"HYPOTHESIS_PROFILE": "fuzz"})


@nox.session(default=False)
def record(session: nox.Session) -> None:
    """Start the real servers and record the conversations anew; arguments name the servers, without them all."""
    _install(session)
    session.run("python", "-m", "tests.servers.record", *session.posargs)


@nox.session(default=False)
def schema(session: nox.Session) -> None:
    """Write ``config/providers.schema.json`` from the models of the configuration."""
    _install(session)
    session.run("python", "-m", "adapters.config.schema")


@nox.session(default=False)
@nox.parametrize("version", LITELLM_VERSIONS)
def compat(session: nox.Session, version: str) -> None:
    """Run the tests over the wire with another version of LiteLLM; arguments go to pytest."""
    _install(session)
    session.install("--no-deps", f"litellm=={version}")  # newer ones ask for a certifi that is not published yet
    session.run("pytest", *IN_PARALLEL, *WIRE_TESTS, *session.posargs)


@nox.session(default=False, venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that ``pyproject.toml`` allows; arguments go to pytest."""
    session.install("--resolution", "lowest-direct", "-e", ".[local,livekit,dev]")
    session.run("pytest", *IN_PARALLEL, *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build the package, look into it, and use it where nothing else is installed."""
    _install(session)
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work)
    session.run("uv", "build", "--no-build-isolation", "--out-dir", str(work), silent=True)
    wheel, sdist = next(work.glob("*.whl")), next(work.glob("*.tar.gz"))
    _check_content(session, wheel, sdist)

    _use_wheel(session, wheel, work / "env")


def _use_wheel(session: nox.Session, wheel: Path, env: Path) -> None:
    """Use the package as somebody who has only installed it: without extras, then with the embedded server."""
    constraint = str(Path(LOCK).resolve())
    install = ("uv", "pip", "install", "--quiet", "--python", str(env), "--constraint", constraint)
    session.run("uv", "venv", "--quiet", str(env))
    session.run(*install, str(wheel))
    with session.chdir(wheel.parent):  # not the checkout, whose package and configuration would be found first
        session.run(str(env / "bin" / "python"), "-c", IMPORTS_NOTHING_HEAVY, external=True)
        session.run(str(env / "bin" / "adapters"), "providers", external=True)
        session.run(*install, f"{wheel}[local]")
        session.run(str(env / "bin" / "adapters"), "chat", "What is the weather in Paris?", external=True)


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
    """Write the lock anew from ``pyproject.toml``; ``nox -s lock -- --upgrade`` takes the newest of everything."""
    session.install("uv")
    session.run(
        *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--all-extras"),
        *("--generate-hashes", "--no-annotate", "--custom-compile-command", "nox -s lock"),
        *("pyproject.toml", "--output-file", LOCK, *session.posargs),
    )
