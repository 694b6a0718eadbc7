"""Settings that a program makes in the module ``litellm`` for its own calls do not change the requests sent here."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

from adapters.errors import AdapterError
from adapters.factory import create_provider
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import answer
from tests.servers import routes

if TYPE_CHECKING:
    from adapters.client.provider import LiteLLMProvider
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_MODELS: Final = {"openai_compatible": "m", "openrouter": "m", "openai": "openai/m", "anthropic": "anthropic/claude-4"}
_OTHER: Final = ["gpt-4o"]
_VALUES: Final[dict[str, Any]] = {
    "content_policy_fallbacks": [{"m": _OTHER}],
    "context_window_fallbacks": [{"m": _OTHER}],
    "default_fallbacks": _OTHER,
    "fallbacks": [{"m": _OTHER}],
    "headers": {"X-Global": "1"},
    "langfuse_default_tags": ["home"],
    "max_budget": 1e-9,
    "max_fallbacks": 3,
    "max_tokens": 1,
    "model_alias_map": {"m": "gpt-4o"},
    "model_fallbacks": _OTHER,
    "model_list": [{"model_name": "m", "litellm_params": {"model": "openai/other"}}],
    "num_retries": 3,
    "num_retries_per_request": 3,
    "post_call_rules": [lambda _: False],
    "pre_call_rules": [lambda _: False],
    "request_timeout": 0.001,
}
"""A value for each setting that is neither a switch nor unset, and for those that are no text."""

_FOLLOWED: Final = {
    ("headers", "openai"),  # these headers go with LiteLLM's own request of this route
    ("route_all_chat_openai_to_responses", "openai"),  # and this chooses its API
    ("use_litellm_proxy", "anthropic"),  # the server of these routes is then a LiteLLM proxy
    ("use_litellm_proxy", "openai"),
}
"""What ``kind: litellm`` follows on purpose, for it means the route; docs/litellm-providers.md says so."""


async def _sent(server: ScriptedServer, route: str, number: int) -> tuple[object, ...]:
    """Return what one call says and what reaches the server."""
    name = f"case{number:04}"
    script = routes.anthropic_stream(routes.Turn(text=("Hi",))) if route == "anthropic" else answer("Hi")
    base_url = server.add(name, script)
    kind: Any = route if route in ("openai_compatible", "openrouter") else "litellm"
    provider: LiteLLMProvider = create_provider(
        kind,
        model=_MODELS[route],
        base_url=base_url.removesuffix("/v1") if route == "anthropic" else base_url,
        api_key=KEY,
        retry={"attempts": 1},
    )
    async with provider:
        try:
            text = "".join([piece async for piece in provider.chat_stream(list(ASK), list(TOOLS))])
        except AdapterError as error:
            text = str(error)
    seen = server.seen[name]
    headers = [
        {field: value for field, value in one.items() if field not in ("host", "content-length")}
        for one in seen.headers
    ]
    return text, seen.bodies, headers, [path.replace(name, "case") for path in seen.paths]


@pytest.mark.usefixtures("litellm_is_loaded")
async def test_settings_of_litellm_change_no_request(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every switch of LiteLLM turned over, and every other setting set, sends the same request, once."""
    import litellm
    from litellm.caching.caching import Cache

    unset = {name: "other" for name, value in vars(litellm).items() if value is None}
    switches = {name: not value for name, value in vars(litellm).items() if isinstance(value, bool)}
    settings = {**unset, **switches, **_VALUES, "cache": Cache(type="local")}
    del settings["TYPE_CHECKING"]
    alone = {name for name, _ in _FOLLOWED}  # together with others they would hide each other
    number = count()

    async def effective(names: list[str], route: str, expected: object) -> list[str]:
        """Return those of the settings that change a request; halves are tried until it is clear which."""
        with monkeypatch.context() as patched:
            for name in names:
                patched.setattr(litellm, name, settings[name])
            if await _sent(scripted_server, route, next(number)) == expected:
                return []
        if len(names) == 1:
            return names
        half = len(names) // 2
        return await effective(names[:half], route, expected) + await effective(names[half:], route, expected)

    found = set()
    for route in _MODELS:
        expected = await _sent(scripted_server, route, next(number))
        assert expected[0] == "Hi"
        for names in (*([name] for name in alone), sorted(settings.keys() - alone)):
            found |= {(name, route) for name in await effective(names, route, expected)}

    assert len(settings) > 200
    assert found == _FOLLOWED
