"""The command line ``adapters``; the only package that imports click and rich.

It reads options, calls the library and shows what comes of it: data on stdout, everything else on stderr. What all
commands share lives in ``base`` and ``table``; ``commands`` names them, and each has a module of its own.
"""

from __future__ import annotations

from adapters.cli.commands import main

__all__ = ["main"]
