"""The settings of one provider: defaults, validation, changes, and secrets in the environment."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from adapters.config import ProviderConfig, RetryConfig, TimeoutConfig
from adapters.errors import ConfigError

_SECRET = "sk-hunter2"
_SERVER = {"model": "m", "base_url": "http://host/v1"}


def _headers(config: ProviderConfig) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in config.headers.items()}


def test_defaults() -> None:
    """Fields that are not set have the defaults for a conversation."""
    config = ProviderConfig.create("openai_compatible", **_SERVER)

    assert config.name == "openai_compatible"
    assert config.api_key is None
    assert (config.temperature, config.max_tokens) == (0.7, 4096)
    assert (config.headers, config.extra_body) == ({}, {})
    assert config.retry == RetryConfig(attempts=3, initial_wait_s=0.2, max_wait_s=2.0, deadline_s=10.0)
    assert config.timeouts == TimeoutConfig(connect_s=3.0, first_token_s=8.0, stall_s=8.0, total_s=60.0)
    assert (config.think, config.num_ctx, config.model_path) == (None, None, None)


@pytest.mark.parametrize(
    ("kind", "base_url"),
    [
        pytest.param("openrouter", "https://openrouter.ai/api/v1", id="openrouter"),
        pytest.param("groq", "https://api.groq.com/openai/v1", id="groq"),
        pytest.param("ollama", "http://localhost:11434/v1", id="ollama"),
        pytest.param("local", "", id="local"),
    ],
)
def test_base_url_of_a_service(kind: str, base_url: str) -> None:
    """A kind with a service of its own needs no address; one that starts a server has none."""
    assert ProviderConfig.create(kind, model="m").base_url == base_url


def test_none_is_default_where_it_means_nothing() -> None:
    """None means "not set" in fields where it has no other meaning."""
    unset = dict.fromkeys(("name", "base_url", "headers", "extra_body", "retry", "timeouts"))
    config = ProviderConfig.create("ollama", model="m", temperature=None, max_tokens=None, **unset)

    assert config == ProviderConfig.create("ollama", model="m").model_copy(
        update={"temperature": None, "max_tokens": None}
    )


def test_local_provider_needs_no_model() -> None:
    """The embedded server needs no model name."""
    assert ProviderConfig.create("local").model == "local"


def test_model_path_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may begin with ~ or be a ``Path``; an empty one is None."""
    monkeypatch.setenv("HOME", "/home/me")

    assert ProviderConfig.create("local", model_path="~/m.gguf").model_path == Path("/home/me/m.gguf")
    assert ProviderConfig.create("local", model_path=Path("m.gguf")).model_path == Path("m.gguf")
    assert ProviderConfig.create("local", model_path=" ").model_path is None


@pytest.mark.parametrize(
    ("given_key", "key"),
    [
        pytest.param("  sk-1\n", "sk-1", id="white space"),
        pytest.param(SecretStr("sk-1"), "sk-1", id="secret"),
        pytest.param("", None, id="empty"),
        pytest.param(" ", None, id="blank"),
    ],
)
def test_api_key(given_key: str, key: str | None) -> None:
    """A key is stripped, and an empty one is None."""
    config = ProviderConfig.create("openai_compatible", **_SERVER, api_key=given_key)

    assert (config.api_key and config.api_key.get_secret_value()) == key


