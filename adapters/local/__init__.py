"""The embedded server: a real llama.cpp HTTP server that lives and dies with this process (extra ``local``).

``server`` is what the rest of the package uses, ``process`` looks after the child process, ``__main__`` is that child,
``settings`` is what the one tells the other. The model with canned answers that runs if no GGUF file is given:
``demo_script`` is what it can say, ``demo_model`` the net that says it, ``demo_cache`` where its file is kept.
"""

from __future__ import annotations

from adapters.local.server import LocalServer

__all__ = ["LocalServer"]
