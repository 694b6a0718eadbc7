"""A whole examination, over servers that are well and servers that lack something."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from adapters.cli.commands import group
from adapters.config import ProviderConfig
from adapters.doctor import Finding, examine
from adapters.testing.answers import answer, call, reply
from adapters.testing.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from adapters.testing import Step

pytest_plugins = ["adapters.testing.plugin"]

KEY = "sk-doctor-0123456789"
MODELS = reply({"data": [{"id": "small"}, {"id": "large"}]})
HELLO = answer("Hello!")
CALLED = answer(calls=[call("get_weather", '{"city": "Paris"}')])
TEXT = answer("It is sunny.")
WELL: tuple[Step, ...] = (MODELS, MODELS, HELLO, CALLED, TEXT, HELLO)
"""What is asked for: the list, the list again while the connection is opened, then four questions."""


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A scripted server on the loop of the test."""
    async with ScriptedServer() as running:
        yield running


def config_of(base_url: str, **options: Any) -> ProviderConfig:
    """A provider that nobody waits long for."""
    options = {"model": "small", "api_key": KEY, "base_url": base_url, **options}
    return ProviderConfig.create(options.pop("kind", "openai_compatible"), **options)


async def findings_of(config: ProviderConfig) -> dict[str, Finding]:
    """Everything that is found, by step; each step is taken once, and nothing tells the key."""
    found: list[Finding] = []
    await examine(config, found.append)
    assert KEY not in repr(found)
    assert len({finding.step for finding in found}) == len(found)
    return {finding.step: finding for finding in found}


def verdicts_in(found: dict[str, Finding]) -> dict[str, str]:
    """The verdict of each step that is not well."""
    return {step: finding.verdict for step, finding in found.items() if finding.verdict != "ok"}


async def test_a_server_that_is_well(server: ScriptedServer) -> None:
    """Each step is taken, in order, and there is nothing to do."""
    found = await findings_of(config_of(server.add("well", *WELL)))

    assert verdicts_in(found) == {"TLS": "skipped"}
    assert [finding.advice for finding in found.values() if finding.advice] == []
    assert list(found) == [
        *("key", "DNS", "TCP", "TLS", "address", "server", "model"),
        *("answer", "usage", "tool call", "tool_choice none", "parameters", "first word"),
    ]
    assert found["answer"].detail == "“Hello!”"
    assert found["usage"].detail == "7 tokens in, 3 out"
    assert [body.get("tool_choice") for body in server.seen["well"].bodies[2:]] == [None, "auto", "none", None]


async def test_a_server_with_habits(server: ScriptedServer) -> None:
    """What an ordinary call mends in silence is told: text for calls, no counts, refused parameters, calls for text."""
    refused = reply({"error": {"message": "Unknown parameter: 'temperature'", "param": "temperature"}}, "400 No")
    leaked = answer('<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>')
    silent = answer("Hello!", usage=None)
    found = await findings_of(config_of(server.add("odd", MODELS, MODELS, refused, silent, leaked, CALLED, HELLO)))

    assert verdicts_in(found) == {
        "TLS": "skipped",
        "usage": "warning",
        "tool call": "warning",
        "tool_choice none": "warning",
        "parameters": "warning",
    }
    assert found["tool call"].detail.startswith("get_weather came as text")
    assert found["parameters"].detail == "refused: temperature"
    assert all(found[step].advice for step in ("usage", "tool call", "tool_choice none", "parameters"))


async def test_a_server_without_tools(server: ScriptedServer) -> None:
    """Tools that are refused are a cross, beside which stands what this server wants."""
    models = reply({"data": [{"id": "small", "owned_by": "vllm"}]})
    refused = reply({"error": {"message": '"auto" tool choice requires --enable-auto-tool-choice'}}, "400 Bad Request")
    unknown = reply({"error": {"message": "Unrecognized request argument: tool_choice"}}, "400 Bad Request")
    base_url = server.add("vllm", models, models, HELLO, refused, unknown, TEXT, HELLO)
    server.add("version", reply({"version": "0.32.0"}))
    found = await findings_of(config_of(base_url))

    assert verdicts_in(found) == {"TLS": "skipped", "tool call": "failed", "tool_choice none": "warning"}
    assert found["server"].detail == "vLLM (0.32.0)"
    assert "--enable-auto-tool-choice" in found["tool call"].advice
    assert found["tool_choice none"].detail == "the server refuses it"