def test_openrouter_headers_are_added() -> None:
    """OpenRouter gets the application's name from the user's headers, in any spelling, or from the package."""
    assert _headers(ProviderConfig.create("openrouter", model="m")) == {
        "HTTP-Referer": "https://caal-llm-adapters.invalid",
        "X-Title": "caal-llm-adapters",
    }
    assert _headers(ProviderConfig.create("openrouter", model="m", headers={"x-title": "Me", "X-More": "1"})) == {
        "HTTP-Referer": "https://caal-llm-adapters.invalid",
        "x-title": "Me",
        "X-More": "1",
    }


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        pytest.param(
            {"kind": "groq"}, "kind is not an option; it is the first argument when the provider is created", id="kind"
        ),
        pytest.param({"modle": "m"}, "modle is not known; did you mean model?", id="unknown key"),
        pytest.param({"zzz": 1}, "zzz is not known; use one of api_key, base_url,", id="unlike any key"),
        pytest.param({f"api_key:{_SECRET}": None}, "the call holds a key that is not known; use one of", id="secret"),
        pytest.param({"retry": {"attempt": 1}}, "retry.attempt is not known; did you mean attempts?", id="inner key"),
        pytest.param({"model": " "}, "model is missing; add the model's name", id="no model"),
        pytest.param({"model": 4}, "model must be text; put it in quotes", id="number for text"),
        pytest.param({"base_url": None}, "base_url is missing; add the server's address", id="no base_url"),
        pytest.param({"base_url": f"http://u:{_SECRET}@h"}, "base_url must not hold a user name", id="login"),
        pytest.param({"api_key": 12345}, "api_key must be text; put it in quotes", id="number for key"),
        pytest.param({"api_key": f"{_SECRET}\nX"}, "api_key holds a line break", id="line break in key"),
        pytest.param({"api_key": f"{_SECRET}…"}, "api_key holds a line break or a character", id="ellipsis in key"),
        pytest.param(
            {"api_key": f"Bearer os.environ/{_SECRET}"},
            "api_key holds os.environ/NAME among other text",
            id="half a name",
        ),
        pytest.param({"temperature": "0.7"}, "temperature must be a number, without quotes", id="text for number"),
        pytest.param({"temperature": True}, "temperature must be a number, without quotes", id="boolean for number"),
        pytest.param({"temperature": 2.5}, "temperature must be at most 2", id="too hot"),
        pytest.param({"temperature": -1}, "temperature must be at least 0", id="too cold"),
        pytest.param({"temperature": float("nan")}, "temperature must be a finite number", id="not a number"),
        pytest.param({"max_tokens": 0}, "max_tokens must be at least 1", id="no tokens"),
        pytest.param({"max_tokens": 10.5}, "max_tokens must be a whole number", id="fraction"),
        pytest.param({"max_tokens": "10"}, "max_tokens must be a whole number, without quotes", id="text for tokens"),
        pytest.param({"max_tokens": True}, "max_tokens must be a whole number, without quotes", id="boolean for int"),
        pytest.param({"think": "no"}, "think must be true or false, without quotes", id="text for boolean"),
        pytest.param({"retry": {"attempts": 0}}, "retry.attempts must be at least 1", id="no attempt"),
        pytest.param({"retry": {"initial_wait_s": -1}}, "retry.initial_wait_s must be at least 0", id="negative wait"),
        pytest.param({"retry": 3}, "retry must be a block of keys", id="number for block"),
        pytest.param({"timeouts": {"total_s": 0}}, "timeouts.total_s must be more than 0", id="no time"),
        pytest.param(
            {"timeouts": {"total_s": float("inf")}}, "timeouts.total_s must be a finite number", id="endless time"
        ),
        pytest.param({"headers": ["a"]}, "headers must be a block of keys", id="list for block"),
        pytest.param({"headers": {"A B": "1"}}, "headers holds a header whose name", id="header name"),
        pytest.param({"headers": {"A": 1}}, "headers.A must be text; put it in quotes", id="header number"),
        pytest.param({"headers": {"A": f"{_SECRET}\r\nB: 1"}}, "headers.A holds a line break", id="header break"),
        pytest.param({"headers": {"A": "1", "a": "2"}}, "headers holds one header twice", id="header twice"),
        *(
            pytest.param({"headers": {name: "1"}}, f"headers cannot hold {name}: the connection sets it", id=name)
            for name in ("Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade", "Proxy-Authorization")
        ),
        pytest.param({"extra_query": {"a": 1}}, "extra_query.a must be text; put it in quotes", id="query number"),
        pytest.param({"extra_query": "a=1"}, "extra_query must be a block of keys", id="text for query"),
        pytest.param({"extra_query": {"a": "$KEY"}}, "extra_query.a is a shell's way", id="shell variable in query"),
        pytest.param({"base_url": f"https://h?a={_SECRET}&a=1"}, "base_url has a query that holds", id="query twice"),
        pytest.param({"tls": {"ca": "a.pem"}}, "tls.ca is not known; use one of ca_file, cert_file", id="key in tls"),
        pytest.param(
            {"base_url": "https://h", "tls": {"key_file": "a.pem"}}, "tls has a key_file without a cert_file", id="key"
        ),
        pytest.param({"tls": {"ca_file": "a.pem"}}, "tls is for https:// only", id="tls without TLS"),
        pytest.param(
            {"extra_body": {"messages": []}}, "extra_body cannot hold messages: the provider writes it", id="ours"
        ),
        pytest.param(
            {"extra_body": {"a": [{"b": date(2026, 1, 1)}]}}, "extra_body.a.0.b must be something that JSON", id="date"
        ),
        pytest.param({"num_ctx": 8192}, "num_ctx is for kind ollama or local only; remove it", id="context"),
        pytest.param({"models": ["m"]}, "models is for kind openrouter only; remove it", id="other models"),
        pytest.param({"routing": {}}, "routing is for kind openrouter only; remove it", id="routing"),
        pytest.param({"reasoning": {}}, "reasoning is for kind openrouter only; remove it", id="reasoning"),
        pytest.param({"stop": [1]}, "stop.0 must be text; put it in quotes", id="stop"),
        pytest.param(
            {"reasoning_effort": "hard"},
            "reasoning_effort knows only 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'",
            id="effort",
        ),
        pytest.param({"model_path": "m.gguf"}, "model_path is for kind local only; remove it", id="model file"),
        pytest.param({"model_path": "~nobody-here/m"}, "model_path begins with ~ and the name of no user", id="whose"),
        pytest.param({"model_path": 4}, "model_path must be text; put it in quotes", id="number for path"),
    ],
)
def test_mistakes_are_reported(options: dict[str, Any], reported: str) -> None:
    """Each mistake is one line that names the provider, the key and the fix, and repeats no value."""
    with pytest.raises(ConfigError) as caught:
        ProviderConfig.create("openai_compatible", **{**_SERVER, **options})

    assert str(caught.value).startswith(f"openai_compatible: {reported}")
    assert "\n" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        pytest.param("vllm", "use openai_compatible, with its base_url; see docs/vllm.md", id="a server"),
        pytest.param("LM Studio", "use openai_compatible, with its base_url; see docs/lm-studio.md", id="with a space"),
        pytest.param("llama.cpp", "use openai_compatible, with its base_url; see docs/llama-cpp.md", id="with a dot"),
        pytest.param("localai", "use openai_compatible, with its base_url; see docs/faq.md", id="without a page"),
        pytest.param("azure", "use litellm, with model: azure/…; see docs/azure.md", id="a service"),
        pytest.param("gemini", "use litellm, with model: gemini/…; see docs/litellm-providers.md", id="of a page"),
        pytest.param("openruter", "did you mean openrouter?", id="misspelled"),
    ],
)
def test_unknown_kind(kind: str, hint: str) -> None:
    """The error for the name of a server or service names its kind and its page."""
    with pytest.raises(ConfigError) as caught:
        ProviderConfig.create(kind, model="m")

    assert str(caught.value).splitlines()[0].endswith(f"kind is not a kind of provider; {hint}")


