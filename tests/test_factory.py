"""Providers made by kind, from a provider entry, and from CAAL's settings."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, cast

import pytest

from adapters import FallbackProvider, LiteLLMProvider, LLMProvider, create_provider, create_provider_from_settings
from adapters.config import ProviderConfig, load_config
from adapters.config.options import (
    LimitOptions,
    ProviderOptions,
    ReasoningOptions,
    RetryOptions,
    RoutingOptions,
    TimeoutOptions,
)
from adapters.config.sections import LimitConfig, ReasoningConfig, RetryConfig, RoutingConfig, TimeoutConfig
from adapters.errors import ConfigError
from adapters.testing.answers import answer
from adapters.testing.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from adapters.config import KindName

_HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


async def _ask(provider: LLMProvider, server: ScriptedServer) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body and the headers of a provider's request."""
    async with provider:
        response = await provider.chat(_HELLO)
    assert response.content == "Hi"
    return server.seen["case"].bodies[0], server.seen["case"].headers[0]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("openai_compatible", {}, id="openai_compatible"),
        pytest.param("openai_compatible", {"api_key": "k"}, id="openai_compatible with a key"),
        pytest.param("groq", {"api_key": "k"}, id="groq"),
        pytest.param("openrouter", {"api_key": "k"}, id="openrouter"),
        pytest.param("ollama", {"think": False, "temperature": 0.15}, id="ollama"),
    ],
)
async def test_request_of_a_kind(server: ScriptedServer, kind: KindName, options: dict[str, Any]) -> None:
    """Each kind sends the model without prefix, and the key if one was given."""
    base_url = server.add("case", answer("Hi"))

    body, headers = await _ask(create_provider(kind, model="m", base_url=base_url, **options), server)

    assert server.seen["case"].paths == ["/case/v1/chat/completions"]
    assert (body["model"], body["temperature"]) == ("m", options.get("temperature", 0.7))
    assert (headers.get("authorization") == "Bearer k") is ("api_key" in options)


_OURS = {"http-referer": "https://caal-llm-adapters.invalid", "x-title": "caal-llm-adapters"}
_CAAL = {"http-referer": "https://github.com/CoreWorxLab/CAAL", "x-title": "CAAL"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, _OURS, id="nothing set"),
        pytest.param({"x-title": "Mine", "X-Team": "voice"}, {**_OURS, "x-title": "Mine", "x-team": "voice"}, id="own"),
        pytest.param(
            {"HTTP-Referer": "https://example.org", "X-Title": "Mine"},
            {"http-referer": "https://example.org", "x-title": "Mine"},
            id="all own",
        ),
    ],
)
async def test_attribution_headers(server: ScriptedServer, headers: dict[str, str], expected: dict[str, str]) -> None:
    """The attribution headers are sent once, with the user's values over the defaults, which are not CAAL's."""
    base_url = server.add("case", answer("Hi"))

    _, sent = await _ask(
        create_provider("openrouter", model="m", api_key="k", base_url=base_url, headers=headers), server
    )

    assert {name: sent[name] for name in expected} == expected


def test_attribution_headers_of_caal() -> None:
    """Only a provider made from CAAL's settings sends CAAL's attribution headers."""
    caal = create_provider_from_settings({"llm_provider": "openrouter", "openrouter_api_key": "k"})
    groq = create_provider_from_settings({"llm_provider": "groq", "groq_api_key": "k"})

    assert _headers_of(caal) == _CAAL
    assert _headers_of(groq) == {}


def _headers_of(provider: LiteLLMProvider) -> dict[str, str]:
    return {name.lower(): value.get_secret_value() for name, value in _config_of(provider).headers.items()}


def test_provider_shows_its_options() -> None:
    """A provider shows its options as attributes; the kind may be in any case."""
    provider = create_provider(
        " Ollama",  # type: ignore[arg-type]  # type checkers know one spelling
        model="qwen3:8b",
        base_url=None,
        think=False,
        temperature=0.15,
        num_ctx=8192,
    )

    assert isinstance(provider, LiteLLMProvider)
    assert (provider.provider_name, provider.model) == ("ollama", "qwen3:8b")
    assert (provider.think, provider.temperature, provider.num_ctx) == (False, 0.15, 8192)


