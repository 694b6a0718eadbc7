"""The command line: its output on stdout and stderr, and its exit codes.

Commands run in this process against a scripted server; pipes, terminals and signals are tested with real processes.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from adapters.cli.base import printable
from adapters.cli.commands import group
from adapters.cli.conversation import Conversation
from adapters.cli.demo_tools import DEMO_TOOLS, call_demo_tool
from adapters.cli.progress import Progress
from adapters.cli.view import JsonView, Screen
from adapters.config import ProviderConfig
from adapters.testing.answers import answer, call, reply, said, stream
from adapters.types import LLMResponse, ResponseDone, TokenUsage, ToolsRunning
from tests.cli.processes import KEY, PATIENCE_S, SUNNY, WEATHER, bodies, output, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.testing import ScriptedServer
    from tests.cli.processes import Start

pytest_plugins = ["adapters.testing.plugin"]


def test_turn_with_a_tool(config: Path, server: ScriptedServer) -> None:
    """Text goes to stdout; the call, its result and the totals go to stderr, without escape sequences."""
    server.add("cli", WEATHER, SUNNY)

    result = run("chat", "weather?")

    assert (result.exit_code, result.stdout) == (0, "One moment.\nIt is sunny.\n")
    called, found, totals = result.stderr.splitlines()
    assert called == '→ get_weather {"city": "Paris"}'
    assert found == '← {"city": "Paris", "temperature": 21, "unit": "c", "sky": "sunny"}'
    assert totals.startswith("27 tokens in, 7 out, ")
    assert "first text" in totals
    assert totals.endswith(" s")
    assert bodies(server)[0]["tools"] == DEMO_TOOLS


def test_fallback_responds(config: Path, server: ScriptedServer) -> None:
    """A provider with fallbacks works like any other, and the output names the provider that responded."""
    server.add("cli", SUNNY)
    entries = config.read_text(encoding="utf-8")
    away = (
        "  away: {kind: ollama, model: m, base_url: 'http://127.0.0.1:9', retry: {attempts: 1}, fallbacks: [scripted]}"
    )
    config.write_text(f"{entries}{away}\n", encoding="utf-8")

    result = run("chat", "-p", "away", "--json", "weather?")

    value = json.loads(result.stdout)
    assert (value["content"], value["provider"], result.exit_code) == ("It is sunny.", "scripted", 0)


@pytest.mark.parametrize(
    ("listed", "hint"),
    [
        pytest.param([{"id": "smell"}, {"id": "large"}], "scripted offers smell …\n", id="a name like it"),
        pytest.param([{"id": "huge"}], "scripted offers huge\n", id="others"),
        pytest.param([{"id": "small"}], "", id="the list has it all the same"),
        pytest.param([], "", id="none"),
    ],
)
def test_missing_model_hints_at_names(config: Path, server: ScriptedServer, listed: list[Any], hint: str) -> None:
    """Names that may have been meant are printed above the error."""
    refused = reply({"error": {"message": "The model `small` does not exist"}}, "404 Not Found")
    server.add("cli", refused, reply({"data": listed}))

    result = run("chat", "hi")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"{hint}Error: scripted does not offer the model small.")


def test_unreachable_server_hints_at_the_address() -> None:
    """The whole address is printed above the error, which names host and port; a program gets the error alone."""
    args = ("chat", "hi", "--base-url", "http://127.0.0.1:9/v1", "-m", "m")

    assert run(*args).stderr.startswith("base_url is http://127.0.0.1:9/v1\nError: ")
    assert run(*args, "--json").stderr == ""


def test_missing_model_as_json(config: Path, server: ScriptedServer) -> None:
    """A program gets the error alone, and no second request is sent."""
    server.add("cli", reply({"error": {"message": "The model `small` does not exist"}}, "404 Not Found"))

    assert list(json.loads(run("chat", "hi", "--json").stdout)) == ["error"]
    assert len(server.seen["cli"].paths) == 1


def test_failed_tool(config: Path, server: ScriptedServer) -> None:
    """A failed tool is marked as such, and the turn continues."""
    server.add("cli", answer(calls=[call("get_weather", '{"city": "Paris", "unit": "k"}')]), SUNNY)

    result = run("chat", "weather?")

    assert (result.exit_code, result.stdout) == (0, "It is sunny.\n")
    assert "✗ The tool get_weather failed: unit must be c or f\n" in result.stderr


def test_long_results_are_cut(config: Path, server: ScriptedServer) -> None:
    """A long argument is printed as one line of 200 characters."""
    server.add("cli", answer(calls=[call("get_weather", json.dumps({"city": "x\n" * 500}))]), SUNNY)

    result = run("chat", "weather?")

    assert [len(line) for line in result.stderr.splitlines()[:2]] == [200, 200]
    assert result.stderr.splitlines()[0].endswith("…")


def test_json(config: Path, server: ScriptedServer) -> None:
    """``--json`` prints one object and nothing else."""
    server.add("cli", WEATHER, SUNNY)

    result = run("chat", "weather?", "--json")

    value = json.loads(result.stdout)
    assert 0 < value.pop("time_to_first_text_s") <= value.pop("total_s")
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


def test_json_with_cache_writes(config: Path, server: ScriptedServer) -> None:
    """What was written to a prompt cache is shown where a service reports it."""
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cache_write_tokens": 5}}
    server.add("cli", answer("Hi.", usage=usage))

    assert json.loads(run("chat", "hi", "--json").stdout)["usage"]["cache_write_tokens"] == 5


@pytest.mark.parametrize("fails", [False, True], ids=["prefills", "fails"])
def test_prefill_while_the_person_types(server: ScriptedServer, *, fails: bool) -> None:
    """The conversation is sent ahead before the first line, and again for another model; a mistake is left to it."""
    entry = ProviderConfig.create("openai_compatible", model="m", base_url=server.add("cli", SUNNY))
    options: dict[str, Any] = {"system": "Be brief.", "with_tools": True, "as_json": True}
    if fails:
        with Conversation(entry, **options) as conversation:
            conversation._messages.append({"content": "no role"})
            conversation.converse([])
            wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "adapters-prefill"])
        assert bodies(server) == []
        return

    def lines() -> Iterator[str]:
        for count, line in ((1, "/model other"), (2, "/bye")):
            wait_until(lambda: len([body for body in bodies(server) if "messages" in body]) == count)  # noqa: B023 - called here
            yield line

    with Conversation(entry, **options) as conversation:
        conversation.converse(lines())
    ahead = [body for body in bodies(server) if "messages" in body]
    assert [(body["model"], body["max_tokens"], len(body["tools"])) for body in ahead] == [("m", 1, 2), ("other", 1, 2)]
    assert ahead[0]["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "."}]


def test_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """The cost that a server reports is part of the totals, and a number in JSON."""
    progress = Progress(ProviderConfig.create("ollama", model="m"))
    done = ResponseDone(LLMResponse("Hi.", usage=TokenUsage(20, 4, cost=Decimal("0.00120"))))
    for view in (Screen(progress), JsonView(progress.provider)):
        view.begin()
        view.show(done)
        view.close()

    printed = capsys.readouterr()
    assert printed.err.startswith("20 tokens in, 4 out, cost 0.0012, ")
    assert json.loads(printed.out)["usage"]["cost"] == 0.0012


def test_estimated_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the server reports no cost, an estimate is part of the totals and called one."""
    response = LLMResponse("Hi.", usage=TokenUsage(20, 4), cost_estimator=lambda _: Decimal("0.00120"))
    with contextlib.closing(Screen(Progress(ProviderConfig.create("ollama", model="m")))) as screen:
        screen.begin()
        screen.show(ResponseDone(response))

    assert capsys.readouterr().err.startswith("20 tokens in, 4 out, cost about 0.0012, ")


