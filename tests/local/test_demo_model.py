"""The demo model: its network generates every script, its file is built once, and its answers over HTTP."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import httpx
import numpy as np
import pytest

from adapters.local import LocalServer, demo_cache
from adapters.local.demo_cache import demo_model_file
from adapters.local.demo_model import write_demo_model
from adapters.local.demo_script import SCRIPTS, TURN_END, Script
from tests.patience import in_time, patient

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    for name, properties in (("get_weather", {"city": {"type": "string"}}), ("get_time", {}))
]
TEXTS = {script.name: script.text for script in SCRIPTS}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> gguf.GGUFReader:
    """Return the model file, read back."""
    path = tmp_path_factory.mktemp("model") / "demo.gguf"
    write_demo_model(path)
    return gguf.GGUFReader(path)


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server with the demo model for the tests of this module."""
    server = LocalServer()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        base_url = asyncio.run(server.start())
    yield base_url
    asyncio.run(server.stop())


def _decode(letters: str) -> str:
    """Undo byte-level BPE with GPT-2's table."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return bytes(ord(letter) if ord(letter) < 256 else hidden[ord(letter) - 256] for letter in letters).decode()


async def _ask(base_url: str, messages: list[dict[str, Any]], **body: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(f"{base_url}/chat/completions", json={"messages": messages, **body})
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def _after_call(result: str, *names: str) -> list[dict[str, Any]]:
    """Return a conversation that ends with the results of these tools."""
    calls = [
        {"id": f"call{number}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for number, name in enumerate(names)
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": result} for call in calls]
    return [_user("Please ask."), {"role": "assistant", "content": None, "tool_calls": calls}, *results]


def _user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize("script", [pytest.param(script, id=script.name) for script in SCRIPTS])
def test_net_recites_the_script(model: gguf.GGUFReader, script: Script) -> None:
    """From the start token on, the most likely tokens are the script, then the end of the turn."""
    tokens = model.fields["tokenizer.ggml.tokens"].contents()
    tensors = {tensor.name: tensor.data for tensor in model.tensors}
    said, token = "", tokens.index(script.start_token)
    while len(said) < 2 * len(script.text):
        token = int(np.argmax(tensors["output.weight"] @ tensors["token_embd.weight"][token]))
        if tokens[token] == TURN_END:
            break
        said += _decode(tokens[token])

    assert said == script.text * (2 if script.endless else 1)


def test_end_of_a_script_is_cut_at_a_token_of_its_own(model: gguf.GGUFReader) -> None:
    """Tokens are unique; llama.cpp rejects a vocabulary with duplicates."""
    tokens = model.fields["tokenizer.ggml.tokens"].contents()

    assert len(tokens) == len(set(tokens))


def test_file_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays in the user's cache folder and is not built again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with demo_model_file() as first:
        made_ns = first.stat().st_mtime_ns
    with demo_model_file() as second:
        found_ns = second.stat().st_mtime_ns

    assert [*tmp_path.rglob("*.*")] == [first] == [second]
    assert first.parent == tmp_path / "caal-llm-adapters"
    assert found_ns == made_ns


def test_file_is_kept_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``XDG_CACHE_HOME`` the cache folder is ``~/.cache``."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with demo_model_file() as file:
        assert file.parent == tmp_path / ".cache" / "caal-llm-adapters"


def test_file_is_temporary_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the cache folder cannot be written, the file is in a folder that is removed after use."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with demo_model_file() as file:
        assert file.read_bytes().startswith(b"GGUF")

    assert not file.parent.exists()


def test_another_release_makes_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file name depends on the source of the model, so that an old file never hides a change."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = Path(demo_cache.__file__).parent
    for name in ("demo_cache.py", "demo_model.py", "demo_script.py"):
        (tmp_path / name).write_bytes((folder / name).read_bytes() + b"# one more line\n")
    spec = importlib.util.spec_from_file_location("another_release", tmp_path / "demo_cache.py")
    assert spec is not None
    assert spec.loader is not None
    another_release = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(another_release)
    with demo_model_file() as ours, another_release.demo_model_file() as theirs:
        assert ours.name != theirs.name


@pytest.mark.integration
def test_file_is_made_by_two_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers that start without a file at the same time both work, and leave one file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    servers = [LocalServer(), LocalServer()]
    with ThreadPoolExecutor(2) as threads:
        urls = list(threads.map(lambda server: asyncio.run(server.start()), servers))
    for server in servers:
        asyncio.run(server.stop())

    assert len(set(urls)) == 2
    assert len([*tmp_path.rglob("*.*")]) == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    ("messages", "tools", "script"),
    [
        pytest.param([_user("Hello!")], TOOLS, "greeting", id="anything"),
        pytest.param([_user("What is the weather in Paris?")], [], "greeting", id="call-without-tools"),
        pytest.param([_user("What time is it?")], TOOLS[:1], "greeting", id="call-of-another-tool"),
        pytest.param([_user("What is the weather in Oslo?")], TOOLS, "elsewhere", id="unknown-city"),
        pytest.param([_user("Count to ten.")], TOOLS, "count", id="count"),
        pytest.param(_after_call("Sunny, 21 degrees", "get_weather"), TOOLS, "sunny", id="sunny"),
        pytest.param(_after_call('{"sky": "light rain"}', "get_weather"), [], "rainy", id="rainy-without-tools"),
        pytest.param(_after_call("cloudy", "get_weather"), TOOLS, "cloudy", id="cloudy"),
        pytest.param(_after_call("Error: no such city", "get_weather"), TOOLS, "done", id="no-weather"),
        pytest.param(_after_call("Sunday, 22 November 2026, 08:03", "get_time"), TOOLS, "hour_8", id="hour"),
        pytest.param(_after_call("half past eight", "get_time"), TOOLS, "done", id="another-clock"),
        pytest.param(_after_call("sunny", "get_weather", "get_weather"), TOOLS, "reports", id="two-results"),
        pytest.param(_after_call("on", "lights_on", "heating_on"), TOOLS, "done", id="other-tools"),
        pytest.param(_after_call("", "lights_on"), TOOLS, "done", id="empty-result"),
        pytest.param([*_after_call("sunny", "get_weather"), _user("Thanks!")], TOOLS, "greeting", id="next-turn"),
    ],
)
async def test_answers(base_url: str, messages: list[dict[str, Any]], tools: list[Any], script: str) -> None:
    """The script that the template chooses arrives complete, also at a high temperature."""
    choice = await _ask(base_url, messages, temperature=2, **({"tools": tools} if tools else {}))

    assert choice["message"] == {"role": "assistant", "content": TEXTS[script]}
    assert choice["finish_reason"] == "stop"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("question", "content", "calls"),
    [
        pytest.param("What is the weather in Paris?", "", [("get_weather", '{"city": "Paris"}')], id="weather"),
        pytest.param("And in Tokyo?", "", [("get_weather", '{"city": "Tokyo"}')], id="another-city"),
        pytest.param("What time is it?", "", [("get_time", "{}")], id="no-arguments"),
        pytest.param(
            "Is it warmer in Paris or in London?",
            "",
            [("get_weather", '{"city": "Paris"}'), ("get_weather", '{"city": "London"}')],
            id="two-calls",
        ),
        pytest.param(
            "Please check the weather in Paris.",
            "Let me check that for you.\n",
            [("get_weather", '{"city": "Paris"}')],
            id="text-and-call",
        ),
    ],
)
async def test_calls(base_url: str, question: str, content: str, calls: list[tuple[str, str]]) -> None:
    """The calls that the template picks arrive as ``tool_calls``."""
    choice = await _ask(base_url, [_user(question)], tools=TOOLS)
    functions = [call["function"] for call in choice["message"]["tool_calls"]]

    assert choice["message"]["content"] == content
    assert [(function["name"], function["arguments"]) for function in functions] == calls
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.integration
async def test_forbidden_call_is_leaked_as_text(base_url: str) -> None:
    """With ``tool_choice`` "none" llama.cpp hands the call on as text, as it does for every model."""
    choice = await _ask(base_url, [_user("What is the weather in Paris?")], tools=TOOLS, tool_choice="none")

    assert choice["message"] == {"role": "assistant", "content": TEXTS["paris"]}


@pytest.mark.integration
async def test_thinks(base_url: str) -> None:
    """The thought arrives beside the answer."""
    choice = await _ask(base_url, [_user("Think first.")])

    assert choice["message"]["content"] == "I thought about it, and my answer stays a canned one."
    assert choice["message"]["reasoning_content"].startswith("The user wants to see a thought.")


@pytest.mark.integration
@patient
async def test_endless_answer_ends_when_the_client_goes_away(base_url: str) -> None:
    """Closing the stream frees the server, which answers one request at a time, for the next one."""
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream(
            "POST", f"{base_url}/chat/completions", json={"messages": [_user("loop")], "stream": True}
        ) as loop,
    ):
        lines = loop.aiter_lines()
        start = [await anext(lines) for _ in range(20)]
    stopped = time.monotonic()
    await _ask(base_url, [_user("Hello!")])

    assert '"content":"tick"' in "".join(start)
    in_time(time.monotonic() - stopped, 0, 4)  # left alone, it goes on for longer than that
