"""Base URLs as users write them, and the table of kinds."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.config.kinds import KINDS, KindName, clean_base_url, split_query


def test_each_kind_is_in_the_table() -> None:
    """Type checkers accept exactly the names in the table."""
    assert tuple(KINDS) == get_args(KindName)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        pytest.param("http://host:8000/v1", "http://host:8000/v1", id="as it should be"),
        pytest.param(" http://host/v1\n", "http://host/v1", id="white space"),
        pytest.param("'http://host/v1'", "http://host/v1", id="quotes"),
        pytest.param("<http://host/v1>", "http://host/v1", id="angle brackets"),
        pytest.param("http://host/v1/", "http://host/v1", id="trailing slash"),
        pytest.param("http://host//v1//", "http://host/v1", id="double slashes"),
        pytest.param("http://host/v1/chat/completions", "http://host/v1", id="chat endpoint"),
        pytest.param("http://host/v1/Chat/Completions/", "http://host/v1", id="chat endpoint in capitals"),
        pytest.param("http://host/v1/completions", "http://host/v1", id="completions endpoint"),
        pytest.param("http://host/v1/models", "http://host/v1", id="models endpoint"),
        pytest.param("http://host/v1#top", "http://host/v1", id="fragment"),
        pytest.param("http://host/openai/v1/", "http://host/openai/v1", id="longer path"),
        pytest.param("http://host:8000", "http://host:8000/v1", id="no path"),
        pytest.param("http://host:8000/", "http://host:8000/v1", id="only a slash"),
        pytest.param("http://host/chat/completions", "http://host", id="endpoint without v1"),
        pytest.param("HTTP://Host/V1", "http://host/V1", id="capitals"),
        pytest.param("http:/host/v1", "http://host/v1", id="one slash"),
        pytest.param("https//host/v1", "https://host/v1", id="no colon"),
        pytest.param("//host/v1", "http://host/v1", id="no scheme but slashes"),
        pytest.param("localhost:8000/v1", "http://localhost:8000/v1", id="localhost"),
        pytest.param("vllm:8000", "http://vllm:8000/v1", id="container"),
        pytest.param("192.168.1.20:8000/v1", "http://192.168.1.20:8000/v1", id="private network"),
        pytest.param("100.64.0.1/v1", "http://100.64.0.1/v1", id="overlay network"),
        pytest.param("gpu.local:8000/v1", "http://gpu.local:8000/v1", id="name in the local network"),
        pytest.param("host.docker.internal:8000", "http://host.docker.internal:8000/v1", id="host of a container"),
        pytest.param("8.8.8.8/v1", "https://8.8.8.8/v1", id="public address"),
        pytest.param("api.example.com/v1", "https://api.example.com/v1", id="public name"),
        pytest.param("[::1]:8080", "http://[::1]:8080/v1", id="IPv6"),
        pytest.param("http://[::1]/v1", "http://[::1]/v1", id="IPv6 with scheme"),
        pytest.param("http://host:/v1", "http://host/v1", id="colon without port"),
    ],
)
def test_base_url_is_normalized(text: str, cleaned: str) -> None:
    """A pasted address becomes one to which an endpoint can be appended."""
    assert clean_base_url(text, KINDS["openai_compatible"]) == cleaned


@pytest.mark.parametrize(
    ("kind", "text", "cleaned"),
    [
        pytest.param("ollama", "", "http://localhost:11434/v1", id="ollama: default"),
        pytest.param("ollama", "gpu:11434", "http://gpu:11434/v1", id="ollama: host"),
        pytest.param("ollama", "http://gpu:11434/v1/", "http://gpu:11434/v1", id="ollama: v1"),
        pytest.param("ollama", "http://gpu:11434/api", "http://gpu:11434/v1", id="ollama: api"),
        pytest.param("ollama", "http://gpu:11434/api/chat", "http://gpu:11434/v1", id="ollama: native endpoint"),
        pytest.param("ollama", "http://gpu/v1/chat/completions", "http://gpu/v1", id="ollama: endpoint"),
        pytest.param("ollama", "http://gpu/ollama", "http://gpu/ollama/v1", id="ollama: behind a path"),
        pytest.param("openrouter", "", "https://openrouter.ai/api/v1", id="openrouter: default"),
        pytest.param("openrouter", "openrouter.ai", "https://openrouter.ai/api/v1", id="openrouter: host"),
        pytest.param("openrouter", "https://openrouter.ai/api", "https://openrouter.ai/api/v1", id="openrouter: half"),
        pytest.param("openrouter", "http://127.0.0.1:9", "http://127.0.0.1:9/v1", id="openrouter: elsewhere"),
        pytest.param("groq", "https://api.groq.com/", "https://api.groq.com/openai/v1", id="groq: host"),
        pytest.param("local", " ", "", id="local: none"),
    ],
)
def test_base_url_of_a_kind(kind: KindName, text: str, cleaned: str) -> None:
    """A kind completes an address with the path of its service."""
    assert clean_base_url(text, KINDS[kind]) == cleaned


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        pytest.param("", "is missing", id="empty"),
        pytest.param("ftp://host", "must start with http:// or https://", id="other scheme"),
        pytest.param("http://", "must name a server", id="no host"),
        pytest.param("http://<resource>.example.com/v1", "must name a server", id="placeholder"),
        pytest.param("http://hunter2@host/v1", "must not hold a user name or password", id="user"),
        pytest.param("u:hunter2@host/v1", "must not hold a user name or password", id="password"),
        pytest.param("http://host:hunter2/v1", "has a port that is not a number", id="port"),
        pytest.param("http://host:99999/v1", "has a port that is not a number", id="large port"),
        pytest.param("http://[hunter2", "must be an address", id="bracket"),
        pytest.param("[hunter2", "must be an address", id="bracket without scheme"),
        pytest.param("http://host/hunter2 v1", "without spaces", id="space"),
        pytest.param("http:\\\\host", "without spaces or backslashes", id="backslashes"),
        pytest.param("http://host\u200b/v1", "without spaces", id="invisible character"),
        pytest.param("http://host/v1?a=hunter2&a=2", "a query that holds one name twice", id="ambiguous query"),
    ],
)
def test_invalid_base_url(text: str, reported: str) -> None:
    """An invalid address is rejected with a reason that does not repeat it: it may contain a password."""
    with pytest.raises(ValueError, match=reported) as caught:
        clean_base_url(text, KINDS["openai_compatible"])

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address", "query"),
    [
        pytest.param("http://host/v1", "http://host/v1", {}, id="none"),
        pytest.param("http://host/v1?", "http://host/v1", {}, id="empty"),
        pytest.param(" 'http://host/v1?a=1&b=#top' ", "http://host/v1", {"a": "1", "b": ""}, id="quotes and fragment"),
        pytest.param("host?a%20b=c+d&e=%26", "host", {"a b": "c d", "e": "&"}, id="encoded"),
        pytest.param("http://host?a=1&a=2", "http://host?a=1&a=2", {}, id="ambiguous: left for clean_base_url"),
    ],
)
def test_query_of_a_base_url(text: str, address: str, query: dict[str, str]) -> None:
    """The query is removed from the address and decoded."""
    assert split_query(text) == (address, query)


def test_embedded_server_takes_no_base_url() -> None:
    """An address for the embedded server is an error."""
    with pytest.raises(ValueError, match="starts its own server"):
        clean_base_url("http://localhost:8000/v1", KINDS["local"])


@given(st.text(), st.sampled_from(sorted(KINDS)))
def test_any_text_is_an_address_or_rejected(text: str, kind: KindName) -> None:
    """Any text gives a normalized address or a ``ValueError``."""
    try:
        cleaned = clean_base_url(text, KINDS[kind])
    except ValueError:
        return

    assert cleaned == KINDS[kind].base_url or cleaned.startswith(("http://", "https://"))
    assert not cleaned.endswith("/")