def test_json_without_usage(config: Path, server: ScriptedServer) -> None:
    """Usage that the server does not report is null in JSON and absent on the screen."""
    server.add("cli", answer("Hi.", usage=None))

    assert json.loads(run("chat", "hi", "--json").stdout)["usage"] is None
    assert "tokens" not in run("chat", "hi").stderr


def test_error(config: Path, server: ScriptedServer) -> None:
    """A failure is one line on stderr and exit code 1; the text before it stays on stdout."""
    server.add("cli", (*stream(said("Half"), done=False)[:-1], "eof"))

    result = run("chat", "hi")

    assert (result.exit_code, result.stdout) == (1, "Half\n")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_error_before_any_request(broken_config: Path) -> None:
    """An error that occurs before any request is one line, too."""
    result = run("chat", "hi", "--config", str(broken_config))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_error_as_json(config: Path, server: ScriptedServer) -> None:
    """With ``--json``, a failure is an object on stdout and exit code 1."""
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
        pytest.param(["chat", "-f", "none.txt"], "", "The file none.txt cannot be read: No such file", id="no file"),
        pytest.param(["chat", "--nope"], "", "No such option", id="unknown option"),
    ],
)
def test_usage_error(config: Path, args: list[str], stdin: str, words: str) -> None:
    """A wrong command line exits with 2 and prints the reason on stderr."""
    result = run(*args, stdin=stdin)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_options_of_a_turn(config: Path, server: ScriptedServer) -> None:
    """The options ``-m``, ``--system`` and ``--no-tools`` change the request."""
    run("chat", "hi", "-m", "large", "--system", "Be brief.", "--no-tools")

    body = bodies(server)[0]
    assert body["model"] == "large"
    assert "tools" not in body
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


