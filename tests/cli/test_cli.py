"""The command line: what is on stdout, what is on stderr, and with which code it ends.

Commands run in this process over a scripted server; pipes, terminals and signals are shown with real processes.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import pytest
from click.testing import CliRunner

from adapters.cli import main
from adapters.cli.base import printable
from adapters.cli.demo_tools import DEMO_TOOLS, call_demo_tool
from adapters.cli.view import Screen
from adapters.factory import create_provider
from adapters.testing.answers import answer, call, reply, said, stream
from adapters.types import ToolsRunning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from adapters.testing import ScriptedServer


pytest_plugins = ["adapters.testing.plugin"]

Start: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"

KEY = "sk-cli-0123456789"
PATIENCE_S = 60  # a process that starts on a busy machine takes its time
WEATHER = answer("One moment.", calls=[call("get_weather", '{"city": "Paris"}')])
SUNNY = answer("It is ", "sunny.", usage={"prompt_tokens": 20, "completion_tokens": 4})


@pytest.fixture
def server(scripted_server: ScriptedServer) -> ScriptedServer:
    """The scripted server, on a loop of its own: the commands under test run loops themselves."""
    return scripted_server


@pytest.fixture
def config(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose default talks to the scripted server, found through the environment."""
    path = tmp_path / "providers.yaml"
    path.write_text(
        f"""
default: scripted
providers:
  scripted:
    kind: openai_compatible
    model: small
    base_url: {server.add("cli", SUNNY)}
    api_key: {KEY}
    retry: {{attempts: 1}}
  open:
    kind: ollama
    model: qwen3:8b
  cloud:
    kind: openrouter
    model: some/model
    api_key: os.environ/CLOUD_KEY
  groq:
    kind: groq
    model: llama
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("ADAPTERS_CONFIG", str(path))
    return path


@pytest.fixture
def broken_config(tmp_path: Path) -> Path:
    """A configuration whose embedded server has no model to run."""
    path = tmp_path / "broken.yaml"
    path.write_text("default: mine\nproviders: {mine: {kind: local, model_path: gone.gguf}}", encoding="utf-8")
    return path


def run(*args: str, stdin: str = "") -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, args, input=stdin)


def bodies(server: ScriptedServer) -> list[dict[str, Any]]:
    """What the server was asked."""
    return server.seen["cli"].bodies


def test_turn_with_a_tool(config: Path, server: ScriptedServer) -> None:
    """The words are on stdout; the call, its result, and the count are on stderr, without a single escape."""
    server.add("cli", WEATHER, SUNNY)

    result = run("chat", "weather?")

    assert (result.exit_code, result.stdout) == (0, "One moment.\nIt is sunny.\n")
    called, found, count = result.stderr.splitlines()
    assert called == '→ get_weather {"city": "Paris"}'
    assert found == '← {"city": "Paris", "temperature": 21, "unit": "c", "sky": "sunny"}'
    assert count.startswith("27 tokens in, 7 out, ")
    assert count.endswith(" s")
    assert bodies(server)[0]["tools"] == DEMO_TOOLS


def test_fallbacks_answer(config: Path, server: ScriptedServer) -> None:
    """A provider with fallbacks is asked like any other; who answered is told."""
    server.add("cli", SUNNY)
    rows = config.read_text(encoding="utf-8")
    away = (
        "  away: {kind: ollama, model: m, base_url: 'http://127.0.0.1:9', retry: {attempts: 1}, fallbacks: [scripted]}"
    )
    config.write_text(f"{rows}{away}\n", encoding="utf-8")

    result = run("chat", "-p", "away", "--json", "weather?")

    value = json.loads(result.stdout)
    assert (value["content"], value["provider"], result.exit_code) == ("It is sunny.", "scripted", 0)


def test_failed_tool(config: Path, server: ScriptedServer) -> None:
    """A tool that fails is shown as such, and the turn goes on."""
    server.add("cli", answer(calls=[call("get_weather", '{"city": "Paris", "unit": "k"}')]), SUNNY)

    result = run("chat", "weather?")

    assert (result.exit_code, result.stdout) == (0, "It is sunny.\n")
    assert "✗ The tool get_weather failed: unit must be c or f\n" in result.stderr


def test_long_results_are_cut(config: Path, server: ScriptedServer) -> None:
    """A long argument is shown in one line of 200 characters."""
    server.add("cli", answer(calls=[call("get_weather", json.dumps({"city": "x\n" * 500}))]), SUNNY)

    result = run("chat", "weather?")

    assert [len(line) for line in result.stderr.splitlines()[:2]] == [200, 200]
    assert result.stderr.splitlines()[0].endswith("…")


def test_json(config: Path, server: ScriptedServer) -> None:
    """``--json`` prints one object with everything, and nothing else."""
    server.add("cli", WEATHER, SUNNY)

    result = run("chat", "weather?", "--json")

    value = json.loads(result.stdout)
    assert isinstance(value.pop("seconds"), float)
    assert value == {
        "content": "One moment.\nIt is sunny.",
        "tool_calls": [
            {
                "id": "call00001",
                "name": "get_weather",
                "arguments": {"city": "Paris"},
                "result": '{"city": "Paris", "temperature": 21, "unit": "c", "sky": "sunny"}',
                "failed": False,
            }
        ],
        "usage": {
            "prompt_tokens": 27,
            "completion_tokens": 7,
            "cached_tokens": None,
            "reasoning_tokens": None,
            "cost": None,
        },
        "model": "m",
        "provider": "scripted",
    }
    assert (result.exit_code, result.stderr) == (0, "")


def test_json_without_usage(config: Path, server: ScriptedServer) -> None:
    """Tokens that the server did not count are null, in JSON and on the screen."""
    server.add("cli", answer("Hi.", usage=None))

    assert json.loads(run("chat", "hi", "--json").stdout)["usage"] is None
    assert "tokens" not in run("chat", "hi").stderr


def test_error(config: Path, server: ScriptedServer) -> None:
    """A failure is one line on stderr and exit code 1; the words before it stay."""
    server.add("cli", (*stream(said("Half"), done=False)[:-1], "eof"))

    result = run("chat", "hi")

    assert (result.exit_code, result.stdout) == (1, "Half\n")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_error_before_any_request(broken_config: Path) -> None:
    """An error that the provider finds by itself is one line, too."""
    result = run("chat", "hi", "--config", str(broken_config))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_error_as_json(config: Path, server: ScriptedServer) -> None:
    """With ``--json`` a failure is an object on stdout and exit code 1."""
    server.add("cli", reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, "401 Unauthorized"))

    result = run("chat", "hi", "--json")

    assert (result.exit_code, result.stderr) == (1, "")
    assert list(json.loads(result.stdout)) == ["error"]
    assert KEY not in result.stdout


@pytest.mark.parametrize(
    ("args", "stdin", "words"),
    [
        pytest.param(["chat", " "], "", "The prompt is empty.", id="blank prompt"),
        pytest.param(["chat", "-"], "\n", "The prompt is empty.", id="blank input"),
        pytest.param(["chat", "a", "b"], "", "unexpected extra argument", id="two prompts"),
        pytest.param(["chat", "--nope"], "", "No such option", id="unknown option"),
    ],
)
def test_usage_error(config: Path, args: list[str], stdin: str, words: str) -> None:
    """A wrong command line ends with 2 and says why on stderr."""
    result = run(*args, stdin=stdin)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_options_of_a_turn(config: Path, server: ScriptedServer) -> None:
    """``-m``, ``--system`` and ``--no-tools`` change the request."""
    run("chat", "hi", "-m", "large", "--system", "Be brief.", "--no-tools")

    body = bodies(server)[0]
    assert body["model"] == "large"
    assert "tools" not in body
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


def test_encoding_that_lacks_characters(config: Path, server: ScriptedServer) -> None:
    """What an encoding lacks becomes a question mark on its way out, and does not fail on its way in."""
    server.add("cli", answer("21 °C ☀", calls=[call("get_time", "{}")]), SUNNY)

    result = CliRunner(charset="latin-1").invoke(main, ["chat", "hi"])
    replaced = CliRunner().invoke(main, ["chat", "-"], input=b"caf\xe9")

    assert (result.exit_code, result.stdout_bytes) == (0, b"21 \xb0C ?\nIt is sunny.\n")
    assert b"? get_time {}" in result.stderr_bytes
    assert replaced.exit_code == 0
    assert bodies(server)[-1]["messages"] == [{"role": "user", "content": "caf\ufffd"}]


def test_prompt_from_stdin(config: Path, server: ScriptedServer) -> None:
    """``-`` makes the whole input one question."""
    run("chat", "-", stdin="two\nlines\n")

    assert bodies(server)[0]["messages"] == [{"role": "user", "content": "two\nlines"}]


def test_conversation_from_a_pipe(config: Path, server: ScriptedServer) -> None:
    """Without a prompt each line that is not blank is a turn, and the history goes along."""
    result = run("chat", stdin="first\n\nsecond\n")

    assert (result.exit_code, result.stdout) == (0, "It is sunny.\nIt is sunny.\n")
    assert bodies(server)[1]["messages"] == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "It is sunny."},
        {"role": "user", "content": "second"},
    ]


def test_address_without_provider(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--base-url`` alone needs no configuration."""
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.yaml"))
    url = server.add("cli", SUNNY)

    result = run("chat", "hi", "--base-url", url, "-m", "small", "--json")

    assert json.loads(result.stdout)["provider"] == "openai_compatible"


def test_address_of_a_provider(config: Path, server: ScriptedServer) -> None:
    """``--base-url`` beside ``--provider`` replaces the address of that provider."""
    url = server.add("cli", SUNNY)

    result = run("chat", "hi", "-p", "open", "--base-url", url, "--json")

    assert json.loads(result.stdout)["provider"] == "open"
    assert bodies(server)[0]["model"] == "qwen3:8b"


def test_nothing_to_answer(config: Path, server: ScriptedServer) -> None:
    """An empty input asks nothing, and that is no failure."""
    result = run("chat", stdin="")

    assert (result.exit_code, result.output) == (0, "")
    assert bodies(server) == []


def test_no_stdin(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A service whose standard input is closed can run a command."""
    monkeypatch.setattr(sys, "stdin", None)

    assert main(["config", "check", "--config", "none.yaml"], standalone_mode=False) == 1

    assert capsys.readouterr().err.startswith("Error: ")


def test_nothing_steers_the_terminal(config: Path, server: ScriptedServer) -> None:
    """Escape sequences of models and tools lose their escape; rich's markup and emoji codes are text."""
    evil = "\x1b]0;title\x07\x1b[31m[bold]red[/bold] :smile:\r\x9b2J\tx\n"
    server.add("cli", answer(evil, calls=[call("get_weather", json.dumps({"city": evil}))]), SUNNY)

    result = run("chat", "hi")

    assert result.stdout == "]0;title[31m[bold]red[/bold] :smile:2J\tx\n\nIt is sunny.\n"
    assert "[bold]red[/bold] :smile:" in result.stderr
    assert all(char == "\n" or char.isprintable() for char in result.stderr)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\tb\nc", "a\tb\nc", id="tab and newline stay"),
        pytest.param("\x00a\x08\x0b\r\x1b\x7f\x85\x9bb", "ab", id="C0, DEL and C1"),
        pytest.param("👩‍👩‍👧 é ☀️", "👩‍👩‍👧 é ☀️", id="joined emoji stay"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    """Every control character but newline and tab goes, and nothing else."""
    assert printable(text) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        pytest.param(
            "get_weather",
            {"city": "Rome", "unit": "f"},
            {"city": "Rome", "temperature": 70, "unit": "f", "sky": "sunny"},
            id="fahrenheit",
        ),
        pytest.param(
            "get_wether", {}, LookupError("there is no such tool; there are get_weather, get_time"), id="name"
        ),
    ],
)
async def test_demo_tool(name: str, arguments: dict[str, Any], result: Any) -> None:
    """The demo tools do as their schema says, and refuse other names."""
    if isinstance(result, Exception):
        with pytest.raises(type(result), match=str(result)):
            await call_demo_tool(name, arguments)
    else:
        assert await call_demo_tool(name, arguments) == result


async def test_demo_time() -> None:
    """The time is that of this machine."""
    assert str(time.localtime().tm_year) in await call_demo_tool("get_time", {})


def test_providers(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row tells name, kind, model, address and whether there is a key, and never the key."""
    monkeypatch.setenv("CLOUD_KEY", KEY)

    result = run("providers")

    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["name", "kind", "model", "base", "URL", "key"]
    assert lines[1][:4] == ["scripted", "(default)", "openai_compatible", "small"]
    assert [line[-1] for line in lines[1:]] == ["found", "set", "found", "missing"]
    assert KEY not in result.output


def test_providers_as_json(config: Path) -> None:
    """``--json`` gives the same as a list of objects."""
    rows = json.loads(run("providers", "--json").stdout)

    assert rows[1] == {
        "name": "open",
        "kind": "ollama",
        "model": "qwen3:8b",
        "base_url": "http://localhost:11434/v1",
        "key": "not set",
        "default": False,
    }
    assert [row["key"] for row in rows] == ["found", "not set", "missing", "missing"]


def test_models(config: Path, server: ScriptedServer) -> None:
    """A row tells id, context, tools and prices; what the server does not say is a dash."""
    known = {
        "id": "a/one",
        "name": "One",
        "context_length": 8192,
        "supported_parameters": ["tools"],
        "pricing": {"prompt": "0.0000005", "completion": "0"},
    }
    mute = {"id": "a/two", "name": "Two", "supported_parameters": ["temperature"]}
    server.add("cli", reply({"data": [known, mute, {"id": "three"}]}))

    result = run("models")

    assert [line.split() for line in result.stdout.splitlines()] == [
        ["id", "context", "tools", "$/M", "in", "$/M", "out"],
        ["a/one", "8192", "yes", "0.5", "0"],
        ["a/two", "-", "no", "-", "-"],
        ["three", "-", "-", "-", "-"],
    ]
    assert [model["id"] for model in json.loads(run("models", "--tools", "--json").stdout)] == ["a/one", "three"]
    assert json.loads(run("models", "--json").stdout)[0]["prompt_usd_per_mtok"] == 0.5
    assert json.loads(run("models", "--free", "--json").stdout) == []


@pytest.mark.parametrize(
    ("entries", "args", "ids", "hints"),
    [
        pytest.param([], [], [], ["scripted offers no models."], id="no models"),
        pytest.param(
            [{"id": "a"}],
            ["--search", "b"],
            [],
            ["None of the 1 models of scripted fits. Leave out a filter."],
            id="a filter that leaves nothing",
        ),
        pytest.param(
            [{"id": "a"}, {"id": "b", "supported_parameters": ["tools"]}],
            ["--tools"],
            ["a", "b"],
            ["scripted does not tell of all models whether they can call tools; those are listed, too."],
            id="a server that does not tell of tools",
        ),
        pytest.param(
            [{"id": "a"}],
            ["--max-price", "1"],
            [],
            ["None of the 1 models of scripted fits. Leave out a filter.", "scripted does not tell its prices."],
            id="a server that does not tell of prices",
        ),
        pytest.param(
            [{"id": name, "pricing": {"prompt": usd, "completion": "0"}} for name, usd in (("a", "2"), ("b", "1"))],
            ["--sort", "price", "--max-price", "2000000"],
            ["b", "a"],
            [],
            id="cheapest first",
        ),
    ],
)
def test_filters_of_models(
    config: Path, server: ScriptedServer, entries: list[Any], args: list[str], ids: list[str], hints: list[str]
) -> None:
    """What a filter takes away, and what the server does not tell, is said beside the table."""
    server.add("cli", reply({"data": entries}))

    result = run("models", *args)

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ids
    assert result.stderr.splitlines() == hints


def test_models_of_another_server(config: Path, broken_config: Path, server: ScriptedServer) -> None:
    """A server that no row names is asked with what the row has besides, or with nothing."""
    base_url = server.add("elsewhere", reply({"data": [{"id": "there"}]}))

    for path in (config, broken_config):
        result = run("models", "--config", str(path), "--base-url", base_url, "--json")
        assert [model["id"] for model in json.loads(result.stdout)] == ["there"]


def test_models_of_the_embedded_server(broken_config: Path) -> None:
    """The embedded server is not started to tell that it has one model."""
    result = run("models", "--config", str(broken_config))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: mine has one model")


def test_check_of_what_is_used(config: Path) -> None:
    """What is wrong with providers that nobody asked for is a warning; the file that was read is always named."""
    result = run("config", "check")

    first, second = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (
        0,
        f"{config}: scripted can be used. The default is scripted.\n",
    )
    assert first.startswith(f"Warning: {config}:")
    assert "CLOUD_KEY" in first
    assert "GROQ_API_KEY" in second


def test_check_of_one_provider(config: Path) -> None:
    """The provider that is named must be without a fault, and must be there."""
    result = run("config", "check", "-p", "cloud")

    error, warning = sorted(result.stderr.splitlines())
    assert (result.exit_code, result.stdout) == (1, "")
    assert error.startswith(f"Error: {config}:")
    assert "CLOUD_KEY" in error
    assert warning.startswith("Warning: ")
    assert "did you mean cloud?" in run("config", "check", "-p", "clod").stderr


def test_check_tells_everything_at_once(tmp_path: Path) -> None:
    """Mistakes in the file do not hide the variables that are not set, nor a model file that is none."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"no model")
    path = tmp_path / "providers.yaml"
    path.write_text(
        f"""
default: mine
providers:
  mine: {{kind: local, model_path: {model}}}
  groq: {{kind: groq, model: m, api_key: os.environ/NOT_SET_AT_ALL}}
  server: {{kind: openai_compatible, model: m, base_url: $SERVER, api_key: "${{KEY}}"}}
  other: 7
"""
    )

    result = run("config", "check", "--config", str(path), "-p", "mine")

    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.split(":")[0] for line in lines] == ["Warning", "Error", "Error", "Error", "Error"]
    assert all(str(path) in line for line in lines)
    assert "NOT_SET_AT_ALL" in lines[0]
    assert "api_key is a shell's way to name a variable; write os.environ/KEY" in lines[1]
    assert "base_url is a shell's way to name a variable; write os.environ/SERVER" in lines[2]
    assert "other must be a block" in lines[3]
    assert "is not a GGUF file" in lines[4]


@pytest.mark.parametrize("text", ["providers: 7", "providers: {a: {kind: groq}}", "default: [", "7"])
def test_check_of_a_file_that_is_of_no_use(tmp_path: Path, text: str) -> None:
    """Whatever is wrong, it is lines that name the file."""
    path = tmp_path / "providers.yaml"
    path.write_text(text)

    result = run("config", "check", "--config", str(path))

    assert (result.exit_code, result.stdout) == (1, "")
    assert all(line.startswith(f"Error: {path}") for line in result.stderr.splitlines())


@pytest.mark.parametrize("file", sorted(Path("config").glob("*.yaml")), ids=str)
def test_check_of_our_own_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file that the project shows can be used as it is; the one of LiteLLM's proxy says that it is not ours."""
    monkeypatch.setenv("PROXY_1", "http://proxy-1:4000/v1")
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)

    result = run("config", "check", "--config", str(file))

    if file.name == "litellm-proxy.yaml":
        assert "is for LiteLLM's own proxy server: this file is not ours" in result.stderr
    else:
        assert result.exit_code == 0


