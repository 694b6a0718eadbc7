"""Where below a host the API is: the configured path, or one of those that servers use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.doctor.probe import Probe, Reply
    from adapters.types import Json

_USUAL_PATHS = ("/v1", "/api/v1", "/openai/v1", "")
_KEY_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the API is.

    Attributes:
        base_url: Its address; as configured if none was found.
        reply: What ``GET /models`` there brought.
        finding: What to tell of it.
    """

    base_url: str
    reply: Reply
    finding: Finding

    @property
    def refuses_key(self) -> bool:
        """Whether there is an API that does not take the key."""
        return self.reply.status in _KEY_REFUSED

    @property
    def models(self) -> list[dict[str, Json]]:
        """The entries of its list of models; empty if there is none."""
        return models_in(self.reply.document)


async def find_place(probe: Probe, base_url: str) -> Place:
    """Ask for the list of models where the configuration says, and else where servers usually have it."""
    first = await probe.get(f"{base_url}/models")
    if (finding := _told_at_once(base_url, first)) is not None:
        return Place(base_url, first, finding)
    for other in _others(base_url):
        reply = await probe.get(f"{other}/models")
        if _is_api(reply):
            missing = " (/v1 is missing)" if other.endswith("/v1") and not base_url.endswith("/v1") else ""
            detail = f"there is nothing at {base_url}, but an API at {other}{missing}; going on with that"
            return Place(other, reply, Finding("address", "failed", detail, f"Set base_url to {other}"))
    detail = f"no list of models at {base_url}/models (status {first.status}), nor at the usual places beside it"
    advice = "Some servers have none. If the answer below fails too, check base_url."
    return Place(base_url, first, Finding("address", "warning", detail, advice))


def _told_at_once(base_url: str, first: Reply) -> Finding | None:
    """What the first reply tells by itself; None if the API may be elsewhere."""
    if first.trouble:
        return Finding("address", "failed", first.trouble, "Look at the server's log.")
    return Finding("address", "ok", f"{base_url} is an API") if _is_api(first) else None


def models_in(document: Json) -> list[dict[str, Json]]:
    """The entries of a list of models, in each form that servers have for it."""
    entries = document
    if isinstance(document, dict):
        entries = document.get("data") or document.get("models")
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _is_api(reply: Reply) -> bool:
    """Whether there is a list of models, be it empty, or one that only the right key opens."""
    if reply.status in _KEY_REFUSED:
        return True
    document = reply.document
    return reply.is_good and (isinstance(document, list) or (isinstance(document, dict) and "data" in document))


def _others(base_url: str) -> Iterator[str]:
    url = urlsplit(base_url)
    root = f"{url.scheme}://{url.netloc}"
    tried = {base_url}
    for other in (f"{base_url}/v1", *(f"{root}{path}" for path in _USUAL_PATHS)):
        if other not in tried:
            tried.add(other)
            yield other
