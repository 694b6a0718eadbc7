"""``list_models``: every shape of a model list; how a server refuses to send one is told in ``test_fetch``."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal, Inexact, Overflow, Rounded, Subnormal, Underflow, localcontext
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import ConfigError, FallbackProvider, IncompleteResponseError, ProviderConfig, create_provider
from adapters.models import (
    ModelInfo,
    SortKey,
    _lists,
    _models_of,
    find_model,
    list_models,
    nearest_names,
    search_models,
)
from adapters.testing.answers import http, reply
from adapters.testing.server import ScriptedServer
from tests.patience import quiet_s

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server that plays whatever a test gives it."""
    async with ScriptedServer() as running:
        yield running


def config(base_url: str, **options: Any) -> ProviderConfig:
    """Settings of a server whose list is asked for."""
    return ProviderConfig.create("openai_compatible", **{"name": "shop", "model": "m", "base_url": base_url, **options})


def openrouter_entry(**facts: Any) -> dict[str, Any]:
    """One entry as OpenRouter writes it, with some facts changed."""
    return {
        "id": "maker/model",
        "name": "Maker: Model",
        "context_length": 131072,
        "architecture": {
            "modality": "text+image->text",
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
        },
        "top_provider": {"context_length": 65536, "max_completion_tokens": 16384, "is_moderated": False},
        "pricing": {
            "prompt": "0.0000006",
            "completion": "0.0000024",
            "image": "0",
            "request": "0.01",
            "input_cache_read": "0.00000006",
            "input_cache_write": "0.00000075",
            "internal_reasoning": "0.000003",
        },
        "supported_parameters": ["max_tokens", "tools"],
        **facts,
    }


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, id="OpenAI"),
        pytest.param({"models": [{"name": "a"}, {"name": "b"}], "data": [{"id": "a"}, {"id": "b"}]}, id="llama.cpp"),
        pytest.param([{"id": "a"}, {"id": "b"}], id="bare list"),
        pytest.param({"models": [{"id": "a"}, {"id": "b"}]}, id="models instead of data"),
        pytest.param({"data": None, "models": ["a", "b"]}, id="names alone"),
        pytest.param(
            {"data": [{"id": "a"}, {"id": ""}, {"id": 7}, None, {"object": "model"}, "b"]}, id="useless entries"
        ),
    ],
)
async def test_shapes_of_a_list(server: ScriptedServer, document: object) -> None:
    """However a server wraps its list, the usable entries are found in their order."""
    models = await list_models(config(server.add("case", reply(document))))

    assert models == [ModelInfo(id="a", name="a"), ModelInfo(id="b", name="b")]


@pytest.mark.parametrize(
    "document",
    [pytest.param({"object": "list", "data": None}, id="Ollama with no model"), pytest.param([], id="bare list")],
)
async def test_empty_list(server: ScriptedServer, document: object) -> None:
    """A server without models has an empty list, and that is no error."""
    assert await list_models(config(server.add("case", reply(document)))) == []


async def test_openrouter_entry(server: ScriptedServer) -> None:
    """OpenRouter's prices per token become exact prices per million tokens."""
    [model] = await list_models(config(server.add("case", reply({"data": [openrouter_entry()]}))))

    assert model == ModelInfo(
        id="maker/model",
        name="Maker: Model",
        context_tokens=131072,
        completion_tokens=16384,
        supports_tools=True,
        supported_parameters=("max_tokens", "tools"),
        input_modalities=("text", "image"),
        output_modalities=("text",),
        prompt_usd_per_mtok=Decimal("0.6"),
        completion_usd_per_mtok=Decimal("2.4"),
        reasoning_usd_per_mtok=Decimal(3),
        cache_read_usd_per_mtok=Decimal("0.06"),
        cache_write_usd_per_mtok=Decimal("0.75"),
        request_usd=Decimal("0.01"),
    )
    assert [str(model.prompt_usd_per_mtok), str(model.completion_usd_per_mtok)] == ["0.6", "2.4"]