async def test_a_model_that_calls_nothing(server: ScriptedServer) -> None:
    """An answer in words where a tool was to be used is a warning; a text that fails is a cross."""
    broken = reply({"error": {"message": "boom"}}, "500 Internal Server Error")
    found = await findings_of(config_of(server.add("lazy", MODELS, MODELS, HELLO, TEXT, broken, broken)))

    assert verdicts_in(found) == {
        "TLS": "skipped",
        "tool call": "warning",
        "tool_choice none": "failed",
        "first word": "failed",
    }
    assert found["tool call"].detail == "the model answered without the tool: “It is sunny.”"
    assert found["first word"].detail.startswith("the same question failed: ")


async def test_a_call_for_a_text(server: ScriptedServer) -> None:
    """A call beside the text is not heeded, and told."""
    both = answer("It is sunny.", calls=[call("get_weather", '{"city": "Paris"}')])
    found = await findings_of(config_of(server.add("both", MODELS, MODELS, HELLO, CALLED, both, HELLO)))

    assert verdicts_in(found) == {"TLS": "skipped", "tool_choice none": "warning"}


async def test_no_answer(server: ScriptedServer) -> None:
    """Where the first answer fails, the rest is not asked."""
    broken = reply({"error": {"message": "boom"}}, "500 Internal Server Error")
    found = await findings_of(config_of(server.add("broken", MODELS, MODELS, broken)))

    assert found["answer"].verdict == "failed"
    assert found["first word"] == Finding("first word", "skipped", "because of answer")
    assert len(server.seen["broken"].bodies) == 3


async def test_a_connection_that_broke(server: ScriptedServer) -> None:
    """A connection that the server had closed meanwhile is made anew, once, as in every call."""
    once = await findings_of(config_of(server.add("once", MODELS, MODELS, ("rst",), HELLO, CALLED, TEXT, HELLO)))
    twice = await findings_of(config_of(server.add("twice", MODELS, MODELS, ("rst",))))

    assert verdicts_in(once) == {"TLS": "skipped"}
    assert twice["answer"].verdict == "failed"
    assert len(server.seen["twice"].bodies) == 4


async def test_missing_v1(server: ScriptedServer) -> None:
    """A base URL without its ``/v1`` is a cross that says the right one, and the examination goes on with that."""
    base_url = server.add("short", reply({"error": "no"}, "404 Not Found"), *WELL)
    found = await findings_of(config_of(base_url.removesuffix("/v1")))

    assert verdicts_in(found) == {"address": "failed", "TLS": "skipped"}
    assert "(/v1 is missing)" in found["address"].detail
    assert found["address"].advice == f"Set base_url to {base_url}"
    assert set(server.seen["short"].paths[1:]) == {"/short/v1/models", "/short/v1/chat/completions"}


async def test_no_list_of_models(server: ScriptedServer) -> None:
    """A server without a list is asked all the same."""
    nothing = reply({"error": "no"}, "404 Not Found")
    # Asked for there, below it, and while the connection is opened.
    base_url = server.add("bare", nothing, nothing, nothing, HELLO, CALLED, TEXT, HELLO)
    found = await findings_of(config_of(base_url))

    assert verdicts_in(found) == {"TLS": "skipped", "address": "warning", "model": "warning"}


