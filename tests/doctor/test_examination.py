"""Whole examinations of healthy and of faulty servers."""

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
SET_KEY = "Set api_key, or pass the key with --api-key or in $ADAPTERS_API_KEY."
MODELS = reply({"data": [{"id": "small"}, {"id": "large"}]})
CACHED = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 6}}
HELLO = answer("Hello!", usage=CACHED)
CALLED = answer(calls=[call("get_weather", '{"city": "Paris"}')])
TEXT = answer("It is sunny.")
LONG = answer("one, two, three", usage=CACHED)
HEALTHY: tuple[Step, ...] = (MODELS, MODELS, HELLO, CALLED, TEXT, HELLO, LONG)
"""The list of models, the list again as the connection is opened, then five prompts."""


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Run a scripted server on the loop of the test."""
    async with ScriptedServer() as running:
        yield running


def config_of(base_url: str, **options: Any) -> ProviderConfig:
    """Return a provider entry for a base URL."""
    options = {"model": "small", "api_key": KEY, "base_url": base_url, **options}
    return ProviderConfig.create(options.pop("kind", "openai_compatible"), **options)


async def findings_of(config: ProviderConfig) -> dict[str, Finding]:
    """Examine a provider and return the findings by step; each step occurs once, and none contains the key."""
    found: list[Finding] = []
    await examine(config, found.append)
    assert KEY not in repr(found)
    assert len({finding.step for finding in found}) == len(found)
    return {finding.step: finding for finding in found}


def verdicts_in(found: dict[str, Finding]) -> dict[str, str]:
    """Return the verdict of each step that did not pass."""
    return {step: finding.verdict for step, finding in found.items() if not finding.passed}


async def test_healthy_server(server: ScriptedServer) -> None:
    """Each step runs, in order, and passes without advice."""
    found = await findings_of(config_of(server.add("healthy", *HEALTHY)))

    assert verdicts_in(found) == {"TLS": "skipped"}
    assert [finding.advice for finding in found.values() if finding.advice] == []
    assert list(found) == [
        *("key", "DNS", "TCP", "TLS", "address", "server", "model"),
        *(
            "response",
            "usage",
            "tool call",
            "tool_choice none",
            "parameters",
            "streaming",
            "first text",
            "prefix cache",
        ),
    ]
    assert found["response"].detail == "“Hello!”"
    assert found["usage"].detail == "7 tokens in, 3 out"
    prompts = server.seen["healthy"].bodies[2:]
    assert [body.get("tool_choice") for body in prompts] == [None, "auto", "none", *[None] * 5]
    assert [body["temperature"] for body in prompts] == [0] * 8
    new, prefill, prefilled = prompts[5:]
    assert (prefill["max_tokens"], prefill["messages"][0]) == (1, prefilled["messages"][0])
    assert new["messages"][0] != prefilled["messages"][0]
    assert " ms prefilled" in found["first text"].detail
    assert found["prefix cache"].detail == "6 of 7 tokens of a known prompt came from it"


async def test_no_prefill_where_it_costs(server: ScriptedServer) -> None:
    """A provider that is not local, or that says so, gets no longer prompts; a prefill that fails is no finding."""
    refused = reply({"error": {"message": "no"}}, "400 Bad Request")
    paid = await findings_of(config_of(server.add("paid", *HEALTHY), prefill=False))
    failing = await findings_of(config_of(server.add("failing", *HEALTHY, HELLO, refused, HELLO)))

    assert "prefilled" not in paid["first text"].detail
    assert paid["prefix cache"].verdict == "skipped"
    assert len(server.seen["paid"].bodies) == 7
    assert "prefilled" in failing["first text"].detail
    assert not [step for step, finding in failing.items() if finding.verdict in ("failed", "warning")]


async def test_quick(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A health check sends one GET request and no prompt, and starts no embedded server."""
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    refused = reply({"error": {"message": "no"}}, "401 Unauthorized")
    no_list = reply({"error": {"message": "no"}}, "404 Not Found")
    broken = reply({"error": {"message": "no"}}, "503 Service Unavailable")
    replies: dict[str, tuple[Step, dict[str, str]]] = {
        "up": (MODELS, {}),
        "refused": (refused, {"key accepted": "failed"}),
        "unlisted": (no_list, {"address": "warning"}),
        "broken": (broken, {"address": "failed"}),
        "reset": (["rst"], {"address": "failed"}),
    }
    for name, (step, expected) in replies.items():
        found: list[Finding] = []
        await examine(config_of(server.add(name, step)), found.append, quick=True)
        assert KEY not in repr(found)
        assert verdicts_in({finding.step: finding for finding in found}) == expected, name
        assert {finding.step for finding in found} <= {"key", "address", "key accepted"}
        connections = 2 if name == "reset" else 1  # aiohttp repeats a GET request on a new connection
        assert server.seen[name].bodies == [{}] * connections
    others = [("local", None, {}), ("litellm", "anthropic/claude", {"address": "skipped"})]
    others.append(("groq", "m", {"key": "failed", "address": "skipped"}))
    for kind, model, verdicts in others:
        found = []
        await examine(ProviderConfig.create(kind, model=model), found.append, quick=True)
        assert verdicts_in({finding.step: finding for finding in found}) == verdicts, kind


