"""A small server that answers as OpenRouter documents its API; it is not OpenRouter.

The recordings of the ``openrouter`` rows come from it, because recording the real one needs a key and costs money.
With a key, one command records the real one instead: ``OPENROUTER_API_KEY=… nox -s record -- openrouter``.
What it shows follows https://openrouter.ai/docs/api-reference (overview, streaming, errors, limits, list models):
comments before the first event, ``provider`` and ``native_finish_reason``, ``usage`` with its cost, errors as
``{"error": {"code", "message", "metadata"}}`` before, instead of and inside an answer, prices as strings.
Its models ``faults/…`` fail on purpose; those names exist nowhere else.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.servers.openrouter_answers import completion, events, generation_id

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-or-v1-stand-in"

_ROUTING = "To learn more about provider routing, visit: https://openrouter.ai/docs/provider-routing"
_NO_TOOLS = f"No endpoints found that support tool use. {_ROUTING}"
_TOO_LONG = "This endpoint's maximum context length is 1024 tokens. However, you requested about 2011 tokens."
_LIMITED = "faults/rate-limited is temporarily rate-limited upstream. Please retry shortly."
_FLAGGED = {"reasons": ["violence"], "flagged_input": "the words that were flagged", "provider_name": "OpenAI"}
_IN_FLIGHT = {"reason": "in_flight_budget_exhausted", "limit_source": "openrouter_in_flight_budget"}
_TOOL_PARAMETERS = ["max_tokens", "temperature", "tool_choice", "tools"]

_FAULTS: dict[str, tuple[int, str, dict[str, Any], dict[str, str]]] = {
    "faults/no-credits": (402, "Insufficient credits. Add more at https://openrouter.ai/settings/credits", {}, {}),
    "faults/in-flight": (402, "Requests in flight hold all of your credits.", _IN_FLIGHT, {"Retry-After": "30"}),
    "faults/flagged": (403, "OpenAI requires moderation on this model. Your input was flagged.", _FLAGGED, {}),
    "faults/rate-limited": (429, "Provider returned error", {"raw": _LIMITED}, {"Retry-After": "60"}),
    "faults/small-window": (400, f"{_TOO_LONG} Please reduce the length of the messages.", {}, {}),
    "faults/down": (502, "Provider returned error", {"raw": "upstream connect error", "provider_name": "Azure"}, {}),
}
"""Status, message, metadata and headers of each failure that comes before an answer."""

_MODELS: dict[str, dict[str, Any]] = {
    "openai/gpt-4o-mini": {
        "name": "OpenAI: GPT-4o-mini",
        "pricing": {"prompt": "0.00000015", "completion": "0.0000006", "request": "0"},
        "supported_parameters": _TOOL_PARAMETERS,
    },
    "deepseek/deepseek-r1:free": {
        "name": "DeepSeek: R1 (free)",
        "pricing": {"prompt": "0", "completion": "0"},
        "supported_parameters": ["include_reasoning", "max_tokens", "reasoning"],
    },
    "openrouter/auto": {
        "name": "Auto Router",
        "pricing": {"prompt": "-1", "completion": "-1"},
        "supported_parameters": [],
    },
}


@contextmanager
def serve() -> Iterator[str]:
    """Run the server on a free loopback port.

    Yields:
        Its base URL.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api/v1"
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        shared = {"context_length": 128000, "architecture": {"modality": "text->text"}, "created": 1721260800}
        models = [{"id": model, **shared, **facts} for model, facts in _MODELS.items()]
        self._send_json(200, {"data": models, "links": {"next": None}, "total_count": len(models)})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        failure = self._failure(body)
        if failure is not None:
            self._send_json(*failure)
        elif body["model"] == "faults/error-inside":
            self._send_json(200, _error(502, "Provider returned error", {"provider_name": "Azure"}))
        elif body.get("stream"):
            self._send("text/event-stream", "".join(f"{line}\n\n" for line in events(body)).encode())
        else:
            self._send_json(200, completion(body))

    def _failure(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]] | None:
        """What the documented API checks before it asks a model."""
        model = body["model"]
        if self.headers["Authorization"] != f"Bearer {KEY}":
            known = self.headers["Authorization"]
            return 401, _error(401, "User not found." if known else "No auth credentials found"), {}
        if model in _FAULTS:
            status, message, metadata, headers = _FAULTS[model]
            return status, _error(status, message, metadata), headers
        if model not in _MODELS and not model.startswith("faults/"):
            return 400, _error(400, f"{model} is not a valid model ID"), {}
        if "tools" in body and "tools" not in _MODELS.get(model, {}).get("supported_parameters", ["tools"]):
            return 404, _error(404, _NO_TOOLS), {}
        return None

    def _send_json(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self._send("application/json", json.dumps(content).encode(), status, headers)

    def _send(self, content_type: str, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        sent = {"Content-Type": content_type, "Content-Length": str(len(data)), "X-Generation-Id": generation_id()}
        for name, value in {**sent, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _error(code: int, message: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, **({"metadata": metadata} if metadata else {})}}
