"""How a conversation is recorded: what of it is kept, what is hidden, how it is written down and found again.

Everything that differs from one recording session to the next (ports, keys, the machine) is taken out here, so that a
new recording differs from the old one only where the server does. Which servers there are is told in ``rows``.
"""

from __future__ import annotations

import copy
import json
import os
import re
from typing import TYPE_CHECKING, Any

import yaml
from httpx import URL
from vcr.request import Request  # type: ignore[import-untyped]  # vcrpy carries no types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcr.cassette import Cassette  # type: ignore[import-untyped]  # as above

RECORDING_VARIABLE = "ADAPTERS_RECORDING"
"""Environment variable with which ``record`` tells the tests where a server runs: JSON, see ``RECORDING``."""

HOST_SUFFIX = ".test"  # a server's host in a cassette is its name and this, wherever it ran while it was recorded

REQUEST_HEADERS = frozenset({"authorization", "content-type", "http-referer", "x-title"})
RESPONSE_HEADERS = frozenset(
    {"content-type", "llm_provider-retry-after", "retry-after", "server", "x-generation-id", "x-litellm-version"}
)

HEADER = "# Recorded from {}.\n# Never edited by hand: `nox -s record` writes it anew.\n"
"""The first lines of every cassette; in the gap, which server it was."""

NO_KEY = "Bearer not-needed"  # what goes to a server that has no key; nothing to hide
HIDDEN_KEY = "Bearer REDACTED"

# Read once: a test's environment is cleared of it.
RECORDING: dict[str, dict[str, str]] = json.loads(os.environ.get(RECORDING_VARIABLE, "{}"))
"""``base_url``, ``api_key`` and ``description`` of each server that is being recorded; empty while replaying."""

_REDACTIONS = (
    (re.compile(rb"\b(sk|gsk|hf)[-_][\w-]{6,}"), b"REDACTED"),
    (re.compile(rb"-Linux-[^\"]+"), b"-REDACTED"),  # mlx-lm tells the kernel of the machine it runs on
    (re.compile(rb"\buser_\w{10,}"), b"REDACTED"),  # OpenRouter names the account in its errors
)


def filter_request(request: Request) -> Request | None:
    """Reduce a request to what is stored and compared.

    Args:
        request: The request as it goes out.

    Returns:
        A copy, or None for a request that is not for a real server and passes by the cassette.
    """
    url = URL(request.uri)
    if url.host.endswith(".invalid"):
        return None  # the rehearsal of prewarm(), which a MockTransport answers
    for name, running in RECORDING.items():
        if url.netloc == URL(running["base_url"]).netloc:
            url = url.copy_with(scheme="http", host=f"{name}{HOST_SUFFIX}", port=None)
    headers = {key: value for key, value in request.headers.items() if key.lower() in REQUEST_HEADERS}
    return Request(request.method, str(url), request.body or b"", {key: _hide(value) for key, value in headers.items()})


def filter_response(response: dict[str, Any]) -> dict[str, Any]:
    """Reduce a response to what is stored; the test that records it sees the whole one."""
    kept = copy.deepcopy(response)
    headers = {key.lower(): values for key, values in kept["headers"].items()}
    kept["headers"] = {key: headers[key] for key in sorted(RESPONSE_HEADERS & headers.keys())}
    for pattern, replacement in _REDACTIONS:
        kept["body"]["string"] = pattern.sub(replacement, kept["body"]["string"])
    return kept


def match_headers(sent: Request, stored: Request) -> None:
    """Match the headers that are kept: the key's presence, attribution, content type."""
    assert _lower(sent.headers) == _lower(stored.headers), f"{sent.headers} != {stored.headers}"


def serialize(cassette: dict[str, Any]) -> str:
    """Write a cassette so that a person can read a change of it: JSON as YAML, streams as they came."""
    interactions = []
    for interaction in cassette["interactions"]:
        request, response = dict(interaction["request"]), dict(interaction["response"])
        request["body"] = _readable(request["body"])
        response["body"] = _readable(response["body"]["string"])
        interactions.append({"request": request, "response": response})
    [name] = {URL(each["request"]["uri"]).host.removesuffix(HOST_SUFFIX) for each in interactions}
    content = {"version": cassette["version"], "interactions": interactions}
    # PyYAML breaks long lines and quotes what is not ASCII unless told otherwise.
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31)
    return HEADER.format(RECORDING[name]["description"]) + text


def deserialize(text: str) -> dict[str, Any]:
    """Read what ``serialize`` wrote, in the form that vcrpy wants."""
    cassette: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)  # many times faster than safe_load
    for interaction in cassette["interactions"]:
        interaction["request"]["body"] = _wire(interaction["request"]["body"])
        interaction["response"]["body"] = {"string": _wire(interaction["response"]["body"])}
    return cassette


def sent(cassette: Cassette) -> list[dict[str, Any]]:
    """Return the bodies of a cassette's requests; matching has proved that they are what went out."""
    return [json.loads(request.body) for request in cassette.requests]


def _hide(value: str) -> str:
    return HIDDEN_KEY if value.startswith("Bearer ") and value != NO_KEY else value


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}


def _readable(body: str | None) -> dict[str, Any]:
    if not body:
        return {}
    try:
        return {"json": json.loads(body)}
    except ValueError:
        return {"text": body}


def _wire(body: dict[str, Any]) -> str:
    return json.dumps(body["json"], ensure_ascii=False) if "json" in body else body.get("text", "")


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as such."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]  # an anchor in a cassette explains nothing