async def test_context_that_ollama_ignores(server: ScriptedServer) -> None:
    """A setting without an effect is a warning with what to do instead."""
    found = await findings_of(config_of(server.add("ollama", *HEALTHY), kind="ollama", num_ctx=16384))

    assert verdicts_in(found)["parameters"] == "warning"
    assert found["parameters"].detail.startswith("num_ctx has no effect")
    assert "OLLAMA_CONTEXT_LENGTH=16384" in found["parameters"].advice
    assert "ollama_chat/small" in found["parameters"].advice


async def test_first_model(server: ScriptedServer) -> None:
    """Without a model, the first one that the server lists is used; a server that lists none needs a name."""
    found: list[Finding] = []
    await examine(config_of(server.add("any", *HEALTHY), model="-"), found.append, any_model=True)
    assert Finding("model", "passed", "small, the first of 2 that the server lists") in found
    assert {body["model"] for body in server.seen["any"].bodies[2:]} == {"small"}

    found.clear()
    await examine(config_of(server.add("empty", reply({"data": []})), model="-"), found.append, any_model=True)
    assert Finding("model", "failed", "the server lists no models", "Name a model with -m.") in found
    assert Finding("response", "skipped", "because of model") in found


async def test_server_with_quirks(server: ScriptedServer) -> None:
    """What an ordinary call repairs silently is a warning: calls as text, no usage, a rejected parameter."""
    rejected = reply({"error": {"message": "Unknown parameter: 'temperature'", "param": "temperature"}}, "400 No")
    leaked = answer('<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>')
    uncounted = answer("Hello!", usage=None)
    steps = (MODELS, MODELS, rejected, uncounted, leaked, CALLED, HELLO)
    found = await findings_of(config_of(server.add("odd", *steps)))

    assert verdicts_in(found) == {
        "TLS": "skipped",
        "usage": "warning",
        "tool call": "warning",
        "tool_choice none": "warning",
        "parameters": "warning",
    }
    assert found["tool call"].detail.startswith("the call of get_weather arrived as text")
    assert found["parameters"].detail == "rejected: temperature"
    assert all(found[step].advice for step in ("usage", "tool call", "tool_choice none", "parameters"))


async def test_server_without_tools(server: ScriptedServer) -> None:
    """Rejected tools are a failure, with advice for this server."""
    models = reply({"data": [{"id": "small", "owned_by": "vllm"}]})
    refused = reply({"error": {"message": '"auto" tool choice requires --enable-auto-tool-choice'}}, "400 Bad Request")
    unknown = reply({"error": {"message": "Unrecognized request argument: tool_choice"}}, "400 Bad Request")
    base_url = server.add("vllm", models, models, HELLO, refused, unknown, TEXT, HELLO)
    server.add("version", reply({"version": "0.32.0"}))
    found = await findings_of(config_of(base_url))

    assert verdicts_in(found) == {"TLS": "skipped", "tool call": "failed", "tool_choice none": "warning"}
    assert found["server"].detail == "vLLM (0.32.0)"
    assert "--enable-auto-tool-choice" in found["tool call"].advice
    assert found["tool_choice none"].detail == "the server rejects it"


async def test_model_without_calls(server: ScriptedServer) -> None:
    """A text where a call was requested is a warning; a failed text is a failure."""
    broken = reply({"error": {"message": "boom"}}, "500 Internal Server Error")
    found = await findings_of(config_of(server.add("lazy", MODELS, MODELS, HELLO, TEXT, broken, broken)))

    assert verdicts_in(found) == {
        "TLS": "skipped",
        "tool call": "warning",
        "tool_choice none": "failed",
        "streaming": "failed",
        "first text": "failed",
        "prefix cache": "skipped",
    }
    assert found["tool call"].detail == "the model answered without the tool: “It is sunny.”"
    assert found["first text"].detail.startswith("the same prompt failed: ")


