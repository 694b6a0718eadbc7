"""The child process of ``LocalServer``: the llama.cpp HTTP server of the xllamacpp wheel.

Its argument is ``ServerSettings`` as JSON; the key is passed in the environment. Once the server listens, it writes one
line to standard output, the address. It ends when standard input closes, which happens when its parent ends. This is
the only module that imports xllamacpp.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from xllamacpp import CommonParams, Server  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without types

from adapters.local.demo_cache import demo_model_file
from adapters.local.settings import API_KEY_VARIABLE

_WARNINGS = 2  # llama.cpp's log level: says why a model does not load, without a line per request
_CACHE_MIB = 1024  # cache of earlier prompts; llama.cpp's default of 8192 is too much for an embedded server


def open_server(settings: dict[str, Any], api_key: str = "") -> Server:
    """Load the model and listen.

    Args:
        settings: ``ServerSettings`` as JSON.
        api_key: Key that clients must send, or "" for none.

    Returns:
        The server. It stops when the object is deleted.

    Raises:
        RuntimeError: If the model cannot be loaded.
    """
    params = CommonParams()
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any free port
    params.model_alias = {settings["alias"]}
    params.n_ctx = settings["context_tokens"]
    params.n_parallel = 1  # slots share the context; a single conversation can use all of it
    params.use_jinja = True  # the model's own chat template, and tool calls
    params.cache_ram_mib = _CACHE_MIB
    params.verbosity = _WARNINGS
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = ""  # web pages in the user's browser must not use the server
    params.cors_origins_explicit = True
    if api_key:
        params.api_keys = [api_key]
    if settings["sse_ping_s"] is not None:
        params.sse_ping_interval = settings["sse_ping_s"]
    if settings["model_path"] is not None:
        params.model.path = settings["model_path"]
        return Server(params)
    params.cpuparams.n_threads = 1  # the demo model needs no more
    with demo_model_file() as file:
        params.model.path = str(file)
        return Server(params)


def _reserve_stdout() -> TextIO:
    """Reserve standard output for the address; what C++ code prints there goes to standard error instead."""
    reserved = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return reserved


def _end_with_parent() -> None:
    """Make Linux kill this process when standard input closes.

    While llama.cpp loads a model, which can take a minute, no Python code runs that could read the end of input. SIGIO
    needs no Python code: without a handler it ends the process. Nothing is ever written to standard input, so the only
    event on it is its end.
    """
    if (
        sys.platform != "linux"
    ):  # pragma: no cover - elsewhere the child reads the end of input once the model is loaded
        return
    import fcntl

    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    """Serve until the parent ends."""
    _end_with_parent()
    with _reserve_stdout() as stdout:
        server = open_server(json.loads(sys.argv[1]), os.environ.get(API_KEY_VARIABLE, ""))
        stdout.write(f"{server.listening_address}\n")
    sys.stdin.read()
    os._exit(0)  # pragma: no cover - Linux kills it before; a running response would delay an orderly exit


if __name__ == "__main__":
    main()