def test_all_mistakes_at_once() -> None:
    """All mistakes are reported together."""
    with pytest.raises(ConfigError) as caught:
        ProviderConfig.create("grok", name="fast", modle="m", retry={"attempts": 0})

    assert str(caught.value).splitlines() == [
        "fast: kind is not a kind of provider; did you mean groq?",
        "fast: modle is not known; did you mean model?",
        "fast: retry.attempts must be at least 1",
    ]


def test_direct_construction_hides_values() -> None:
    """The error of pydantic shows no value either."""
    with pytest.raises(ValidationError) as caught:
        ProviderConfig.model_validate({"kind": "groq", "model": "m", "api_key": f"{_SECRET}…", "retry": _SECRET})

    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    """Keys and headers are hidden in any text made of the settings."""
    config = ProviderConfig.create("openai_compatible", **_SERVER, api_key=_SECRET, headers={"X": _SECRET})

    assert "hunter2" not in f"{config} {config!r} {config.model_dump_json()}"


def test_settings_are_not_changed_later() -> None:
    """Settings are immutable."""
    config = ProviderConfig.create("local")

    with pytest.raises(ValidationError):
        config.model = "other"


def test_with_options() -> None:
    """A changed copy keeps all other fields, also inside ``retry`` and ``timeouts``; None changes nothing there."""
    config = ProviderConfig.create(
        "openai_compatible", **_SERVER, name="mine", headers={"X": "1"}, timeouts={"total_s": 9}, retry={"attempts": 5}
    )
    changed = config.with_options(
        model="other", base_url=None, timeouts={"stall_s": 2}, retry=RetryConfig(deadline_s=1), temperature=None
    )

    assert (changed.name, changed.model, changed.base_url) == ("mine", "other", "http://host/v1")
    assert (changed.timeouts.total_s, changed.timeouts.stall_s) == (9, 2)
    assert (changed.retry.attempts, changed.retry.deadline_s) == (3, 1)
    assert changed.temperature is None
    assert _headers(changed) == {"X": "1"}
    assert config.model == "m"


def test_address_without_path_stays_without() -> None:
    """A pasted endpoint without /v1 is kept without it, also in a copy of the settings."""
    config = ProviderConfig.create("openai_compatible", model="m", base_url="https://host/chat/completions")

    assert config.with_options(model="n").resolved().base_url == "https://host"
    assert config.with_options(base_url="https://host").base_url == "https://host/v1"