async def test_call_instead_of_text(server: ScriptedServer) -> None:
    """A call although tools are forbidden is a warning."""
    both = answer("It is sunny.", calls=[call("get_weather", '{"city": "Paris"}')])
    found = await findings_of(config_of(server.add("both", MODELS, MODELS, HELLO, CALLED, both, HELLO)))

    assert verdicts_in(found) == {"TLS": "skipped", "tool_choice none": "warning"}


async def test_no_response(server: ScriptedServer) -> None:
    """If the first prompt fails, no further one is sent."""
    broken = reply({"error": {"message": "boom"}}, "500 Internal Server Error")
    found = await findings_of(config_of(server.add("broken", MODELS, MODELS, broken)))

    assert found["response"].verdict == "failed"
    assert found["first text"] == Finding("first text", "skipped", "because of response")
    assert len(server.seen["broken"].bodies) == 3


async def test_reconnect(server: ScriptedServer) -> None:
    """A connection that the server has closed is opened again, once, as in every call."""
    once = await findings_of(config_of(server.add("once", MODELS, MODELS, ("rst",), HELLO, CALLED, TEXT, HELLO)))
    twice = await findings_of(config_of(server.add("twice", MODELS, MODELS, ("rst",))))

    assert verdicts_in(once) == {"TLS": "skipped"}
    assert twice["response"].verdict == "failed"
    assert len(server.seen["twice"].bodies) == 4


async def test_missing_v1(server: ScriptedServer) -> None:
    """A base URL without its ``/v1`` is a failure that names the right one, and the examination continues with that."""
    base_url = server.add("short", reply({"error": "no"}, "404 Not Found"), *HEALTHY)
    found = await findings_of(config_of(base_url.removesuffix("/v1")))

    assert verdicts_in(found) == {"address": "failed", "TLS": "skipped"}
    assert "(/v1 is missing)" in found["address"].detail
    assert found["address"].advice == f"Set base_url to {base_url}"
    assert set(server.seen["short"].paths[1:]) == {"/short/v1/models", "/short/v1/chat/completions"}


async def test_no_list_of_models(server: ScriptedServer) -> None:
    """A server without a list of models is examined nevertheless."""
    nothing = reply({"error": "no"}, "404 Not Found")
    # Requested there, below it, and as the connection is opened.
    base_url = server.add("bare", nothing, nothing, nothing, HELLO, CALLED, TEXT, HELLO)
    found = await findings_of(config_of(base_url))

    assert verdicts_in(found) == {"TLS": "skipped", "address": "warning", "model": "warning"}


@pytest.mark.parametrize(
    ("options", "detail", "advice"),
    [
        pytest.param({}, "the server rejects the key (status 401)", "Correct api_key.", id="a wrong one"),
        pytest.param({"api_key": None}, "the server requires a key (status 401)", SET_KEY, id="none"),
        pytest.param(
            {"kind": "groq"}, "the server rejects the key (status 401)", "Correct api_key.", id="of a service"
        ),
    ],
)
async def test_rejected_key(server: ScriptedServer, options: dict[str, Any], detail: str, advice: str) -> None:
    """After a rejected key no further request is sent, and the advice names the setting."""
    rejected = reply({"error": {"message": f"bad key {KEY}"}}, "401 Unauthorized")
    found = await findings_of(config_of(server.add("locked", rejected), **options))

    assert found["key accepted"] == Finding("key accepted", "failed", detail, advice)
    assert found["server"] == Finding("server", "skipped", "because of key accepted")
    assert len(server.seen["locked"].bodies) == 1


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        pytest.param(("rst",), "the connection broke", id="reset"),
        pytest.param(("hang",), "no response within 0.3 s", id="silence"),
    ],
)
async def test_unresponsive_server(server: ScriptedServer, script: Any, detail: str) -> None:
    """An open port without a response is a failure of the address."""
    found = await findings_of(config_of(server.add("mute", script), timeouts={"first_token_s": 0.3}))

    assert (found["address"].verdict, found["address"].detail) == ("failed", detail)
    assert found["response"].verdict == "skipped"


