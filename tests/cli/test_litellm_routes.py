"""The commands with an entry of kind ``litellm``, whose address LiteLLM knows and which has no list of models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from adapters.cli.conversation import Conversation
from adapters.config import ProviderConfig, load_config
from adapters.doctor import Finding, examine
from adapters.errors import ConfigError
from adapters.models import list_models
from tests.cli.processes import KEY, run
from tests.servers.routes import Turn, anthropic_error, anthropic_reply, anthropic_stream, bedrock_stream

if TYPE_CHECKING:
    from pathlib import Path

    from adapters.testing import ScriptedServer, Step

pytest_plugins = ["adapters.testing.plugin"]

_HELLO = Turn(text=("Hel", "lo."))
_CALLED = Turn(calls=(("toolu_1", "get_weather", '{"city": "Paris"}'),))
_PROMPTS = (_HELLO, _CALLED, _HELLO, _HELLO, _HELLO)
_AWS = {"aws_access_key_id": "AKIA-1", "aws_secret_access_key": "aws-1", "aws_region_name": "us-east-1"}


@pytest.fixture
def routes(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """Name a configuration whose default is Anthropic's route at the scripted server."""
    path = tmp_path / "providers.yaml"
    address = server.add("claude").removesuffix("/v1")
    entry = {"kind": "litellm", "model": "anthropic/claude-x", "api_key": KEY, "base_url": address}
    entry["retry"] = {"attempts": 1}  # type: ignore[assignment]  # JSON is YAML
    path.write_text(json.dumps({"default": "claude", "providers": {"claude": entry}}), encoding="utf-8")
    monkeypatch.setenv("ADAPTERS_CONFIG", str(path))
    return server


async def _findings(config: ProviderConfig) -> dict[str, Finding]:
    found: list[Finding] = []
    await examine(config, found.append)
    return {finding.step: finding for finding in found}


def _play(server: ScriptedServer, *steps: Step) -> None:
    server.add("claude", *steps)


def test_chat(routes: ScriptedServer) -> None:
    """A turn with a tool, through the route."""
    _play(routes, anthropic_stream(_CALLED), anthropic_stream(_HELLO))

    result = run("chat", "-p", "claude", "weather?")

    assert (result.exit_code, result.stdout) == (0, "Hello.\n")
    assert '→ get_weather {"city": "Paris"}' in result.stderr


def test_chat_with_a_missing_model(routes: ScriptedServer) -> None:
    """There is no list of models to take names from; no second request is sent."""
    _play(routes, anthropic_error("404 Not Found", "not_found_error", "model: claude-x"))

    result = run("chat", "hi")

    assert result.exit_code == 1
    assert "Error: claude does not offer the model" in result.stderr
    assert len(routes.seen["claude"].paths) == 1


def test_chat_with_another_model(routes: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """``/model`` takes any name."""
    _play(routes, anthropic_stream(_HELLO))

    with Conversation(
        load_config().provider("claude").resolved(),
        system=None,
        with_tools=False,
        mcp_servers=None,
        as_json=False,
        is_ad_hoc=False,
    ) as conversation:
        conversation.converse(iter(["/model anthropic/claude-y", "hi"]))

    printed = capsys.readouterr()
    assert (printed.out, "does not list" in printed.err) == ("Hello.\n", False)
    models = [body["model"] for body in routes.seen["claude"].bodies]
    assert "claude-y" in models  # beside a prefill of the former model, which may come late


def test_models(routes: ScriptedServer) -> None:
    """The command says that there is no list, and what to do."""
    result = run("models")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: claude has no list of models: it uses a route of LiteLLM.")
    assert not routes.seen["claude"].paths


async def test_list_models() -> None:
    """The function raises the same error."""
    with pytest.raises(ConfigError, match="no list of models"):
        await list_models(ProviderConfig.create("litellm", model="anthropic/claude-x"))


def test_config_check(routes: ScriptedServer, tmp_path: Path) -> None:
    """An entry is checked as any other: secrets of ``litellm`` must be set."""
    assert run("config", "check").exit_code == 0

    path = tmp_path / "bedrock.yaml"
    key = "{aws_secret_access_key: os.environ/NOT_SET}"
    path.write_text(f"default: b\nproviders: {{b: {{kind: litellm, model: bedrock/x, litellm: {key}}}}}")
    result = run("config", "check", "--config", str(path))

    assert result.exit_code == 1
    assert "NOT_SET, which is not set" in result.stderr


def test_doctor(routes: ScriptedServer) -> None:
    """The steps that need a list of models are skipped in one line; the conversation is examined."""
    _play(routes, *map(anthropic_stream, _PROMPTS))

    result = run("doctor")

    assert result.exit_code == 0, result.output
    assert "address, server, model: skipped, LiteLLM's route anthropic has no list of models here" in result.stdout
    assert "“Hello.”" in result.stdout
    prefill = 3  # a loopback address gets a prefill and two longer prompts
    assert len(routes.seen["claude"].bodies) == len(_PROMPTS) + prefill


async def test_doctor_without_an_address(scripted_server: ScriptedServer) -> None:
    """Without base_url there is no address to reach; LiteLLM may find a key in the environment."""
    address = scripted_server.add("bedrock", *map(bedrock_stream, _PROMPTS)).removesuffix("/v1")
    options: dict[str, Any] = {**_AWS, "aws_bedrock_runtime_endpoint": address}
    model = "bedrock/converse/anthropic.claude-3-5-sonnet-20240620-v1:0"
    found = await _findings(ProviderConfig.create("litellm", model=model, litellm=options))

    assert found["key"].detail == "none is set; LiteLLM looks for one in the environment"
    assert {found[step].detail for step in ("DNS", "TCP", "TLS")} == {"LiteLLM knows the address of bedrock"}
    assert {step for step, finding in found.items() if finding.verdict == "failed"} == set()
    assert (found["response"].detail, found["tool call"].verdict) == ("“Hello.”", "passed")


async def test_doctor_with_a_rejected_key(scripted_server: ScriptedServer) -> None:
    """The response shows what no list of models can."""
    step = anthropic_error("401 Unauthorized", "authentication_error", "invalid x-api-key")
    address = scripted_server.add("claude", step).removesuffix("/v1")
    found = await _findings(ProviderConfig.create("litellm", model="anthropic/claude-x", api_key=KEY, base_url=address))

    assert found["response"].verdict == "failed"
    assert (found["tool call"].verdict, found["tool call"].detail) == ("skipped", "because of response")


def test_json(routes: ScriptedServer) -> None:
    """``--json`` has the whole response of a route as of any provider."""
    _play(routes, anthropic_stream(_HELLO), anthropic_reply(_HELLO))

    assert json.loads(run("chat", "--json", "hi").stdout)["content"] == "Hello."