def test_encoding_without_some_characters(config: Path, server: ScriptedServer) -> None:
    """A character that the encoding lacks is printed as a question mark; undecodable input does not fail."""
    server.add("cli", answer("21 °C ☀", calls=[call("get_time", "{}")]), SUNNY)

    result = CliRunner(charset="latin-1").invoke(group, ["chat", "hi"])
    replaced = CliRunner().invoke(group, ["chat", "-"], input=b"caf\xe9")

    assert (result.exit_code, result.stdout_bytes) == (0, b"21 \xb0C ?\nIt is sunny.\n")
    assert b"? get_time {}" in result.stderr_bytes
    assert replaced.exit_code == 0
    assert bodies(server)[-1]["messages"] == [{"role": "user", "content": "caf\ufffd"}]


def test_prompt_from_stdin(config: Path, server: ScriptedServer) -> None:
    """With ``-`` the whole input is one question."""
    run("chat", "-", stdin="two\nlines\n")

    assert bodies(server)[0]["messages"] == [{"role": "user", "content": "two\nlines"}]


def test_conversation_from_a_pipe(config: Path, server: ScriptedServer) -> None:
    """Without a prompt, each line that is not blank is a turn of one conversation."""
    result = run("chat", stdin="first\n\nsecond\n")

    assert (result.exit_code, result.stdout) == (0, "It is sunny.\nIt is sunny.\n")
    assert bodies(server)[1]["messages"] == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "It is sunny."},
        {"role": "user", "content": "second"},
    ]


