"""A model server for the programs of the documentation: it returns whatever the request asks for.

It is also an HTTP proxy, so that programs with addresses such as ``http://gpu-box:8000/v1`` reach it through
``HTTP_PROXY``.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from adapters.testing.answers import Answer, answer, call, reply

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_TEXT = ("It is ", "sunny ", "in Paris.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._write(reply({"object": "list", "data": [{"id": "qwen3-8b", "object": "model"}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["host"].partition(":")[0] in self.server.down:
            self._write(reply({"error": {"message": "overloaded"}}, "503 Service Unavailable"))
            return
        self.server.requests.append(body)
        response = _response_to(body)
        self._write(response.stream if body.get("stream") else response.plain)

    def _write(self, script: Any) -> None:
        for part in script:
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, down: Collection[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.down = down
        self.requests: list[dict[str, Any]] = []

    def handle_error(self, *_: object) -> None:
        """Ignore clients that disconnect in the middle of a response, as after barge-in."""


def _response_to(body: dict[str, Any]) -> Answer:
    if schema := body.get("response_format", {}).get("json_schema", {}).get("schema"):
        return answer(json.dumps(_example(schema)))
    tools = body.get("tools", [])
    if tools and body.get("tool_choice") != "none" and body["messages"][-1]["role"] == "user":
        function = tools[0]["function"]
        arguments = json.dumps(_example({"type": "object", **function.get("parameters", {})}))
        return answer(calls=[call(function["name"], arguments)])
    return answer(*_TEXT)


def _example(schema: dict[str, Any]) -> Any:
    """Return a value that matches a simple JSON schema."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _example(field) for name, field in schema.get("properties", {}).items()}
    return {"string": "Paris", "number": 21.0, "integer": 21, "boolean": True, "array": []}[schema["type"]]


@contextmanager
def model_server(down: Collection[str] = ()) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run the server; yield its address and the list of the requests that it answers.

    Args:
        down: Hosts whose requests fail.
    """
    with _Server(down) as server:
        thread = threading.Thread(target=server.serve_forever, name="model-server")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.requests
        finally:
            server.shutdown()
            thread.join()