def test_schema() -> None:
    """The schema comes with the package."""
    shown = json.loads(run("config", "schema").stdout)

    assert shown == json.loads(Path("config/providers.schema.json").read_text(encoding="utf-8"))


def test_check_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there is one line."""
    result = run("config", "check", "--config", str(tmp_path / "none.yaml"))

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts real processes of the command line, and leaves none behind."""
    with contextlib.ExitStack() as stack:

        def start_one(*args: str, **streams: Any) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "adapters", *args]
            streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
            process = stack.enter_context(subprocess.Popen(command, **streams))
            stack.callback(process.kill)
            return process

        yield start_one


def output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    """The pipe that the process writes to."""
    assert process.stdout is not None
    return process.stdout


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_help_loads_nothing_heavy() -> None:
    """Before a command runs, nothing is imported that only a request needs."""
    code = "import adapters.__main__, sys; print({'litellm', 'openai', 'aiohttp', 'httpx'} & {*sys.modules})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout == "set()\n"


def test_module_is_the_command(start: Start) -> None:
    """``python -m adapters`` is ``adapters``."""
    out, _ = start("--help").communicate()

    assert out.startswith(b"Usage: adapters [OPTIONS] COMMAND")


def test_reader_that_leaves(config: Path, server: ScriptedServer, start: Start) -> None:
    """A pipe that closes early ends the turn and its request, with no traceback."""
    server.add("cli", (*stream(said("one "), done=False)[:-1], 0.3, *stream(said("two "))[1:-1], "hang"))
    process = start("chat", "hi")

    assert output(process).read(4) == b"one "
    output(process).close()
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert b"Traceback" not in errors
    wait_until(lambda: server.seen["cli"].gone_at)


