"""LiteLLM's own exporter ``otel`` as a callback: a real exporter, and a receiver of OTLP in the test."""

from __future__ import annotations

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from adapters.testing.answers import answer
from tests.forks.processes import python

if TYPE_CHECKING:
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_PROGRAM = """
import asyncio, os, sys
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from opentelemetry import trace
from adapters import create_provider

litellm.callbacks = ["otel"]

async def main():
    async with create_provider("openai_compatible", model="qwen3", base_url=sys.argv[1]) as llm:
        await llm.chat([{"role": "user", "content": "Good morning!"}])

asyncio.run(main())
trace.get_tracer_provider().force_flush()
"""


def test_export(scripted_server: ScriptedServer) -> None:
    """A request is exported with its model and its tokens; a process of its own, because LiteLLM sets up the SDK."""
    received: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            if self.path.endswith("/traces"):
                received.append(content)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = {
            "OTEL_EXPORTER": "otlp_http",
            "OTEL_ENDPOINT": f"http://127.0.0.1:{server.server_port}/v1/traces",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        }
        command = [*python(), "-c", _PROGRAM, scripted_server.add("home", answer("Hi."))]
        subprocess.run(command, check=True, env={**os.environ, **settings})
        server.shutdown()

    requests = [ExportTraceServiceRequest.FromString(content) for content in received]
    scopes = [scope for request in requests for found in request.resource_spans for scope in found.scope_spans]
    values = {item.key: item.value for scope in scopes for span in scope.spans for item in span.attributes}
    assert values["gen_ai.request.model"].string_value == "qwen3"
    assert values["gen_ai.usage.input_tokens"].int_value == 7
