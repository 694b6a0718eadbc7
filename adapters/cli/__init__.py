"""The command line ``adapters``; the only package that imports click and rich.

It reads options, calls the library and shows what comes of it: data on stdout, everything else on stderr. What all
commands share lives in ``base``, ``signals`` and ``table``; ``commands`` names the commands, each of which has a module
of its own. ``chat`` has more: ``question`` reads what is asked, ``conversation`` goes on, ``terminal`` is where a
person types, ``view`` what is shown.
"""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line. Until a command begins, Ctrl-C ends it as the shell expects, and without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from adapters.cli.commands import group
    from adapters.cli.signals import leave_if_loading

    try:
        group(prog_name="adapters")
    except SystemExit as end:
        leave_if_loading(end.code)
        raise