def test_interrupt(config: Path, server: ScriptedServer, start: Start) -> None:
    """Ctrl-C closes the request and ends with 130 and no traceback."""
    server.add("cli", (*stream(said("Half"), done=False)[:-1], "hang"))
    process = start("chat", "hi")
    assert output(process).read(4) == b"Half"

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, errors.strip()) == (130, b"")
    wait_until(lambda: server.seen["cli"].gone_at)


class Terminal:
    """A pseudo-terminal with a process at its other end."""

    def __init__(self, start: Start, *args: str) -> None:
        self.text = ""
        self._end, others_end = pty.openpty()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._seen = 0
        self.process = start(*args, stdin=others_end, stdout=others_end, stderr=others_end)
        os.close(others_end)

    def expect(self, words: str) -> None:
        """Read on until these words have come."""
        while words not in self.text[self._seen :]:
            self.text += self._decoder.decode(os.read(self._end, 4096))
        self._seen = self.text.index(words, self._seen) + len(words)

    def type(self, keys: str) -> None:
        """Write as a person does."""
        os.write(self._end, keys.encode())

    def type_until_the_end(self, keys: str) -> None:
        """Write again and again: what comes while readline takes the terminal over is lost."""
        while self.process.poll() is None:
            self.type(keys)
            time.sleep(0.1)

    def wait(self) -> int:
        """Wait for the process to end, and tell its exit code."""
        code = self.process.wait(timeout=PATIENCE_S)
        os.close(self._end)
        return code


