"""The child process of ``LocalServer``: the real llama.cpp HTTP server of the xllamacpp wheel, and nothing else.

Its argument is ``ServerSettings`` as JSON, the key comes through the environment. It writes one line to standard
output, the server's address, once the server listens, and it ends when standard input closes: that is how it learns
that its parent is gone. This is the only module that imports xllamacpp.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from xllamacpp import CommonParams, Server  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without types

from adapters.local.demo_cache import demo_model_file
from adapters.local.settings import API_KEY_VARIABLE

_WARNINGS = 2  # llama.cpp's log level: enough to learn why a model does not load, and not a line for each request
_CACHE_MIB = 1024  # prompts of earlier conversations; llama.cpp's own 8192 would surprise whoever embeds it


def open_server(settings: dict[str, Any], api_key: str = "") -> Server:
    """Load the model and start to listen.

    Args:
        settings: ``ServerSettings`` as JSON.
        api_key: Key to demand, or an empty string for none.

    Returns:
        The server; it stops when the object is deleted.

    Raises:
        RuntimeError: If the model cannot be loaded.
    """
    params = CommonParams()
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any free one
    params.model_alias = {settings["alias"]}
    params.n_ctx = settings["context_tokens"]
    params.n_parallel = 1  # slots share the context: one conversation has all of it
    params.use_jinja = True  # the model's own chat template, and tool calls
    params.cache_ram_mib = _CACHE_MIB
    params.verbosity = _WARNINGS
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = ""  # a web page in the user's browser has no business here
    params.cors_origins_explicit = True
    if api_key:
        params.api_keys = [api_key]
    if settings["sse_ping_s"] is not None:
        params.sse_ping_interval = settings["sse_ping_s"]
    if settings["model_path"] is not None:
        params.model.path = settings["model_path"]
        return Server(params)
    params.cpuparams.n_threads = 1  # the demo model has no work for two
    with demo_model_file() as file:
        params.model.path = str(file)
        return Server(params)


def _reserve_stdout() -> TextIO:
    """Keep standard output for the address alone: what C++ code prints there goes to standard error instead."""
    reserved = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return reserved


def _end_with_parent() -> None:
    """Let Linux kill this process when standard input closes.

    While llama.cpp loads a model, which can take a minute, no Python code can run and read the end of input. SIGIO
    needs none: nobody handles it, so it kills. Nothing is ever written to standard input, so its only news is its end.
    """
    if sys.platform != "linux":  # pragma: no cover - there the child reads the end of input once the model is loaded
        return
    import fcntl

    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    """Serve until the parent is gone."""
    _end_with_parent()
    with _reserve_stdout() as stdout:
        server = open_server(json.loads(sys.argv[1]), os.environ.get(API_KEY_VARIABLE, ""))
        stdout.write(f"{server.listening_address}\n")
    sys.stdin.read()
    os._exit(0)  # pragma: no cover - Linux was faster; at once, because a running answer would delay an orderly end


if __name__ == "__main__":
    main()