def test_address_without_provider(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option ``--base-url`` alone needs no configuration."""
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.yaml"))
    url = server.add("cli", SUNNY)

    result = run("chat", "hi", "--base-url", url, "-m", "small", "--json")

    assert json.loads(result.stdout)["provider"] == "openai_compatible"


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        pytest.param(reply({"data": [{"id": "only"}]}), "", id="one"),
        pytest.param(
            reply({"data": [{"id": "small"}, {"id": "large"}]}),
            "Error: {url} offers 2 models. Choose one with -m: small, large\n",
            id="several",
        ),
        pytest.param(reply({"data": []}), "Error: {url} lists no models. Name one with -m.\n", id="none"),
        pytest.param(
            reply({"error": "no"}, "404 Not Found"),
            "\nError: Name a model with -m, or run: adapters doctor --base-url {url}\n",
            id="no list",
        ),
    ],
)
def test_address_without_model(server: ScriptedServer, listed: Any, error: str) -> None:
    """Without ``-m``, the only model of a server is used; otherwise the error says what to choose from."""
    url = server.add("cli", listed, SUNNY)

    result = run("chat", "hi", "--base-url", url)

    assert result.exit_code == bool(error)
    assert result.stderr.endswith(error.format(url=url)) if error else bodies(server)[1]["model"] == "only"


def test_missing_key_hints_at_the_option(server: ScriptedServer, config: Path) -> None:
    """Without a provider entry, a rejected key is followed by how to pass one."""
    url = server.add("cli", reply({"error": {"message": "no key"}}, "401 Unauthorized"))

    hint = "Pass the key with --api-key, or in $ADAPTERS_API_KEY.\n"
    assert run("chat", "hi", "--base-url", url, "-m", "m").stderr.startswith(hint)
    assert hint not in run("chat", "hi").stderr
    assert run("chat", "hi", "--base-url", url).stderr.endswith(f"Error: {hint}")
    assert run("models", "--base-url", url).stderr.endswith(f"Error: {hint}")
    assert hint not in run("models").stderr


def test_wrong_address_hints_at_the_doctor(server: ScriptedServer, config: Path) -> None:
    """An address without an API is printed, with the command that examines it."""
    url = server.add("cli", reply({"error": "no"}, "404 Not Found"))

    ad_hoc, of_entry = run("chat", "hi", "--base-url", url, "-m", "m"), run("chat", "hi", "-p", "scripted")

    assert ad_hoc.stderr.startswith(f"base_url is {url}; to check it, run: adapters doctor --base-url {url}\n")
    assert of_entry.stderr.startswith(f"base_url is {url}; to check it, run: adapters doctor -p scripted\n")


def test_address_of_a_provider(config: Path, server: ScriptedServer) -> None:
    """With ``--provider``, ``--base-url`` replaces the address of that provider."""
    url = server.add("cli", SUNNY)

    result = run("chat", "hi", "-p", "open", "--base-url", url, "--json")

    assert json.loads(result.stdout)["provider"] == "open"
    assert bodies(server)[0]["model"] == "qwen3:8b"


def test_empty_input(config: Path, server: ScriptedServer) -> None:
    """Empty input sends no request and is not a failure."""
    result = run("chat", stdin="")

    assert (result.exit_code, result.output) == (0, "")
    assert bodies(server) == []


@pytest.mark.usefixtures("traced_children")
def test_closed_streams(config: Path, server: ScriptedServer) -> None:
    """A command runs with closed streams, whose numbers its sockets get."""
    command = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "adapters", "chat", "hi"]

    assert subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == 0
    assert len(bodies(server)) == 1


def test_full_disk(config: Path, server: ScriptedServer, start: Start) -> None:
    """A full disk is an error message without a traceback."""
    with Path("/dev/full").open("wb") as full:
        process = start("chat", "hi", stdout=full.fileno())
        _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert errors.startswith(b"Error: The output cannot be written")
    assert b"Traceback" not in errors
    assert b"Exception" not in errors
    assert len(bodies(server)) == 1


def test_replaced_streams(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command runs with standard streams that were replaced by other objects."""
    assert group.main(["config", "check", "--config", "none.yaml"], standalone_mode=False) == 1
    assert capsys.readouterr().err.startswith("Error: ")


def test_conversation_without_stdin(config: Path, server: ScriptedServer) -> None:
    """A conversation with a closed stdin ends at once."""
    command = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "adapters", "chat"]

    assert subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_S).stdout == b""