async def test_missing_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not set is a failure; the network is checked nevertheless if there is an address."""
    monkeypatch.delenv("NOT_SET", raising=False)
    found = await findings_of(config_of("http://127.0.0.1:1/v1", api_key="os.environ/NOT_SET"))
    without_address = await findings_of(config_of("os.environ/NOT_SET"))

    assert "NOT_SET" in found["key"].detail
    assert found["TCP"].verdict == "failed"
    assert verdicts_in(without_address) == dict.fromkeys(without_address, "skipped") | {"key": "failed"}
    assert without_address["DNS"].detail == "because of key"


async def test_route_of_litellm(server: ScriptedServer) -> None:
    """A route that LiteLLM knows is examined without a list of models, and without a network if it has no address."""
    base_url = server.add("routed", *HEALTHY[2:])
    found = await findings_of(config_of(base_url, kind="litellm", model="hosted_vllm/small"))
    unset = await findings_of(ProviderConfig.create("litellm", model="anthropic/m", api_key="os.environ/NOT_SET"))

    assert verdicts_in(found) == dict.fromkeys(("TLS", "address", "server", "model"), "skipped")
    assert list(found)[:7] == ["key", "DNS", "TCP", "TLS", "address", "server", "model"]
    assert {finding.detail for finding in unset.values() if finding.verdict == "skipped"} == {"because of key"}


async def test_invalid_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid proxy variable is a failure of the first step that uses it."""
    monkeypatch.setenv("HTTP_PROXY", "ftp://proxy")
    found = await findings_of(config_of("http://model.invalid/v1"))

    assert found["DNS"].verdict == "failed"
    assert "HTTP_PROXY" in found["DNS"].detail


async def test_embedded_server_without_model_file(tmp_path: Path) -> None:
    """A missing model file is a failure of the embedded server."""
    config = ProviderConfig.create("local", model_path=str(tmp_path / "none.gguf"))
    found = await findings_of(config)

    assert found["embedded server"].verdict == "failed"
    assert "none.gguf" in found["embedded server"].detail
    assert "TCP" not in found


@pytest.mark.integration
async def test_llama_cpp() -> None:
    """The real llama.cpp server is examined; the demo model ignores ``tool_choice``."""
    found = await findings_of(ProviderConfig.create("local"))

    assert verdicts_in(found) == {"tool_choice none": "warning"}
    assert found["server"].detail.startswith("llama.cpp")
    assert list(found)[:3] == ["key", "embedded server", "address"]


def test_command(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    """The command prints a mark and advice for each step, and exits with 1 if a step failed."""
    path = tmp_path / "providers.yaml"
    base_url = scripted_server.add("healthy", *HEALTHY)
    path.write_text(
        f"""
default: healthy
providers:
  healthy: {{kind: openai_compatible, model: small, base_url: "{base_url}", api_key: {KEY}}}
  gone: {{kind: openai_compatible, model: small, base_url: "http://127.0.0.1:1/v1"}}
""",
        encoding="utf-8",
    )
    runner = CliRunner()
    healthy = runner.invoke(group, ["doctor", "-p", "healthy", "--config", str(path)])
    gone = runner.invoke(group, ["doctor", "-p", "gone", "--config", str(path)])
    scripted_server.add("healthy", *HEALTHY)
    both = runner.invoke(group, ["doctor", "--config", str(path), "--json"])

    assert (healthy.exit_code, gone.exit_code, both.exit_code) == (0, 1, 1)
    assert healthy.stdout.startswith("healthy: openai_compatible\n  ✓ key               it is set\n")
    assert "  - TLS: skipped, the address says http://\n" in healthy.stdout
    assert "  ✗ TCP               127.0.0.1:1 refused the connection\n" in gone.stdout
    assert "                      → Start the server" in gone.stdout
    assert "first text, prefix cache: skipped, because of TCP\n" in gone.stdout
    reports = json.loads(both.stdout)
    assert [(report["name"], report["passed"]) for report in reports] == [("healthy", True), ("gone", False)]
    assert reports[1]["findings"][2]["verdict"] == "failed"
    assert KEY not in healthy.output + gone.output + both.output


def test_command_without_configuration(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--base-url`` no configuration is read, the key comes from the variable, and the model from the list."""
    monkeypatch.setenv("ADAPTERS_CONFIG", "none.yaml")
    monkeypatch.setenv("ADAPTERS_API_KEY", KEY)
    base_url = scripted_server.add("adhoc", *HEALTHY)

    result = CliRunner().invoke(group, ["doctor", "--base-url", base_url])

    assert result.exit_code == 0
    assert "  ✓ model             small, the first of 2 that the server lists\n" in result.stdout
    assert {headers["authorization"] for headers in scripted_server.seen["adhoc"].headers} == {f"Bearer {KEY}"}
