"""The embedded server: a real llama.cpp HTTP server in a child process (extra ``local``).

``server`` holds the public class, ``process`` starts and ends the child process, ``__main__`` is the child, and
``settings`` are the arguments it gets. Without a GGUF file the server runs a demo model with canned answers:
``demo_script`` holds the answers, ``demo_model`` builds the model file, ``demo_cache`` stores it.
"""

from __future__ import annotations

from adapters.local.server import LocalServer

__all__ = ["LocalServer"]