@pytest.mark.parametrize("redirection", ["file", "pipe"])
def test_prompt_and_pipe(config: Path, server: ScriptedServer, start: Start, tmp_path: Path, redirection: str) -> None:
    """Piped input, or a redirected file, is added to the prompt; the prompt needs no quotes."""
    path = tmp_path / "log.txt"
    path.write_text("one\ntwo\n", encoding="utf-8")
    with contextlib.ExitStack() as stack:
        if redirection == "file":
            stdin = stack.enter_context(path.open("rb")).fileno()
        else:
            cat = stack.enter_context(subprocess.Popen(["/bin/cat", str(path)], stdout=subprocess.PIPE))
            assert cat.stdout is not None
            stdin = cat.stdout.fileno()
        process = start("chat", "explain", "this", stdin=stdin)
        process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    assert bodies(server)[0]["messages"] == [{"role": "user", "content": "explain this\n\none\ntwo"}]


def test_files(config: Path, server: ScriptedServer, tmp_path: Path) -> None:
    """The option ``-f`` adds files with their names; without a prompt, the files are the question."""
    (tmp_path / "a.txt").write_text("one\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("two\n", encoding="utf-8")

    run("chat", "compare", "them", "-f", str(tmp_path / "a.txt"), "-f", str(tmp_path / "b.txt"))
    run("chat", "-f", str(tmp_path / "a.txt"))

    asked = [body["messages"][0]["content"] for body in bodies(server)]
    assert asked == ["compare them\n\na.txt:\none\n\nb.txt:\ntwo", "a.txt:\none"]


def test_key_on_the_command_line(config: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option ``--api-key`` wins; the variable is sent only to a server named by ``--base-url`` alone."""
    url = server.add("cli", SUNNY)
    monkeypatch.setenv("ADAPTERS_API_KEY", "sk-from-the-environment")

    run("chat", "hi", "--base-url", url, "-m", "small")
    run("chat", "hi", "--base-url", url, "-m", "small", "--api-key", "sk-from-the-option")
    run("chat", "hi")

    sent = [headers["authorization"] for headers in server.seen["cli"].headers]
    assert sent == ["Bearer sk-from-the-environment", "Bearer sk-from-the-option", f"Bearer {KEY}"]


def test_verbose(config: Path, server: ScriptedServer) -> None:
    """The option ``--verbose`` prints the log on stderr, without keys."""
    refused = reply({"error": {"message": f"Unknown parameter: temperature ({KEY})", "param": "temperature"}}, "400 No")
    server.add("cli", refused, answer("", calls=[call("get_weather", f'{{"city": "Rome", "key": "{KEY}"}}')]), SUNNY)

    result = run("chat", "hi", "--verbose")

    assert "WARNING adapters.request.capabilities: scripted: temperature is rejected" in result.stderr
    assert "INFO adapters.tools.running: The tool get_weather failed\nTraceback" in result.stderr
    assert result.stdout == "It is sunny.\n"
    assert re.search(r"\nwaited for: .*head \d+ ms, first token \d+ ms", result.stderr)
    log = "\n".join(line for line in result.stderr.splitlines() if not line.startswith("→"))
    assert KEY not in log


def test_usage_error_as_json(config: Path) -> None:
    """A wrong command line is an object, too, whether parsing or the command finds it."""
    unknown, empty = run("chat", "hi", "--json", "--qqq"), run("chat", " ", "--json")

    assert (unknown.exit_code, unknown.stderr) == (2, "")
    assert re.fullmatch(r"No such option:? '?--qqq'?\.?", json.loads(unknown.stdout)["error"])  # the words are click's
    assert (empty.exit_code, empty.stderr, json.loads(empty.stdout)) == (2, "", {"error": "The prompt is empty."})


def test_terminal_is_not_controlled(config: Path, server: ScriptedServer) -> None:
    """Escape sequences of models and tools lose their escape character; rich's markup and emoji codes stay text."""
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
        pytest.param("a\u202eb\u2066c\u2069d\u2028e\u2029f", "abcdef", id="bidirectional overrides, separators"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    """Control characters but newline and tab, overrides and separators are removed, and nothing else."""
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
            "get_wether", {}, LookupError("there is no such tool; the tools are get_weather, get_time"), id="name"
        ),
    ],
)
async def test_demo_tool(name: str, arguments: dict[str, Any], result: Any) -> None:
    """The demo tools follow their schemas, and other names raise."""
    if isinstance(result, Exception):
        with pytest.raises(type(result), match=str(result)):
            await call_demo_tool(name, arguments)
    else:
        assert await call_demo_tool(name, arguments) == result


