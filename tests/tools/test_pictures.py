"""Conversations with pictures over servers whose model has no vision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adapters.agent import run_turn
from adapters.errors import BadRequestError
from adapters.factory import create_provider
from adapters.testing.answers import answer, call, reply

if TYPE_CHECKING:
    from adapters.testing import ScriptedServer
    from adapters.types import Message

pytest_plugins = ["adapters.testing.plugin"]

_LLAMA_CPP = Path(__file__).parent.parent / "captures" / "xllamacpp" / "err_no_images.txt"
_REFUSALS = {
    "llama.cpp": (_LLAMA_CPP.read_bytes(),),
    "openrouter": reply({"error": {"message": "No endpoints found that support image input"}}, "404 Not Found"),
    "vllm": reply({"message": "At most 0 image(s) may be provided in one prompt."}, "400 Bad Request"),
}
_OWN = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}}


def camera() -> bytes:
    """Take a picture."""
    return b"\x89PNG\r\n\x1a\n" + bytes(16)


async def test_three_turns_with_pictures(scripted_server: ScriptedServer) -> None:
    """Pictures of tools are named once the server has refused one; a picture of the user's own is an error."""
    for server, refusal in _REFUSALS.items():
        looks = answer(calls=[call("camera", "{}")])
        steps = (looks, refusal, answer("A cat."), looks, answer("A dog."), refusal, answer("Bye."))
        base_url = scripted_server.add(server.replace(".", "-"), *steps)
        messages: list[Message] = [{"role": "user", "content": "Look."}]
        async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
            for _ in range(2):
                _ = [event async for event in run_turn(provider, messages, [camera])]
                messages.append({"role": "user", "content": "Look again."})
            messages.append({"role": "user", "content": [{"type": "text", "text": "And this?"}, _OWN]})
            with pytest.raises(BadRequestError, match="the model cannot see images") as refused:
                await provider.chat(messages)
            messages[-1] = {"role": "user", "content": "Never mind."}
            assert (await provider.chat(messages)).content == "Bye."

        bodies = scripted_server.seen[server.replace(".", "-")].bodies
        assert (refused.value.retryable, len(bodies)) == (False, len(steps))
        assert [_pictures(body) for body in bodies] == [[], ["png"], [], [], [], ["jpeg"], []]
        assert [str(body["messages"]).count("[image, image/png]") for body in bodies] == [0, 1, 2, 2, 4, 4, 4]


def _pictures(body: dict[str, Any]) -> list[str]:
    """Return the types of the pictures in a request."""
    parts = [part for message in body["messages"] for part in message["content"] or () if isinstance(part, dict)]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [url.partition(";")[0].removeprefix("data:image/") for url in urls]
