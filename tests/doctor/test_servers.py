"""Server software is recognized by its list of models or its own endpoints, as its documentation describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.config import ProviderConfig
from adapters.doctor.address import locate_api
from adapters.doctor.probe import probing
from adapters.doctor.servers import SERVERS, recognize
from adapters.testing.answers import http, reply
from adapters.testing.server import ScriptedServer
from adapters.transport.endpoint import endpoint_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.testing.answers import Script

PLAIN = reply({"object": "list", "data": [{"id": "m", "object": "model"}]})


def listed(**fields: Any) -> Script:
    """Script a list of one model with further fields."""
    return reply({"object": "list", "data": [{"id": "m", "object": "model", **fields}]})


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Run a scripted server on the loop of the test."""
    async with ScriptedServer() as running:
        yield running


@pytest.mark.parametrize(
    ("models", "path", "document", "expected"),
    [
        pytest.param(listed(owned_by="vllm"), "version", {"version": "0.32.0"}, ("vLLM", "0.32.0"), id="vLLM"),
        pytest.param(PLAIN, "version", {"version": "0.32.0"}, ("vLLM", "0.32.0"), id="vLLM behind another name"),
        pytest.param(
            reply({"data": [{"id": "m"}]}, Server="llama.cpp"),
            "props",
            {"default_generation_settings": {}, "build_info": "b7551-a52dc60ba"},
            ("llama.cpp", "b7551-a52dc60ba"),
            id="llama.cpp",
        ),
        pytest.param(
            PLAIN,
            "props",
            {"default_generation_settings": {}, "build_info": 7},
            ("llama.cpp", ""),
            id="llama.cpp behind a proxy, of an unreadable version",
        ),
        pytest.param(
            PLAIN,
            ".well-known",
            {"version": "v4.9.0", "endpoints": {}, "capabilities": {}},
            ("LocalAI", "v4.9.0"),
            id="LocalAI",
        ),
        pytest.param(PLAIN, "system", {"backends": [], "loaded_models": []}, ("LocalAI", ""), id="an old LocalAI"),
        pytest.param(
            PLAIN,
            "info",
            {"model_id": "m", "max_total_tokens": 4096, "version": "3.3.2"},
            ("text-generation-inference", "3.3.2"),
            id="TGI",
        ),
        pytest.param(
            PLAIN,
            "api",
            {"object": "list", "data": [{"id": "m", "compatibility_type": "gguf", "state": "loaded"}]},
            ("LM Studio", ""),
            id="LM Studio",
        ),
        pytest.param(listed(owned_by="library"), "api", {"version": "0.12.6"}, ("Ollama", "0.12.6"), id="Ollama"),
        pytest.param(reply({"data": None}), "api", {"version": "0.12.6"}, ("Ollama", "0.12.6"), id="Ollama, empty"),
        pytest.param(PLAIN, "health", "I'm alive!", ("LiteLLM proxy", ""), id="LiteLLM proxy"),
        pytest.param(
            listed(pricing={"prompt": "0"}, architecture={}), "none", None, ("OpenRouter", ""), id="OpenRouter"
        ),
        pytest.param(listed(active=True, context_window=1, public_apps=None), "none", None, ("Groq", ""), id="Groq"),
        pytest.param(listed(owned_by="organization_owner"), "none", None, ("LM Studio", ""), id="LM Studio, by owner"),
        pytest.param(
            PLAIN,
            "api",
            {"name": "Open WebUI", "version": "0.6.30", "features": {}, "status": True},
            ("Open WebUI", "0.6.30"),
            id="Open WebUI",
        ),
        pytest.param(listed(owned_by="fastchat"), "none", None, ("FastChat", ""), id="FastChat"),
        pytest.param(listed(owned_by="xinference"), "none", None, ("Xinference", ""), id="Xinference"),
        pytest.param(listed(owned_by="vllm-mlx"), "none", None, ("vllm-mlx", ""), id="vllm-mlx"),
        pytest.param(listed(owned_by="rapid-mlx"), "none", None, ("Rapid-MLX", ""), id="Rapid-MLX"),
        pytest.param(listed(owned_by="mlflow"), "none", None, ("MLflow AI Gateway", ""), id="MLflow"),
        pytest.param(
            PLAIN,
            "readiness",
            {"status": "ready", "healthy_workers": 3, "total_workers": 4},
            ("SMG", ""),
            id="SMG",
        ),
        pytest.param(PLAIN, "get_server_info", {"model_path": "m", "version": "0.5"}, ("SGLang", "0.5"), id="SGLang"),
        pytest.param(
            reply({"data": []}, Server="BaseHTTP/0.6"),
            "none",
            None,
            ("an OpenAI-compatible server", "BaseHTTP/0.6"),
            id="something else",
        ),
        pytest.param(
            PLAIN,
            "api",
            {"error": "Unexpected endpoint or method. (GET /api/version)"},
            ("an OpenAI-compatible server", ""),
            id="an error inside a success",
        ),
        pytest.param(PLAIN, "info", [], ("an OpenAI-compatible server", ""), id="an empty list"),
        pytest.param(
            listed(owned_by="vllm"),
            "version",
            {"version": "\x1b[31m" + "9" * 100},
            ("vLLM", "[31m" + "9" * 35 + "…"),
            id="a version with control characters",
        ),
    ],
)
async def test_recognition(
    server: ScriptedServer, models: Script, path: str, document: Any, expected: tuple[str, str]
) -> None:
    """A server is recognized by its list of models, or by an endpoint of its own."""
    base_url = server.add("v", models)
    server.add(path, reply(document))
    config = ProviderConfig.create("openai_compatible", model="m", base_url=base_url)

    async with probing(endpoint_for(config), config.timeouts) as probe:
        found, version = await recognize(probe, await locate_api(probe, base_url))

    assert (found.name, version) == expected


async def test_replies_without_json(server: ScriptedServer) -> None:
    """A web page, or JSON that is nested too deeply, is not a list of models; a bare list is one."""
    page, deep = (http(b"<html>"),), (http(b"[" * 100_000),)
    config = ProviderConfig.create("openai_compatible", model="m", base_url=server.add("pages", page, deep, page))
    bare = server.add("bare", reply([{"id": "m"}, "n"]))

    async with probing(endpoint_for(config), config.timeouts) as probe:
        location, other = await locate_api(probe, config.base_url), await locate_api(probe, bare)

        nowhere = await locate_api(probe, config.base_url.removesuffix("pages/v1") + "api")

    assert nowhere.finding.verdict == "warning"
    assert (location.finding.verdict, location.models) == ("warning", [])
    assert (other.finding.verdict, other.models) == ("passed", [{"id": "m"}])


def test_each_server_can_be_recognized() -> None:
    """Each server has a sign, and advice on tools and on keeping its model in memory."""
    for server in SERVERS:
        assert server.headers or server.owners or server.entry or (server.path and (server.document or server.text))
        assert server.tools_advice
        assert server.warm_advice