@pytest.mark.parametrize(
    ("facts", "context_tokens"),
    [
        pytest.param({"context_length": None}, 65536, id="OpenRouter: of the best provider"),
        pytest.param({"context_length": None, "top_provider": None, "max_model_len": 32768}, 32768, id="vLLM"),
        pytest.param({"context_length": 0, "top_provider": {}, "context_window": 8192.0}, 8192, id="Groq"),
        pytest.param(
            {"context_length": "?", "top_provider": [], "meta": {"n_ctx": 2048, "n_ctx_train": 4096}},
            2048,
            id="llama.cpp: as it was started",
        ),
        pytest.param({"context_length": None, "top_provider": None}, None, id="not reported"),
        pytest.param({"context_length": True, "top_provider": None}, None, id="boolean"),
        pytest.param({"context_length": 1e30, "top_provider": None}, None, id="too large"),
        pytest.param({"context_length": 10**29, "max_model_len": 4096, "top_provider": None}, 4096, id="another field"),
    ],
)
async def test_context(server: ScriptedServer, facts: dict[str, Any], context_tokens: int | None) -> None:
    """Each server names the window in its own way; what is no number of tokens is unknown."""
    [model] = await list_models(config(server.add("case", reply({"data": [openrouter_entry(**facts)]}))))

    assert model.context_tokens == context_tokens


@pytest.mark.parametrize(
    ("facts", "supports_tools"),
    [
        pytest.param({"supported_parameters": ["max_tokens"]}, False, id="OpenRouter: without"),
        pytest.param({"supported_parameters": []}, None, id="OpenRouter: empty"),
        pytest.param({"supported_parameters": None}, None, id="OpenRouter: null"),
        pytest.param({"supported_parameters": None, "capabilities": {"function_calling": True}}, True, id="Mistral"),
        pytest.param({"supported_parameters": None, "capabilities": {"vision": True}}, None, id="Mistral: not said"),
        pytest.param({"supported_parameters": None, "capabilities": ["tool_use"]}, True, id="LM Studio"),
        pytest.param({"supported_parameters": None, "capabilities": ["completion"]}, None, id="llama.cpp"),
    ],
)
async def test_tools(server: ScriptedServer, facts: dict[str, Any], *, supports_tools: bool | None) -> None:
    """A server that does not speak of tools has not said that there are none."""
    [model] = await list_models(config(server.add("case", reply({"data": [openrouter_entry(**facts)]}))))

    assert model.supports_tools is supports_tools


@pytest.mark.parametrize(
    ("price", "usd_per_mtok"),
    [
        pytest.param("0", Decimal(0), id="free"),
        pytest.param("0.0001", Decimal(100), id="round"),
        pytest.param(0.0000006, Decimal("0.6"), id="number"),
        pytest.param("-1", None, id="unknown, as of openrouter/auto"),
        pytest.param("n/a", None, id="words"),
        pytest.param("NaN", None, id="not a number"),
        pytest.param("Infinity", None, id="infinite"),
        pytest.param(None, None, id="null"),
        pytest.param({"usd": 1}, None, id="object"),
        pytest.param(True, None, id="boolean"),
        pytest.param("-0.00", Decimal(0), id="negative zero"),
        pytest.param("0E-999999", Decimal(0), id="zero with an exponent"),
        pytest.param("1e30", None, id="too high"),
        pytest.param(1e300, None, id="a number that is too high"),
        pytest.param("1e999999", None, id="higher than decimals go"),
        pytest.param("1e-400", None, id="too low"),
        pytest.param("12345678901234567890123456789", None, id="29 digits"),
        pytest.param("0.00000060000000000000000000000000000", Decimal("0.6"), id="35 digits"),
        pytest.param("6" * 5000, None, id="5000 digits"),
    ],
)
async def test_prices(server: ScriptedServer, price: object, usd_per_mtok: Decimal | None) -> None:
    """A price is exact or unknown, never a guess."""
    entry = openrouter_entry(pricing={"prompt": price})
    [model] = await list_models(config(server.add("case", reply({"data": [entry]}))))

    assert model.prompt_usd_per_mtok == usd_per_mtok
    assert str(model.prompt_usd_per_mtok) in ("None", "0", "100", "0.6")
    assert model.completion_usd_per_mtok is None