async def test_demo_time() -> None:
    """The time is the local time of this machine."""
    assert str(time.localtime().tm_year) in await call_demo_tool("get_time", {})


def test_providers(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is listed with name, kind, model, address and whether there is a key, never the key."""
    monkeypatch.setenv("CLOUD_KEY", KEY)

    result = run("providers")

    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["name", "kind", "model", "base", "URL", "key"]
    assert lines[1][:4] == ["scripted", "(default)", "openai_compatible", "small"]
    assert [line[-1] for line in lines[1:]] == ["found", "set", "found", "missing"]
    assert KEY not in result.output


def test_settings_without_effect(server: ScriptedServer, tmp_path: Path) -> None:
    """A context window that Ollama ignores is a warning of ``config check`` and of ``chat``; a quick doctor passes."""
    url = server.add("cli", reply({"data": [{"id": "m"}]}), SUNNY)
    key = tmp_path / "key"
    key.write_text(KEY, encoding="utf-8")
    path = tmp_path / "ollama.yaml"
    entry = f"{{kind: ollama, model: m, base_url: '{url}', num_ctx: 8192, api_key: 'file://{key}'}}"
    path.write_text(f"default: home\nproviders: {{home: {entry}}}", encoding="utf-8")
    advice = "home: num_ctx has no effect, because Ollama's OpenAI-compatible API ignores it. Set OLLAMA_CONTEXT_LENGTH"

    quick = run("doctor", "--quick", "--json", "--config", str(path))
    assert (quick.exit_code, json.loads(quick.stdout)[0]["passed"]) == (0, True)
    checked = run("config", "check", "--config", str(path))
    assert (checked.exit_code, checked.stderr) == (0, checked.stderr)
    assert checked.stderr.startswith(f"Warning: {path}: providers.{advice}")
    assert run("chat", "--config", str(path), "Hi").stderr.startswith(advice)
    assert json.loads(run("providers", "--json", "--config", str(path)).stdout)[0]["key"] == "found"
    key.unlink()
    assert json.loads(run("providers", "--json", "--config", str(path)).stdout)[0]["key"] == "missing"
    assert run("doctor", "--quick", "--config", str(path)).exit_code == 1


def test_providers_as_json(config: Path) -> None:
    """With ``--json`` the entries are a list of objects."""
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
    """A model is listed with id, context, tools and prices; data that the server does not publish is a dash."""
    known = {
        "id": "a/one",
        "name": "One",
        "context_length": 8192,
        "supported_parameters": ["tools"],
        "pricing": {"prompt": "0.0000005", "completion": "0"},
    }
    bare = {"id": "a/two", "name": "Two", "supported_parameters": ["temperature"]}
    server.add("cli", reply({"data": [known, bare, {"id": "three"}]}))

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
            ["None of the 1 models of scripted matches. Leave out a filter."],
            id="a filter without matches",
        ),
        pytest.param(
            [{"id": "a"}, {"id": "b", "supported_parameters": ["tools"]}],
            ["--tools"],
            ["a", "b"],
            ["scripted does not say for every model whether it supports tools; those models are listed, too."],
            id="a server that does not publish tool support",
        ),
        pytest.param(
            [{"id": "a"}],
            ["--max-price", "1"],
            [],
            ["None of the 1 models of scripted matches. Leave out a filter.", "scripted does not publish its prices."],
            id="a server that does not publish prices",
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
    """An empty result, and data that the server does not publish, are mentioned beside the table."""
    server.add("cli", reply({"data": entries}))

    result = run("models", *args)

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ids
    assert result.stderr.splitlines() == hints


def test_models_of_another_server(config: Path, broken_config: Path, server: ScriptedServer) -> None:
    """The option ``--base-url`` needs no provider entry, and is sent no key of one."""
    base_url = server.add("elsewhere", reply({"data": [{"id": "there"}]}))

    for path in (config, broken_config):
        result = run("models", "--config", str(path), "--base-url", base_url, "--json")
        assert [model["id"] for model in json.loads(result.stdout)] == ["there"]
    assert KEY not in str(server.seen["elsewhere"].headers)

    run("models", "-p", "scripted", "--base-url", base_url)
    assert server.seen["elsewhere"].headers[-1]["authorization"] == f"Bearer {KEY}"


def test_models_of_the_embedded_server(broken_config: Path) -> None:
    """The embedded server is not started: it has a single model."""
    result = run("models", "--config", str(broken_config))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: mine has a single model")


def test_check_of_the_default(config: Path) -> None:
    """Problems of providers other than the default are warnings; the file is always named."""
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
    """The provider that ``-p`` names must exist and have no problem."""
    result = run("config", "check", "-p", "cloud")

    error, warning = sorted(result.stderr.splitlines())
    assert (result.exit_code, result.stdout) == (1, "")
    assert error.startswith(f"Error: {config}:")
    assert "CLOUD_KEY" in error
    assert warning.startswith("Warning: ")
    assert "did you mean cloud?" in run("config", "check", "-p", "clod").stderr


def test_check_reports_everything_at_once(tmp_path: Path) -> None:
    """Mistakes in the file do not hide unset variables or an invalid model file."""
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
def test_check_of_an_unusable_file(tmp_path: Path, text: str) -> None:
    """Each problem is one line that names the file, and there is at least one."""
    path = tmp_path / "providers.yaml"
    path.write_text(text)

    result = run("config", "check", "--config", str(path))

    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert lines
    assert [line for line in lines if not line.startswith(f"Error: {path}:")] == []


@pytest.mark.parametrize("file", sorted({*Path("config").glob("*.yaml")} - {Path("config/compose.yaml")}), ids=str)
def test_check_of_the_example_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example file is valid; the file for LiteLLM's own proxy is recognized as such."""
    monkeypatch.setenv("PROXY_1", "http://proxy-1:4000/v1")
    monkeypatch.setenv("PROXY_2", "http://proxy-2:4000/v1")
    monkeypatch.setenv("PROXY_KEY", KEY)

    result = run("config", "check", "--config", str(file))

    if file.name == "litellm-proxy.yaml":
        assert "is for LiteLLM's own proxy server: this file is not ours" in result.stderr
    else:
        assert result.exit_code == 0


def test_schema() -> None:
    """The printed schema is the one in the repository."""
    shown = json.loads(run("config", "schema").stdout)

    assert shown == json.loads(Path("config/providers.schema.json").read_text(encoding="utf-8"))


def test_check_of_a_missing_file(tmp_path: Path) -> None:
    """A missing file is one line."""
    result = run("config", "check", "--config", str(tmp_path / "none.yaml"))

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("traced_children")
def test_help_loads_nothing_heavy() -> None:
    """Before a command runs, no library is imported that only a request needs."""
    code = "import adapters.__main__, sys; print({'litellm', 'openai', 'aiohttp', 'httpx'} & {*sys.modules})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout == "set()\n"


def test_module_is_the_command() -> None:
    """The command ``python -m adapters`` is ``adapters``."""
    command = [sys.executable, "-m", "adapters", "--help"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_S)

    assert done.stdout.startswith(b"Usage: adapters [OPTIONS] COMMAND")


def test_broken_pipe(config: Path, server: ScriptedServer, start: Start) -> None:
    """A pipe that closes early ends the turn and its request, without a traceback."""
    server.add("cli", (*stream(said("one "), done=False)[:-1], 0.3, *stream(said("two "))[1:-1], "hang"))
    process = start("chat", "hi")

    assert output(process).read(4) == b"one "
    output(process).close()
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert b"Traceback" not in errors
    wait_until(lambda: server.seen["cli"].gone_at)


def test_interrupt(config: Path, server: ScriptedServer, start: Start) -> None:
    """Ctrl-C closes the request and exits with 130, without a traceback."""
    server.add("cli", (*stream(said("Half"), done=False)[:-1], "hang"))
    process = start("chat", "hi")
    assert output(process).read(4) == b"Half"

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, errors.strip()) == (130, b"")
    wait_until(lambda: server.seen["cli"].gone_at)