def test_former_keyword() -> None:
    """``provider_name`` still names the kind, with a DeprecationWarning for each place in the program."""
    with pytest.warns(DeprecationWarning, match="provider_name is now called kind") as caught:
        provider = create_provider(provider_name="ollama", model="m")  # type: ignore[call-arg]  # the former keyword

    assert isinstance(provider, LiteLLMProvider)
    assert provider.provider_name == "ollama"
    assert [warning.filename for warning in caught] == [__file__]
    assert list(inspect.signature(create_provider).parameters) == ["kind", "options"]


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        pytest.param(ProviderOptions, ProviderConfig.model_fields.keys() - {"kind"}, id="provider"),
        pytest.param(RetryOptions, RetryConfig.model_fields.keys(), id="retry"),
        pytest.param(TimeoutOptions, TimeoutConfig.model_fields.keys(), id="timeouts"),
        pytest.param(LimitOptions, LimitConfig.model_fields.keys(), id="limits"),
        pytest.param(RoutingOptions, RoutingConfig.model_fields.keys(), id="routing"),
        pytest.param(ReasoningOptions, ReasoningConfig.model_fields.keys(), id="reasoning"),
    ],
)
def test_typed_options_are_those_of_the_configuration(options: Any, fields: set[str]) -> None:
    """Type checkers know each option of the configuration, and no other."""
    assert options.__optional_keys__ == fields


def test_context_that_ollama_ignores_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A context size that Ollama ignores is logged once, with the fix; without one, nothing is logged."""
    create_provider("ollama", model="m", name="kitchen", num_ctx=8192)
    create_provider("ollama", model="m")
    create_provider("local", num_ctx=8192)

    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("kitchen: num_ctx has no effect")
    assert "OLLAMA_CONTEXT_LENGTH" in warnings[0]


async def test_provider_of_a_row(server: ScriptedServer) -> None:
    """An entry makes a provider of its name; options replace its values, and None keeps them."""
    row = ProviderConfig.create(
        "openai_compatible", name="mine", model="m", base_url=server.add("case", answer("Hi")), max_tokens=7
    )
    provider = create_provider(row, model="other", base_url=None, temperature=0)

    body, _ = await _ask(provider, server)

    assert (provider.provider_name, provider.model) == ("mine", "other")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("other", 0, 7)


async def test_a_row_with_fallbacks_is_a_group(server: ScriptedServer, tmp_path: Path) -> None:
    """The entry's times hold for the group, options for the entry only, and its fallback responds if it fails."""
    path = tmp_path / "providers.yaml"
    path.write_text(
        f"""\
default: home
providers:
  home: {{kind: openai_compatible, model: m, base_url: "{server.add("mute", ("hang",))}", fallbacks: [middle],
         first_token_s: 0.2, hedge_after_s: 5, cooldown_s: 60}}
  middle: {{kind: openai_compatible, model: m, base_url: "http://127.0.0.1:9/v1", retry: {{attempts: 1}},
           fallbacks: [last]}}
  last: {{kind: openai_compatible, model: small, base_url: "{server.add("last", answer("Hi"))}"}}
""",
        encoding="utf-8",
    )

    async with create_provider(load_config(path).provider(), model="other") as provider:
        response = await provider.chat(_HELLO)

    assert isinstance(provider, FallbackProvider)
    assert (provider.provider_name, response.content) == ("last", "Hi")
    assert [body["model"] for body in server.seen["mute"].bodies] == ["other"]
    assert [body["model"] for body in server.seen["last"].bodies] == ["small"]