@pytest.mark.parametrize("number", ["1e999", "-1e999", "Infinity", "NaN", "1e30", "9" * 29])
@pytest.mark.parametrize("way", ["list_models", "prewarm", "group"])
async def test_absurd_numbers_are_unknown(server: ScriptedServer, number: str, way: str) -> None:
    """No number of a server is an error of ours, however it is asked for its models."""
    prices = ", ".join(f'"{name}": {number}' for name in ("prompt", "completion", "request", "input_cache_read"))
    entry = f'{{"id": "m", "context_length": {number}, "max_output_tokens": {number}, "pricing": {{{prices}}}}}'
    script = (http(f'{{"data": [{entry}]}}'.encode()),)
    shop = ProviderConfig.create("openrouter", model="m", base_url=server.add("case", script), api_key="k")

    if way == "list_models":
        assert await list_models(shop) == [ModelInfo("m", "m")]
    else:
        provider = create_provider(shop)
        async with FallbackProvider([provider]) if way == "group" else provider as prewarmed:
            await prewarmed._prewarm()


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.from_regex(r"-?\d{1,40}(\.\d+)?(e-?\d{1,7})?"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FACTS = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.text(max_size=5) | _JSON for name in ("id", "model", "name")},
        **dict.fromkeys(("context_length", "max_output_tokens", "supported_parameters", "capabilities"), _JSON),
        **{
            name: _JSON | st.dictionaries(st.sampled_from(["prompt", "completion", "request", "n_ctx"]), _JSON)
            for name in ("pricing", "architecture", "top_provider", "meta")
        },
    },
)


@given(entries=st.lists(_FACTS | _JSON, max_size=3), name=st.text(max_size=10), traps_all=st.booleans())
def test_any_entry_is_read_or_left_out(entries: list[Any], name: str, *, traps_all: bool) -> None:
    """Whatever a server sends, and whatever the program's decimal context traps, a list is read without an error."""
    body = json.dumps({"data": entries}).encode()
    with localcontext() as context:
        if traps_all:
            context.clear_flags()
            for signal in (Inexact, Rounded, Subnormal, Overflow, Underflow):
                context.traps[signal] = True
        model, near = find_model(body, name)
        models = _models_of([entries])
        search_models(models, sort="price", max_usd_per_mtok=Decimal(1))

    assert model is None or not near
    for found in models:
        prices = (found.prompt_usd_per_mtok, found.completion_usd_per_mtok, found.request_usd)
        assert all(price is None or (price.is_finite() and 0 <= price <= 10**12) for price in prices)
        assert all("E" not in str(price) or price < 1 for price in prices if price is not None)
        assert found.context_tokens is None or 1 <= found.context_tokens <= 10**9


async def test_pages(server: ScriptedServer) -> None:
    """A list of several pages is read to its end, each page from the server that was asked."""
    base_url = server.add(
        "case",
        reply({"data": [{"id": "a"}], "links": {"next": "https://elsewhere.example/api/v1/models?offset=1&limit=1"}}),
        reply({"data": [{"id": "b"}], "links": {"next": None}}),
    )

    models = await list_models(config(base_url))

    assert [model.id for model in models] == ["a", "b"]
    assert server.seen["case"].paths == ["/case/v1/models", "/case/v1/models?offset=1&limit=1"]


async def test_endless_pages(server: ScriptedServer) -> None:
    """A server that always has a next page is not asked for ever."""
    base_url = server.add("case", reply({"data": [{"id": "a"}], "links": {"next": "/models?page=1"}}))

    assert len(await list_models(config(base_url))) == 20


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"object": "list"}, id="object without a list"),
        pytest.param({"data": {"id": "a"}}, id="object in place of the list"),
        pytest.param("models", id="string"),
    ],
)
async def test_something_else(server: ScriptedServer, document: object) -> None:
    """JSON that is no list of models is never an empty list."""
    with pytest.raises(IncompleteResponseError, match=r"shop sent no (list of models|JSON)"):
        await list_models(config(server.add("case", reply(document))))


