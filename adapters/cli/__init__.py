"""The command line ``adapters``, the only package that imports click and rich.

It reads options, calls the library and prints the result: data on stdout, everything else on stderr. ``base``,
``entry``, ``signals`` and ``table`` are shared by the commands; ``commands`` lists them, one module each. ``chat`` has
more: ``question`` reads the prompt, ``conversation`` runs the turns, ``terminal`` reads lines, ``view`` prints a turn.
"""

from __future__ import annotations

import gc
import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line. Until a command starts, Ctrl-C ends the process as shells expect, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from adapters.cli.commands import group
    from adapters.cli.signals import leave_if_loading

    try:
        group(prog_name="adapters")
    except SystemExit as end:
        leave_if_loading(end.code)
        gc.freeze()  # at its exit, Python would walk through all objects of LiteLLM several times: a second
        raise
