"""``cache_control: auto``: where the marks are, which servers get them, and what happens when a server refuses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import create_provider
from adapters.config import ProviderConfig
from adapters.errors import BadRequestError, ConfigError
from adapters.request.cache_control import has_marks, takes_marks, with_marks, without_marks
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import answer, reply

if TYPE_CHECKING:
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_MARK = {"cache_control": {"type": "ephemeral"}}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
_CONTENT = st.sampled_from(
    [None, "", "Hi", [], [{"type": "text", "text": "Hi"}], [{"type": "text", "text": "Hi"}, _IMAGE], ["Hi"]]
)
_MESSAGES = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "user", "assistant", "tool"]),
        _CONTENT,
    ),
    max_size=8,
)


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(_count, value.values()))
    return sum(map(_count, value)) if isinstance(value, list) else 0


def _flat(message: dict[str, Any]) -> dict[str, Any]:
    """One bare text is the same as a part and as a string."""
    is_bare = message["content"] == [{"type": "text", "text": "Hi"}]
    return {**message, "content": "Hi"} if is_bare else message


@given(messages=_MESSAGES, tools=st.sampled_from([[], list(TOOLS), [*TOOLS, *TOOLS]]))
def test_at_most_four_marks_that_can_be_taken_off(messages: list[Any], tools: list[Any]) -> None:
    """Marks change nothing else, and a request with the caller's own gets no others."""
    body: dict[str, Any] = {"tools": tools} if tools else {}
    marked = with_marks(messages, body)

    assert _count([*marked]) <= 4
    assert has_marks(*marked) == (_count([*marked]) > 0)
    assert [*map(_flat, without_marks(*marked)[0])] == [*map(_flat, messages)]
    assert without_marks(*marked)[1] == body
    assert _count([*without_marks(*marked)]) == 0
    assert with_marks(*marked) == marked


def test_place_of_the_marks() -> None:
    """The system message, the last tool, and the latest two user messages."""
    said = {"role": "assistant", "content": "Hello."}
    users = [{"role": "user", "content": [{"type": "text", "text": text}, _IMAGE]} for text in "abc"]
    system = {"role": "system", "content": "Be brief."}
    first, second = TOOLS[0], {"type": "function", "function": {"name": "g", "cache_control": None}}

    messages, body = with_marks([system, users[0], said, users[1], said, users[2]], {"tools": [first, first]})

    assert messages == [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", **_MARK}]},
        users[0],
        said,
        {"role": "user", "content": [users[1]["content"][0], _IMAGE | _MARK]},
        said,
        {"role": "user", "content": [users[2]["content"][0], _IMAGE | _MARK]},
    ]
    assert body == {"tools": [first, first | _MARK]}
    assert with_marks([system], {"tools": [second]}) == ([system], {"tools": [second]}), "the caller has its own"
    assert without_marks([], {"tools": [second]})[1] == {"tools": [{"type": "function", "function": {"name": "g"}}]}
    assert not has_marks([], {"tools": ["web"]})


@pytest.mark.parametrize(
    ("kind", "model", "taken"),
    [
        ("openai_compatible", "claude", True),
        ("openrouter", "anthropic/claude-sonnet-5", True),
        ("openrouter", "google/gemini-3", True),
        ("openrouter", "meta-llama/llama-4", False),
        ("litellm", "anthropic/claude-sonnet-5", True),
        ("litellm", "bedrock/anthropic.claude-v5", True),
        ("litellm", "vertex_ai/claude-sonnet-5", True),
        ("litellm", "vertex_ai/gemini-3", False),
        ("litellm", "gemini/gemini-3", False),
        ("litellm", "openrouter/google/gemini-3", True),
        ("litellm", "openrouter/meta-llama/llama-4", False),
    ],
)
def test_routes_that_take_marks(kind: str, model: str, taken: bool) -> None:
    """The model shows whether its service caches by marks."""
    options = {"base_url": "http://gateway"} if kind == "openai_compatible" else {}
    assert takes_marks(ProviderConfig.create(kind, model=model, cache_control="auto", **options)) == taken


def test_kinds_that_cache_by_themselves() -> None:
    """The setting is a mistake there."""
    with pytest.raises(ConfigError, match="cache_control"):
        create_provider("ollama", model="m", cache_control="auto")


@pytest.mark.parametrize(
    "message",
    [
        "messages.0.content.0.text.cache_control: Extra inputs are not permitted",
        "Unknown parameter: 'tools[0].cache_control'.",
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        "You invoked an unsupported model or your request did not allow prompt caching.",
    ],
)
async def test_marks_that_are_refused(scripted_server: ScriptedServer, message: str) -> None:
    """They are sent, and left out from the refusal on; other refusals are about something else."""
    refused = reply({"error": {"message": message}}, "400 Bad Request")
    url = scripted_server.add("marks", refused, answer("Hi."), answer("Hi."), refused)
    options: dict[str, Any] = {"model": "claude", "base_url": url, "api_key": KEY, "cache_control": "auto"}
    async with create_provider("openai_compatible", **options) as provider:
        assert (await provider.chat(list(ASK), list(TOOLS))).attempts == 2
        await provider.chat(list(ASK), list(TOOLS))
        with pytest.raises(BadRequestError):
            await provider.chat(list(ASK), list(TOOLS))

    first, second, third, _ = scripted_server.seen["marks"].bodies
    assert _count(first) == 3
    assert second == third
    assert second["messages"] == list(ASK)
    assert _count(second) == 0