def test_secrets_of_a_whole_group_are_told_at_once(tmp_path: Path) -> None:
    """A problem of one member is a problem of the group; all are reported with their lines."""
    path = tmp_path / "providers.yaml"
    row = "{kind: groq, model: m, fallbacks: "
    path.write_text(f"default: a\nproviders:\n  a: {row}[b]}}\n  b: {row}[]}}\n", encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        create_provider(load_config(path).provider())

    assert str(caught.value).splitlines() == [
        f"{path}:{line}: providers.{name}.api_key is missing: {name} needs an API key. Set api_key, or GROQ_API_KEY."
        for line, name in ((3, "a"), (4, "b"))
    ]


async def test_secret_is_looked_up_when_the_provider_is_made(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key from a variable is sent with the value that it had when the provider was made."""
    monkeypatch.setenv("THE_KEY", "k\n")
    provider = create_provider(
        "openai_compatible", model="m", base_url=server.add("case", answer("Hi")), api_key="os.environ/THE_KEY"
    )
    monkeypatch.delenv("THE_KEY")

    _, headers = await _ask(provider, server)

    assert headers["authorization"] == "Bearer k"


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        pytest.param(
            "requesty",
            {"model": "m"},
            "Unknown LLM provider 'requesty'. Supported providers: openai_compatible, openrouter, groq, ollama, local,"
            " litellm.",
            id="unknown provider",
        ),
        pytest.param(
            "openrouter",
            {"model": "m"},
            "openrouter needs an API key. Set api_key, or OPENROUTER_API_KEY.",
            id="openrouter without key",
        ),
        pytest.param(
            "groq", {"model": "m", "api_key": ""}, "groq needs an API key. Set api_key, or GROQ_API_KEY.", id="groq"
        ),
        pytest.param(
            "ollama",
            {"model": "m", "temprature": 1},
            "ollama: temprature is not known; did you mean temperature?",
            id="unknown option",
        ),
        pytest.param(
            "openai_compatible",
            {"model": "m", "base_url": "http://h", "api_key": "os.environ/NO_KEY"},
            "openai_compatible: api_key names the environment variable NO_KEY, which is not set; export it",
            id="missing variable",
        ),
    ],
)
def test_invalid_options(name: str, options: dict[str, Any], expected: str) -> None:
    """Invalid options are a ValueError with the fix when the provider is made."""
    with pytest.raises(ConfigError) as caught:
        create_provider(cast("KindName", name), **options)

    assert str(caught.value) == expected
    assert isinstance(caught.value, ValueError)


def _config_of(provider: LiteLLMProvider) -> ProviderConfig:
    """Return the settings of a provider, because its default address has no server here."""
    return provider._config


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(
            {},
            {
                "kind": "ollama",
                "model": "qwen3:8b",
                "base_url": "http://localhost:11434/v1",
                "think": False,
                "temperature": 0.15,
                "num_ctx": None,
            },
            id="nothing",
        ),
        pytest.param(
            {
                "llm_provider": "OLLAMA",
                "ollama_model": "m",
                "ollama_host": "http://gpu:11434",
                "think": True,
                "num_ctx": 4096,
                "temperature": 0.5,
            },
            {
                "kind": "ollama",
                "model": "m",
                "base_url": "http://gpu:11434/v1",
                "think": True,
                "temperature": 0.5,
                "num_ctx": 4096,
            },
            id="ollama",
        ),
        pytest.param(
            {"llm_provider": "groq", "groq_api_key": "k"},
            {
                "kind": "groq",
                "model": "llama-3.3-70b-versatile",
                "base_url": "https://api.groq.com/openai/v1",
                "temperature": 0.15,
                "key": "k",
            },
            id="groq with defaults",
        ),
        pytest.param(
            {"llm_provider": "groq", "groq_api_key": "k", "groq_model": "m", "temperature": 0},
            {"kind": "groq", "model": "m", "temperature": 0},
            id="groq",
        ),
        pytest.param(
            {"llm_provider": "openai_compatible"},
            {
                "kind": "openai_compatible",
                "model": "gpt-3.5-turbo",
                "base_url": "http://localhost:8000/v1",
                "temperature": 0.7,
                "key": None,
            },
            id="openai_compatible with defaults",
        ),
        pytest.param(
            {
                "llm_provider": "openai_compatible",
                "openai_model": "m",
                "openai_base_url": "http://gpu:9/v1/",
                "openai_api_key": "k",
            },
            {"kind": "openai_compatible", "model": "m", "base_url": "http://gpu:9/v1", "key": "k"},
            id="openai_compatible",
        ),
        pytest.param(
            {"llm_provider": "openrouter", "openrouter_api_key": "k"},
            {
                "kind": "openrouter",
                "model": "openai/gpt-4",
                "base_url": "https://openrouter.ai/api/v1",
                "temperature": 0.7,
                "key": "k",
            },
            id="openrouter with defaults",
        ),
        pytest.param(
            {"llm_provider": "openrouter", "openrouter_api_key": "k", "openrouter_model": "m"},
            {"kind": "openrouter", "model": "m"},
            id="openrouter",
        ),
        pytest.param({"llm_provider": "local"}, {"kind": "local", "base_url": ""}, id="local"),
        pytest.param(
            {"llm_provider": None, "ollama_model": "", "ollama_host": " ", "think": None, "temperature": None},
            {"kind": "ollama", "model": "qwen3:8b", "base_url": "http://localhost:11434/v1", "think": False},
            id="empty values",
        ),
        pytest.param(
            {"llm_provider": "ollama", "groq_api_key": "k", "wake_word": "hey", "max_turns": 20},
            {"kind": "ollama", "key": None},
            id="settings of others",
        ),
    ],
)
def test_settings_of_caal(settings: dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of CAAL's settings reaches the provider, and missing ones have CAAL's defaults."""
    config = _config_of(create_provider_from_settings(settings))

    key = config.api_key.get_secret_value() if config.api_key else None
    assert {name: key if name == "key" else getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("kind", "variable"),
    [
        pytest.param("groq", "GROQ_API_KEY", id="groq"),
        pytest.param("openai_compatible", "OPENAI_API_KEY", id="openai_compatible"),
        pytest.param("openrouter", "OPENROUTER_API_KEY", id="openrouter"),
    ],
)
def test_settings_fall_back_to_the_environment(kind: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key is read from CAAL's environment variable."""
    monkeypatch.setenv(variable, "k")
    config = _config_of(create_provider_from_settings({"llm_provider": kind}))

    assert config.api_key is not None
    assert config.api_key.get_secret_value() == "k"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"llm_provider": "requesty"}, "Unknown LLM provider 'requesty'.", id="unknown provider"),
        pytest.param({"llm_provider": "openrouter"}, "openrouter needs an API key.", id="no key"),
        pytest.param({"temperature": "warm"}, "ollama: temperature must be a number", id="wrong type"),
    ],
)
def test_invalid_settings(settings: dict[str, Any], expected: str) -> None:
    """Invalid settings are an error with the fix."""
    with pytest.raises(ConfigError) as caught:
        create_provider_from_settings(settings)

    assert str(caught.value).startswith(expected)