async def test_missing_key() -> None:
    """A key that cannot be looked up is told before anything is sent."""
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        await list_models(config("http://127.0.0.1:9/v1", api_key="os.environ/NO_SUCH_VARIABLE"))


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        pytest.param({}, ["free", "paid", "auto", "silent", "mute"], id="all"),
        pytest.param({"supports_tools": True}, ["free", "paid", "silent"], id="with tools, or not known to lack them"),
        pytest.param(
            {"supports_tools": False}, ["auto", "silent", "mute"], id="without tools, or not known to have them"
        ),
        pytest.param({"free": True}, ["free"], id="known to be free"),
        pytest.param({"free": False}, ["paid", "auto", "silent", "mute"], id="not known to be free"),
        pytest.param({"free": True, "supports_tools": False}, [], id="both"),
    ],
)
async def test_filters(server: ScriptedServer, wanted: dict[str, bool], ids: list[str]) -> None:
    """Silence about tools keeps a model in; silence about the price never makes it free."""
    entries = [
        openrouter_entry(id="free", pricing={"prompt": "0", "completion": "0"}),
        openrouter_entry(id="paid"),
        openrouter_entry(id="auto", pricing={"prompt": "-1", "completion": "-1"}, supported_parameters=["seed"]),
        {"id": "silent"},
        openrouter_entry(id="mute", pricing="n/a", supported_parameters=["seed"]),
    ]

    models = await list_models(config(server.add("case", reply({"data": entries}))), **wanted)

    assert [model.id for model in models] == ids


async def test_a_price_of_the_request_is_a_price(server: ScriptedServer) -> None:
    """Tokens that cost nothing make no free model of one that is paid by the request."""
    entry = openrouter_entry(pricing={"prompt": "0", "completion": "0", "request": "0.005"})
    [model] = await list_models(config(server.add("case", reply({"data": [entry]}))))

    assert not model.is_free


async def test_a_list_is_kept_for_as_long_as_it_is_good(server: ScriptedServer) -> None:
    """Asked again at once, the server is left alone; a list without an age is always new."""
    base_url = server.add("case", reply({"data": [{"id": "a"}]}), reply({"data": [{"id": "b"}]}))

    ids = [
        [model.id for model in await list_models(config(base_url, api_key=key), max_age_s=age_s)]
        for key, age_s in (("k", 60), ("k", 60), ("other", 60), ("k", 0))
    ]

    assert ids == [["a"], ["a"], ["b"], ["b"]]
    assert len(server.seen["case"].paths) == 3


async def test_kept_lists_are_bounded(server: ScriptedServer) -> None:
    """A list is kept only if it may be used again, and only those of the latest servers and keys."""
    base_url = server.add("case", reply({"data": [{"id": "a"}]}))
    before = set(_lists)
    await list_models(config(base_url, api_key="never kept"))
    assert set(_lists) == before

    for number in range(40):
        await list_models(config(base_url, api_key=f"key {number}"), max_age_s=60)

    assert len(_lists) == 16
    asked = len(server.seen["case"].paths)
    await list_models(config(base_url, api_key="key 39"), max_age_s=float("inf"))
    assert len(server.seen["case"].paths) == asked
    await list_models(config(base_url, api_key="key 0"), max_age_s=float("inf"))
    assert len(server.seen["case"].paths) == asked + 1


MODELS = [
    ModelInfo("maker/big", "Maker: Big", 200_000, prompt_usd_per_mtok=Decimal(3), completion_usd_per_mtok=Decimal(15)),
    ModelInfo("maker/dear", "Maker: Dear", 8_000, prompt_usd_per_mtok=Decimal(1), completion_usd_per_mtok=Decimal(99)),
    ModelInfo("other/unknown", "Other: Big Secret"),
    ModelInfo(
        "maker/small", "Maker: Small", 32_000, prompt_usd_per_mtok=Decimal(0), completion_usd_per_mtok=Decimal(1)
    ),
]