def test_conversation_on_a_terminal(
    config: Path, server: ScriptedServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person gets a prompt, a spinner and answers, goes on after an error, and leaves with Ctrl-D."""
    refused = reply({"error": {"message": "bad"}}, "400 Bad Request")
    server.add("cli", (0.4, *WEATHER.stream), SUNNY, refused, SUNNY)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal(start, "chat")

    for words, expected in (("weather?", "7 out,"), ("more", "Error: "), ("and?", "4 out,")):
        terminal.expect("> ")
        terminal.type(f"{words}\n")
        terminal.expect(expected)
    terminal.expect("> ")
    terminal.type_until_the_end("\x04")

    assert terminal.wait() == 0
    assert "One moment.\r\n" in terminal.text
    assert "\x1b[?25l" in terminal.text, "a spinner hides the cursor"
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h"), "and shows it again"
    assert not re.search(r"\x1b\[[\d;]*(3|4|9)\dm", terminal.text), "NO_COLOR is honoured"
    questions = [message["content"] for message in bodies(server)[-1]["messages"] if message["role"] == "user"]
    assert questions == ["weather?", "and?"], "a question that failed is forgotten"


@pytest.mark.usefixtures("untraced_children")
def test_interrupt_at_the_prompt(broken_config: Path, start: Start) -> None:
    """Ctrl-C ends a conversation that waits for the person with 130 and no traceback."""
    terminal = Terminal(start, "chat", "--config", str(broken_config))

    terminal.expect("> ")
    terminal.type("hi\n")
    terminal.expect("Error: ")
    terminal.expect("> ")
    terminal.process.send_signal(signal.SIGINT)

    assert terminal.wait() == 130
    assert "Traceback" not in terminal.text


@pytest.mark.integration
@pytest.mark.usefixtures("untraced_children")
def test_embedded_default(start: Start) -> None:
    """With nothing configured a turn with a tool call runs on the embedded server."""
    out, _ = start("chat", "What is the weather in Paris?", "--json").communicate(timeout=PATIENCE_S)

    value = json.loads(out)
    assert [tool_call["name"] for tool_call in value["tool_calls"]] == ["get_weather"]
    assert "sunny" in value["content"]


@pytest.mark.integration
@pytest.mark.usefixtures("untraced_children")
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the server through /proc")
def test_interrupt_ends_the_embedded_server(start: Start) -> None:
    """After Ctrl-C the process of the embedded server is gone too."""
    process = start("chat", "loop", "--no-tools")
    assert output(process).read(4)
    (child,) = children(process.pid)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert not Path(f"/proc/{child}").exists()


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = path.read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            found += [int(path.parent.name)] if int(parent) == pid else []
    return found


def test_tools_that_take_long(capsys: pytest.CaptureFixture[str]) -> None:
    """That tools take long is news for a voice; here the spinner tells it."""
    with contextlib.closing(Screen(create_provider("ollama", model="m"))) as screen:
        screen.show(ToolsRunning(("get_weather",), 1.5))

    assert capsys.readouterr() == ("", "")