@pytest.mark.parametrize(
    ("options", "said_of_it", "advice"),
    [
        pytest.param({}, "it refuses the key (status 401)", "Correct api_key.", id="a wrong one"),
        pytest.param({"api_key": None}, "it wants a key (status 401)", "Set api_key.", id="none"),
        pytest.param({"kind": "groq"}, "it refuses the key (status 401)", "Correct api_key.", id="of a service"),
    ],
)
async def test_a_key_that_is_refused(
    server: ScriptedServer, options: dict[str, Any], said_of_it: str, advice: str
) -> None:
    """Whose key is refused is asked nothing more, and told where the key stands."""
    refused = reply({"error": {"message": f"bad key {KEY}"}}, "401 Unauthorized")
    found = await findings_of(config_of(server.add("locked", refused), **options))

    assert found["key accepted"] == Finding("key accepted", "failed", said_of_it, advice)
    assert found["server"] == Finding("server", "skipped", "because of key accepted")
    assert len(server.seen["locked"].bodies) == 1


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        pytest.param(("rst",), "the connection broke", id="reset"),
        pytest.param(("hang",), "no answer within 0.3 s", id="silence"),
    ],
)
async def test_a_server_that_says_nothing(server: ScriptedServer, script: Any, detail: str) -> None:
    """An open port behind which nobody answers."""
    found = await findings_of(config_of(server.add("mute", script), timeouts={"first_token_s": 0.3}))

    assert (found["address"].verdict, found["address"].detail) == ("failed", detail)
    assert found["answer"].verdict == "skipped"


async def test_settings_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not set is a cross; the network is looked at all the same, if there is an address."""
    monkeypatch.delenv("NOT_SET", raising=False)
    found = await findings_of(config_of("http://127.0.0.1:1/v1", api_key="os.environ/NOT_SET"))
    without_address = await findings_of(config_of("os.environ/NOT_SET"))

    assert "NOT_SET" in found["key"].detail
    assert found["TCP"].verdict == "failed"
    assert verdicts_in(without_address) == dict.fromkeys(without_address, "skipped") | {"key": "failed"}
    assert without_address["DNS"].detail == "because of key"


async def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with the environment is told where it matters first."""
    monkeypatch.setenv("HTTP_PROXY", "ftp://proxy")
    found = await findings_of(config_of("http://model.invalid/v1"))

    assert found["DNS"].verdict == "failed"
    assert "HTTP_PROXY" in found["DNS"].detail


async def test_an_embedded_server_that_cannot_start(tmp_path: Path) -> None:
    """A model file that is none is told before anything else."""
    config = ProviderConfig.create("local", model_path=str(tmp_path / "none.gguf"))
    found = await findings_of(config)

    assert found["embedded server"].verdict == "failed"
    assert "none.gguf" in found["embedded server"].detail
    assert "TCP" not in found


@pytest.mark.integration
async def test_llama_cpp() -> None:
    """The real llama.cpp server is examined from its start to its words; the demo model calls whatever it is told."""
    found = await findings_of(ProviderConfig.create("local"))

    assert verdicts_in(found) == {"tool_choice none": "warning"}
    assert found["server"].detail.startswith("llama.cpp")
    assert list(found)[:3] == ["key", "embedded server", "address"]


def test_command(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    """The command draws a mark for each step, advice beside it, and ends with 1 if there is a cross."""
    path = tmp_path / "providers.yaml"
    path.write_text(
        f"""
default: well
providers:
  well: {{kind: openai_compatible, model: small, base_url: "{scripted_server.add("well", *WELL)}", api_key: {KEY}}}
  gone: {{kind: openai_compatible, model: small, base_url: "http://127.0.0.1:1/v1"}}
""",
        encoding="utf-8",
    )
    runner = CliRunner()
    well = runner.invoke(group, ["doctor", "-p", "well", "--config", str(path)])
    gone = runner.invoke(group, ["doctor", "-p", "gone", "--config", str(path)])
    scripted_server.add("well", *WELL)
    both = runner.invoke(group, ["doctor", "--config", str(path), "--json"])

    assert (well.exit_code, gone.exit_code, both.exit_code) == (0, 1, 1)
    assert well.stdout.startswith("well: openai_compatible\n  ✓ key               it is set\n")
    assert "  - TLS: not looked at, the address says http://\n" in well.stdout
    assert "  ✗ TCP               nothing listens on 127.0.0.1:1\n" in gone.stdout
    assert "                      → Start the server" in gone.stdout
    assert "first word: not looked at, because of TCP\n" in gone.stdout
    reports = json.loads(both.stdout)
    assert [(report["name"], report["ok"]) for report in reports] == [("well", True), ("gone", False)]
    assert reports[1]["findings"][2]["verdict"] == "failed"
    assert KEY not in well.output + gone.output + both.output
