"""Find the path of the API below a host: the configured one, or one that servers commonly use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.doctor.probe import Probe, Reply
    from adapters.types import Json

_COMMON_PATHS = ("/v1", "/api/v1", "/openai/v1", "/gateway/mlflow/v1", "")
KEY_REJECTED = (401, 403)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the API is.

    Attributes:
        base_url: Base URL of the API; the configured one if no API was found.
        reply: The reply to ``GET /models`` there.
        finding: The finding of the step "address".
    """

    base_url: str
    reply: Reply
    finding: Finding

    @property
    def rejects_key(self) -> bool:
        """Whether there is an API that rejects the key."""
        return self.reply.status in KEY_REJECTED

    @property
    def models(self) -> list[dict[str, Json]]:
        """Entries of the list of models; empty if there is no list."""
        return models_in(self.reply.document)


async def locate_api(probe: Probe, base_url: str) -> Location:
    """Request the list of models at the configured base URL, then at the common paths of the same host."""
    first = await probe.get(f"{base_url}/models")
    if (finding := _conclusive_finding(base_url, first)) is not None:
        return Location(base_url, first, finding)
    for candidate in _candidates(base_url):
        reply = await probe.get(f"{candidate}/models")
        if _is_api(reply):
            missing = " (/v1 is missing)" if candidate.endswith("/v1") and not base_url.endswith("/v1") else ""
            detail = f"no API at {base_url}, but one at {candidate}{missing}; continuing with that address"
            return Location(candidate, reply, Finding("address", "failed", detail, f"Set base_url to {candidate}"))
    detail = f"no list of models at {base_url}/models (status {first.status}), nor at the common paths of this host"
    advice = "Some servers have no list. If the response below fails too, check base_url."
    return Location(base_url, first, Finding("address", "warning", detail, advice))


def _conclusive_finding(base_url: str, first: Reply) -> Finding | None:
    """The finding if the first reply settles it; None if the API may be at another path."""
    if first.problem:
        return Finding("address", "failed", first.problem, "See the server's log.")
    return Finding("address", "passed", f"{base_url} is an API") if _is_api(first) else None


def models_in(document: Json) -> list[dict[str, Json]]:
    """Return the entries of a list of models, in each form that servers use."""
    entries = document
    if isinstance(document, dict):
        entries = document.get("data") or document.get("models")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _is_api(reply: Reply) -> bool:
    """Whether the reply is a list of models, possibly empty, or a rejected key."""
    if reply.status in KEY_REJECTED:
        return True
    document = reply.document
    return reply.is_good and (isinstance(document, list) or (isinstance(document, dict) and "data" in document))


def _candidates(base_url: str) -> Iterator[str]:
    url = urlsplit(base_url)
    root = f"{url.scheme}://{url.netloc}"
    tried = {base_url}
    for candidate in (f"{base_url}/v1", *(f"{root}{path}" for path in _COMMON_PATHS)):
        if candidate not in tried:
            tried.add(candidate)
            yield candidate