@pytest.mark.parametrize(
    ("text", "max_usd", "sort", "ids"),
    [
        pytest.param("", None, None, ["maker/big", "maker/dear", "other/unknown", "maker/small"], id="all"),
        pytest.param("BIG", None, None, ["maker/big", "other/unknown"], id="a word of the name"),
        pytest.param("maker  big", None, None, ["maker/big"], id="each word counts"),
        pytest.param("", 15, None, ["maker/big", "maker/small"], id="both prices count, and must be known"),
        pytest.param("", None, "id", ["maker/big", "maker/dear", "maker/small", "other/unknown"], id="by id"),
        pytest.param("", None, "price", ["maker/small", "maker/big", "maker/dear", "other/unknown"], id="by price"),
        pytest.param("", None, "context", ["maker/big", "maker/small", "maker/dear", "other/unknown"], id="by context"),
    ],
)
def test_search(text: str, max_usd: int | None, sort: SortKey | None, ids: list[str]) -> None:
    """Hundreds of models become the few that fit; what a server does not tell is never taken for the better."""
    limit = None if max_usd is None else Decimal(max_usd)

    assert [model.id for model in search_models(MODELS, text, max_usd_per_mtok=limit, sort=sort)] == ids


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        pytest.param("maker/bgi", ["maker/big"], id="letters swapped"),
        pytest.param("Smal", ["maker/small"], id="without its maker"),
        pytest.param("gpt-4o", [], id="nothing like it"),
    ],
)
def test_nearest_names(name: str, ids: list[str]) -> None:
    """A misspelled name finds the one that was meant."""
    found = nearest_names(name, [model.id for model in MODELS])

    assert found[: len(ids)] == ids
    assert bool(found) is bool(ids)


_MANY = [f"maker/model-{number:06}-instruct" for number in range(100_000)]


def test_many_similar_names_are_compared_quickly() -> None:
    """The work grows with the list, not with the number of names that resemble the wanted one."""
    wanted = "maker/modle-054321-instruct"

    assert nearest_names(wanted, _MANY)[0] == "maker/model-054321-instruct"
    assert quiet_s(lambda: nearest_names(wanted, _MANY), 2.0) < 2.0  # comparing each pair takes eleven seconds


def test_long_names_are_not_compared() -> None:
    """Comparing two names takes time that grows with the square of their length."""
    assert nearest_names("a" * 10_000, ["a" * 10_000, "b"]) == []


async def test_a_long_list_does_not_stop_the_event_loop() -> None:
    """The list of a server is read and searched in a thread, while the program goes on."""
    body = json.dumps({"data": [{"id": name} for name in _MANY]}).encode()
    provider = create_provider("openrouter", model="modle", api_key="k")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await provider._learn_model(body)
    ticking.cancel()

    assert ticks > 10


@pytest.mark.parametrize(
    ("document", "name", "found", "meant"),
    [
        pytest.param({"data": [{"id": "maker/big"}]}, "maker/big", True, [], id="as it is"),
        pytest.param({"data": [{"id": "maker/big"}]}, "maker/big:nitro", True, [], id="with a wish of OpenRouter's"),
        pytest.param({"data": [{"id": "maker/big"}]}, "maker/bgi", False, ["maker/big"], id="misspelled"),
        pytest.param({"object": "list"}, "maker/big", False, [], id="no list"),
    ],
)
def test_find_model(document: object, name: str, *, found: bool, meant: list[str]) -> None:
    """A model is found under its name, or there are names that may have been meant."""
    model, names = find_model(json.dumps(document).encode(), name)

    assert (model is not None) is found
    assert names == meant


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff"])
def test_find_model_in_something_else(body: bytes) -> None:
    """A server may say anything."""
    assert find_model(body, "m") == (None, [])