def test_interrupt_as_json(config: Path, server: ScriptedServer, start: Start) -> None:
    """With ``--json``, Ctrl-C prints an object, too."""
    server.add("cli", ("hang",))
    process = start("chat", "hi", "--json")
    wait_until(lambda: bodies(server))

    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, json.loads(out), errors) == (130, {"error": "Interrupted."}, b"")


def test_interrupt_while_the_command_is_imported(start: Start) -> None:
    """While the command is imported, Ctrl-C ends the process by the signal, without a traceback."""
    code = (
        "import os, signal, click, adapters.cli; click.group = lambda **_: os.kill(os.getpid(), 2); adapters.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_commands_in_a_thread(config: Path) -> None:
    """A command runs outside the main thread, where signal handlers cannot be set."""
    with ThreadPoolExecutor() as pool:
        assert pool.submit(run, "providers").result().exit_code == 0


def test_other_os_errors_are_not_hidden(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors of the output are reported as such; other errors of the system propagate."""
    monkeypatch.chdir(config.parent)
    monkeypatch.setenv("ADAPTERS_CONFIG", str(config))

    def fail(*_: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr("adapters.cli.providers.print_table", fail)

    assert isinstance(run("providers").exception, PermissionError)


@pytest.mark.integration
def test_embedded_default(start: Start) -> None:
    """Without a configuration, a turn with a tool call runs on the embedded server."""
    out, _ = start("chat", "What is the weather in Paris?", "--json").communicate(timeout=PATIENCE_S)

    value = json.loads(out)
    assert [tool_call["name"] for tool_call in value["tool_calls"]] == ["get_weather"]
    assert "sunny" in value["content"]


@pytest.mark.integration
def test_demo_is_announced(start: Start) -> None:
    """One line says that the answers are canned, and how to use a real model."""
    _, errors = start("chat", "hello").communicate(timeout=PATIENCE_S)

    assert errors.decode().startswith(
        "These answers are canned: a demo model. For a real one: adapters chat --base-url"
    )


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the server through /proc")
def test_interrupt_ends_the_embedded_server(start: Start) -> None:
    """After Ctrl-C, the process of the embedded server is gone, too."""
    process = start("chat", "loop", "--no-tools")
    assert output(process).read(4)
    (child,) = children(process.pid)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert not Path(f"/proc/{child}").exists()


def children(pid: int) -> list[int]:
    """Return the process ids of the children of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = path.read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            found += [int(path.parent.name)] if int(parent) == pid else []
    return found


def test_slow_tools_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """``ToolsRunning`` prints nothing: the spinner already shows that tools run."""
    with contextlib.closing(Screen(Progress(ProviderConfig.create("ollama", model="m")))) as screen:
        screen.show(ToolsRunning(("get_weather",), 1.5))

    assert capsys.readouterr() == ("", "")