@pytest.mark.integration
async def test_embedded_server_answers() -> None:
    """A provider of kind "local" starts its server with the first request, with the given key and context size."""
    async with create_provider("local", api_key="k", num_ctx=2048) as provider:
        response = await provider.chat(_HELLO)

    assert response.content


@pytest.mark.parametrize(
    ("kind", "model", "stripped"),
    [
        pytest.param("ollama", "hf.co/user/FunctionGemma-270m", True, id="FunctionGemma"),
        pytest.param("ollama", "gemma3:4b", False, id="another model"),
        pytest.param("openai_compatible", "functiongemma", False, id="another server"),
    ],
)
async def test_tools_of_functiongemma(server: ScriptedServer, kind: KindName, model: str, *, stripped: bool) -> None:
    """FunctionGemma on Ollama gets tools without descriptions, as in CAAL; the caller's own stay."""
    function = {"name": "f", "description": "What it does.", "parameters": {"type": "object", "properties": {}}}
    tools: list[dict[str, Any]] = [{"type": "function", "function": function}, {"type": "web_search"}]
    base_url = server.add("case", answer("Hi"))

    async with create_provider(kind, model=model, base_url=base_url) as provider:
        await provider.chat(_HELLO, tools)

    sent = {**function, "description": "" if stripped else "What it does."}
    assert server.seen["case"].bodies[0]["tools"] == [{"type": "function", "function": sent}, {"type": "web_search"}]
    assert function["description"] == "What it does."