def test_mistakes_in_with_options() -> None:
    """An invalid change is an error, and so is a change of the kind, on which all defaults depend."""
    config = ProviderConfig.create("groq", model="m")

    with pytest.raises(ConfigError, match=r"^groq: temperature must be at most 2$"):
        config.with_options(temperature=3)
    with pytest.raises(ConfigError, match=r"^groq: kind is not an option"):
        config.with_options(kind="ollama")


def test_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables are looked up and validated when they are needed, not before."""
    config = ProviderConfig.create(
        "openai_compatible",
        model="os.environ/THE_MODEL",
        base_url=" os.environ/THE_URL",
        api_key="os.environ/THE_KEY",
        headers={"X-Team": "os.environ/THE_TEAM", "X-Plain": "plain"},
    )
    monkeypatch.setenv("THE_MODEL", "qwen")
    monkeypatch.setenv("THE_URL", "http://host:8000/")
    monkeypatch.setenv("THE_KEY", f" {_SECRET}\n")
    monkeypatch.setenv("THE_TEAM", "voice")
    resolved = config.resolved()

    assert (resolved.model, resolved.base_url) == ("qwen", "http://host:8000/v1")
    assert resolved.api_key == SecretStr(_SECRET)
    assert _headers(resolved) == {"X-Team": "voice", "X-Plain": "plain"}
    assert config.model == "os.environ/THE_MODEL"


def test_path_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable may name the model file, too."""
    monkeypatch.setenv("THE_FILE", "/m.gguf")

    assert ProviderConfig.create("local", model_path="os.environ/THE_FILE").resolved().model_path == Path("/m.gguf")


def test_unset_variables() -> None:
    """Each unset variable is reported; a value that does not look like the name of one is not repeated."""
    config = ProviderConfig.create(
        "openai_compatible",
        model="m",
        base_url="os.environ/THE_URL",
        api_key=f"os.environ/{_SECRET}",
        headers={"X": "os.environ/"},
    )
    fix = "which is not set; export it"

    with pytest.raises(ConfigError) as caught:
        config.resolved()

    assert str(caught.value).splitlines() == [
        f"openai_compatible: api_key names a variable, {fix}",
        f"openai_compatible: base_url names the environment variable THE_URL, {fix}",
        f"openai_compatible: headers.X names a variable, {fix}",
    ]


def test_value_of_a_variable_is_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid value of a variable is reported like one in the file."""
    monkeypatch.setenv("THE_KEY", f"{_SECRET}\nrest")
    config = ProviderConfig.create("openai_compatible", **_SERVER, api_key="os.environ/THE_KEY")

    with pytest.raises(ConfigError, match=r"^openai_compatible: api_key holds a line break"):
        config.resolved()


@pytest.mark.parametrize(
    ("kind", "variable"),
    [
        pytest.param("openrouter", "OPENROUTER_API_KEY", id="openrouter"),
        pytest.param("groq", "GROQ_API_KEY", id="groq"),
    ],
)
def test_required_key(kind: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that requires a key takes it from its own variable if none is set; without any, there is an error."""
    config = ProviderConfig.create(kind, model="m")

    with pytest.raises(ConfigError) as caught:
        config.resolved()
    assert str(caught.value) == f"{kind} needs an API key. Set api_key, or {variable}."

    monkeypatch.setenv(variable, "k")
    assert config.resolved().api_key == SecretStr("k")
    assert config.with_options(api_key="own").resolved().api_key == SecretStr("own")


@pytest.mark.parametrize(
    ("kind", "key", "name"),
    [
        pytest.param("groq", None, "GROQ_API_KEY", id="the variable of the kind"),
        pytest.param("groq", "os.environ/MY_KEY", "MY_KEY", id="a variable that is named"),
        pytest.param("groq", "gsk-1", "api_key", id="written out"),
        pytest.param("ollama", None, "api_key", id="none"),
    ],
)
def test_key_name(kind: str, key: str | None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source of a key is stored, for the error if it is rejected."""
    monkeypatch.setenv("GROQ_API_KEY", "gsk-2")
    monkeypatch.setenv("MY_KEY", "gsk-3")

    assert ProviderConfig.create(kind, model="m", api_key=key).resolved().key_name == name
    assert ProviderConfig.create(kind, model="m", api_key=key).resolved().resolved().key_name == name


def test_empty_variable_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is no key: fine where none is required, an error where one is."""
    monkeypatch.setenv("THE_KEY", "")
    options = {"model": "m", "api_key": "os.environ/THE_KEY"}

    assert ProviderConfig.create("openai_compatible", base_url="h", **options).resolved().api_key is None
    with pytest.raises(ConfigError, match="groq needs an API key"):
        ProviderConfig.create("groq", **options).resolved()


def test_openai_key_goes_to_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's key in the environment is not sent to other servers."""
    monkeypatch.setenv("OPENAI_API_KEY", _SECRET)

    assert ProviderConfig.create("openai_compatible", **_SERVER).resolved().api_key is None


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from(sorted(set(ProviderConfig.model_fields) - {"kind"})), _JUNK), st.text(max_size=9)
)
def test_any_options_are_taken_or_rejected(options: dict[str, Any], unknown: str) -> None:
    """Any options give settings or a ``ConfigError`` in plain words."""
    reported = ""
    try:
        ProviderConfig.create("openai_compatible", **{"model": "m", unknown: 1, **options})
    except ConfigError as error:
        reported = str(error)

    assert reported
    assert "pydantic" not in reported
    assert "cannot be used" not in reported


