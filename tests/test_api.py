"""The public surface: the names, the signatures that agents call, and the cost of importing them."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

import adapters
from tests import tracing

ROOT = Path(__file__).parent.parent

PUBLIC = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AdapterError",
    "AgentEvent",
    "AllProvidersFailedError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigError",
    "ContentFilterError",
    "ContextWindowExceededError",
    "FallbackProvider",
    "IncompleteResponseError",
    "InternalServerError",
    "LLMProvider",
    "LLMResponse",
    "LiteLLMProvider",
    "McpServers",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "ProviderConfig",
    "RateLimitError",
    "ResponseDone",
    "StreamEvent",
    "TextDelta",
    "TokenUsage",
    "Tool",
    "ToolCall",
    "ToolCallDone",
    "ToolContext",
    "ToolResult",
    "ToolsRunning",
    "create_provider",
    "create_provider_from_settings",
    "load_config",
    "mcp_tools",
    "run_turn",
]

MODULES = ["doctor", "livekit", "models", "pipecat", "testing"]

PROVIDERS = [
    pytest.param(adapters.LLMProvider, id="LLMProvider"),
    pytest.param(adapters.LiteLLMProvider, id="LiteLLMProvider"),
    pytest.param(adapters.FallbackProvider, id="FallbackProvider"),
]


def test_public_names() -> None:
    """The public names are these, sorted, and each of them exists."""
    assert adapters.__all__ == PUBLIC == sorted(PUBLIC)
    assert [name for name in PUBLIC if not hasattr(adapters, name)] == []


def test_star_import_gives_all_names() -> None:
    """``from adapters import *`` gives the public names and no other."""
    names: dict[str, object] = {}
    exec("from adapters import *", names)  # noqa: S102 - a star import is allowed at the top of a module alone

    assert sorted(set(names) - {"__builtins__"}) == adapters.__all__


def test_version() -> None:
    """``__version__`` is that of the installed distribution; any other unknown name is an error."""
    try:
        expected = version("caal-llm-adapters")
    except PackageNotFoundError:
        pytest.skip("the package is not installed")

    assert adapters.__version__ == expected


def test_dir_lists_what_is_loaded_late() -> None:
    """``dir`` lists the public names and modules before anything has loaded them."""
    printed = _run("import json, adapters; print(json.dumps(dir(adapters)))")

    assert {*PUBLIC, *MODULES, "__version__"} <= set(printed)
    assert printed == sorted(printed)


def test_public_modules_are_attributes() -> None:
    """A public module is loaded when it is first accessed."""
    names = ["models", "testing", "doctor", "livekit"]  # those that import others come last
    code = f"import json, adapters; before = [name for name in {names} if name in vars(adapters)]\n"
    code += f"print(json.dumps([before, [getattr(adapters, name).__name__ for name in {names}]]))"

    assert _run(code) == [[], [f"adapters.{name}" for name in names]]
    assert {*names, "pipecat"} == {*MODULES}


@pytest.mark.parametrize("name", ["livekit", "pipecat"])
def test_module_whose_library_is_missing(name: str) -> None:
    """Without its library a module is no attribute, for ``hasattr`` and ``inspect``; the error names the extra."""
    code = (
        f"import json, sys; sys.modules['{name}'] = None; import adapters\n"
        f"try:\n    from adapters import {name}\n"
        f"except ImportError as error:\n    print(json.dumps([hasattr(adapters, '{name}'), str(error)]))"
    )
    has_attribute, text = _run(code)

    assert has_attribute is False
    assert f"caal-llm-adapters[{name}]" in text or f"[{name}]'" in text


def test_unknown_name() -> None:
    """An unknown name is an AttributeError."""
    with pytest.raises(AttributeError, match="module 'adapters' has no attribute 'create_providers'"):
        _ = adapters.create_providers  # type: ignore[attr-defined]  # the mistake


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        pytest.param("chat", ["self", "messages", "tools=None", "response_format=None", "**kwargs"], id="chat"),
        pytest.param("chat_stream", ["self", "messages", "tools=None", "**kwargs"], id="chat_stream"),
        pytest.param("stream_events", ["self", "messages", "tools=None", "**kwargs"], id="stream_events"),
        pytest.param("prewarm", ["self", "messages=None", "tools=None", "**kwargs"], id="prewarm"),
        pytest.param("aclose", ["self"], id="aclose"),
        pytest.param("prepare_tools", ["self", "tools"], id="prepare_tools"),
        pytest.param("parse_tool_arguments", ["self", "arguments"], id="parse_tool_arguments"),
        pytest.param(
            "format_tool_result", ["self", "content", "tool_call_id", "tool_name=None"], id="format_tool_result"
        ),
        pytest.param("format_tool_call_message", ["self", "content", "tool_calls"], id="format_tool_call_message"),
    ],
)
def test_contract_of_a_provider(provider: type[adapters.LLMProvider], method: str, parameters: list[str]) -> None:
    """Every provider accepts the arguments of CAAL and other agents; more may follow with a default."""
    signature = inspect.signature(getattr(provider, method))

    found = [str(parameter).split(":")[0] + _default(parameter) for parameter in signature.parameters.values()]
    assert [name for name in found if name != "freeze_gc=False"] == parameters


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", ["provider_name", "model", "supports_think", "last_usage", "last_response"])
def test_properties_of_a_provider(provider: type[adapters.LLMProvider], name: str) -> None:
    """The attributes that agents read are properties."""
    assert isinstance(getattr(provider, name), property)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        pytest.param(adapters.create_provider, ["kind", "**options"], id="create_provider"),
        pytest.param(adapters.create_provider_from_settings, ["settings"], id="create_provider_from_settings"),
        pytest.param(adapters.load_config, ["path=None"], id="load_config"),
        pytest.param(adapters.mcp_tools, ["client", "timeout_s=None", "prefix="], id="mcp_tools"),
        pytest.param(
            adapters.run_turn,
            [
                "provider",
                "messages",
                "tools=None",
                "call_tool=None",
                "max_rounds=5",
                "context=None",
                "tool_timeout_s=10.0",
                "turn_timeout_s=None",
                "filler_after_s=None",
                "max_result_chars=100000",
                "tool_images=user",
                "**kwargs",
            ],
            id="run_turn",
        ),
    ],
)
def test_contract_of_a_function(function: object, parameters: list[str]) -> None:
    """The functions have these parameters."""
    assert callable(function)
    signature = inspect.signature(function)

    assert [str(parameter).split(":")[0] + _default(parameter) for parameter in signature.parameters.values()] == (
        parameters
    )


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is inspect.Parameter.empty else f"={parameter.default}"


def _run(code: str) -> Any:
    """Return what code prints as JSON in a new process."""
    command, env = [sys.executable, "-c", code], os.environ | tracing.VARIABLES
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=env).stdout)


def test_import_is_light() -> None:
    """Importing the package imports nothing slow; the YAML reader is imported when a file is read."""
    modules = _run("import json, sys, adapters; print(json.dumps(sorted(sys.modules)))")
    heavy = {
        "aiohttp",
        "click",
        "docstring_parser",
        "httpx",
        "litellm",
        "mcp",
        "openai",
        "rich",
        "tenacity",
        "typing_extensions",
        "xllamacpp",
    }
    heavy |= {"pydantic", "yaml", "adapters.livekit", "adapters.tools.signature"}

    assert heavy & set(modules) == set()


def test_making_a_provider_loads_no_litellm() -> None:
    """LiteLLM, which takes seconds to load, is not loaded before ``prewarm`` or the first request."""
    code = (
        "import json, sys, adapters\n"
        "adapters.create_provider('ollama', model='m')\n"
        "adapters.load_config()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )

    assert {"aiohttp", "litellm", "openai", "xllamacpp"} & set(_run(code)) == set()
