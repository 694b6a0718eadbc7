"""Where the demo model's file is kept, so that it is made once a user and release.

What is in the file is the matter of ``adapters.local.demo_model``.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCES = ("demo_model.py", "demo_script.py")


@contextmanager
def demo_model_file() -> Iterator[Path]:
    """Lend the demo model's file while a server loads it; made now if this user has none of this release.

    Yields:
        A file in the user's cache folder (``XDG_CACHE_HOME``, or ``~/.cache``), or, if that cannot be written, in a
        private temporary folder that is removed at once: a loaded model no longer needs its name.
    """
    content = b"".join(Path(__file__).with_name(source).read_bytes() for source in _SOURCES)
    name = f"demo-{hashlib.sha256(content).hexdigest()[:16]}.gguf"
    with tempfile.TemporaryDirectory(prefix="caal-llm-adapters-", ignore_cleanup_errors=True) as fallback:
        try:
            file = _made_once(_cache_folder() / name)
        except (OSError, RuntimeError):  # read-only or full; RuntimeError: a user without a home
            file = _made_once(Path(fallback) / name)
        yield file


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "caal-llm-adapters"


def _made_once(path: Path) -> Path:
    """Make the file unless it exists; a process that does the same at the same time sees a whole file or none."""
    if not path.exists():
        from adapters.local.demo_model import write_demo_model  # gguf and numpy take half a second

        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            write_demo_model(unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path
