"""An API key in a file: rotation without a new provider."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from adapters import AuthenticationError, ConfigError, ProviderConfig, create_provider
from adapters.testing import ScriptedServer
from adapters.testing.answers import answer, http

if TYPE_CHECKING:
    from pathlib import Path

_FIRST, _SECOND, _THIRD = "key-number-one", "key-number-two", "key-number-six"  # of the same length
_UNSENDABLE = "a line break or a character that cannot be sent in a header"
_ASK = [{"role": "user", "content": "Hi"}]


def _rejection(*keys: str) -> list[bytes]:
    """A 401 that repeats keys."""
    body = {"error": {"message": f"Incorrect API key provided: {' '.join(keys)}."}}
    return [http(json.dumps(body).encode(), "401 Unauthorized")]


def _replace_unnoticed(file: Path, key: str) -> None:
    """Write another key of the same length and time, so that the file looks unchanged."""
    before = file.stat()
    file.write_text(key)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_rotation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new key is used from the next request on, or after a 401; without a usable file the former one stays in use."""
    caplog.set_level(logging.INFO, logger="adapters")
    file = tmp_path / "key"
    file.write_text(f" {_FIRST}\n")
    refused = _rejection(_FIRST, _SECOND, _THIRD)
    async with ScriptedServer() as server:
        url = server.add("rotation", *map(answer, "12234"), refused, answer("5"), refused, refused, refused)
        entry = ProviderConfig.create("openai_compatible", name="shop", model="m", base_url=url, api_key=f"file:{file}")
        async with create_provider(entry.resolved(), temperature=0) as shop:  # another option keeps the file
            assert (await shop.chat(_ASK)).content == "1"
            file.unlink()
            for _ in range(2):
                assert (await shop.chat(_ASK)).content == "2"
            file.write_text("\n")
            assert (await shop.chat(_ASK)).content == "3"
            file.write_text(_SECOND)
            assert (await shop.chat(_ASK)).content == "4"

            _replace_unnoticed(file, _THIRD)
            response = await shop.chat(_ASK, max_retries=0)
            assert (response.content, response.attempts) == ("5", 2)

            with pytest.raises(AuthenticationError, match=f"rejected the API key. Check {file}") as unchanged:
                await shop.chat(_ASK)
            _replace_unnoticed(file, _FIRST)
            with pytest.raises(AuthenticationError) as changed:
                await shop.chat(_ASK)
        sent = [headers["authorization"].removeprefix("Bearer ") for headers in server.seen["rotation"].headers]

    assert sent == [*[_FIRST] * 4, _SECOND, _SECOND, _THIRD, _THIRD, _THIRD, _FIRST]
    for text in (
        caplog.text,
        *(str(part) for error in (unchanged, changed) for part in (error.value, error.value.__cause__)),
    ):
        assert not {_FIRST, _SECOND, _THIRD} & set(text.split())
        assert _FIRST not in text
    assert [record.getMessage() for record in caplog.records if "key" in record.getMessage()] == [
        "shop: the file of the API key cannot be read (No such file or directory); the former key stays in use",
        "shop: the file of the API key is empty; the former key stays in use",
        *["shop: read a new API key"] * 3,
    ]


def test_unusable_files(tmp_path: Path) -> None:
    """A file that has no key is a mistake of the configuration, as is an address of another machine."""
    empty, garbled = tmp_path / "empty", tmp_path / "garbled"
    empty.touch()
    garbled.write_bytes(b"\xff\x00")
    unusable = "correct the path or the file"
    mistakes = {
        f"file:{tmp_path}/no": f"names a file that cannot be read (No such file or directory); {unusable}",
        f"file:{empty}": f"names a file that is empty; {unusable}",
        f"file:{garbled}": f"names a file that holds {_UNSENDABLE}; {unusable}",
        "file://vault/key": "must name a file of this machine, such as file:///run/secrets/key",
        "file:": "must name a file of this machine, such as file:///run/secrets/key",
    }
    for api_key, problem in mistakes.items():
        with pytest.raises(ConfigError) as raised:
            create_provider("groq", model="m", api_key=api_key)
        assert f"groq: api_key {problem}" in str(raised.value)