def test_routing_of_openrouter() -> None:
    """Blocks without a default are changed key by key like the others; a single name needs no list."""
    config = ProviderConfig.create("openrouter", model="m", routing={"only": "groq", "max_price": {"prompt": 1}})
    assert config.routing is not None

    changed = config.with_options(routing={"sort": "price"}, reasoning={"effort": "low"})

    assert changed.routing is not None
    assert changed.routing.model_dump(exclude_none=True) == {
        "only": ["groq"],
        "max_price": {"prompt": 1.0},
        "sort": "price",
    }
    assert changed.reasoning is not None
    assert changed.reasoning.effort == "low"


@pytest.mark.parametrize(
    ("routing", "text"),
    [
        pytest.param({"sort": "speed"}, "routing.sort knows only 'price', 'throughput' or 'latency'", id="sort"),
        pytest.param(
            {"max_price": {"tokens": 1}},
            "routing.max_price knows only 'prompt', 'completion', 'request', 'image' or 'audio'",
            id="price",
        ),
        pytest.param({"only": 7}, "routing.only must be a list, such as [one, two]", id="no list"),
        pytest.param({"sorted": "price"}, "routing.sorted is not known; did you mean sort?", id="no such key"),
    ],
)
def test_mistakes_in_routing(routing: dict[str, Any], text: str) -> None:
    """Routing that OpenRouter does not know is an error before any request."""
    with pytest.raises(ConfigError) as caught:
        ProviderConfig.create("openrouter", model="m", routing=routing)

    assert str(caught.value) == f"openrouter: {text}"


def test_query_of_the_address_is_kept_and_hidden() -> None:
    """A query in ``base_url`` becomes part of ``extra_query``, whose own values win; no value is in the ``repr``."""
    config = ProviderConfig.create(
        "openai_compatible",
        model="m",
        base_url="https://host/v1/chat/completions?api-version=1&key=hunter2",
        extra_query={"api-version": "2"},
    )

    assert config.base_url == "https://host/v1"
    assert {name: value.get_secret_value() for name, value in config.extra_query.items()} == {
        "api-version": "2",
        "key": "hunter2",
    }
    assert "hunter2" not in repr(config)
    assert config.with_options(model="n").extra_query == config.extra_query


def test_query_and_certificates_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables may hold the values of a query, the files of TLS, and an address with a query."""
    monkeypatch.setenv("THE_URL", "https://host?a=1")
    monkeypatch.setenv("THE_VERSION", "2")
    monkeypatch.setenv("THE_FILE", "/ca.pem")
    config = ProviderConfig.create(
        "openai_compatible",
        model="m",
        base_url="os.environ/THE_URL",
        extra_query={"b": "os.environ/THE_VERSION"},
        tls={"ca_file": "os.environ/THE_FILE", "cert_file": "~/me.pem"},
    )
    resolved = config.resolved()

    assert resolved.base_url == "https://host/v1"
    assert {name: value.get_secret_value() for name, value in resolved.extra_query.items()} == {"a": "1", "b": "2"}
    assert resolved.tls is not None
    assert (resolved.tls.ca_file, resolved.tls.cert_file) == (Path("/ca.pem"), Path("~/me.pem").expanduser())


def test_tls_needs_an_address_with_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address from a variable is validated when it is looked up."""
    monkeypatch.setenv("THE_URL", "http://host")
    config = ProviderConfig.create(
        "openai_compatible", model="m", base_url="os.environ/THE_URL", tls={"ca_file": "/ca.pem"}
    )

    with pytest.raises(ConfigError, match=r"tls is for https:// only"):
        config.resolved()
