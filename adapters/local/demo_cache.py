"""Cache the file of the demo model, which is built once per user and release by ``adapters.local.demo_model``."""

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
    """Provide the demo model's file while a server loads it, and build it first if this release has none yet.

    Yields:
        A file in the user's cache folder (``XDG_CACHE_HOME``, or ``~/.cache``). If that cannot be written, a file in a
        private temporary folder, which is removed at the end of the block: a loaded model does not need its file name.
    """
    content = b"".join(Path(__file__).with_name(source).read_bytes() for source in _SOURCES)
    name = f"demo-{hashlib.sha256(content).hexdigest()[:16]}.gguf"
    with tempfile.TemporaryDirectory(prefix="caal-llm-adapters-", ignore_cleanup_errors=True) as fallback:
        try:
            file = _build_once(_cache_folder() / name)
        except (OSError, RuntimeError):  # read-only or full; RuntimeError: the user has no home
            file = _build_once(Path(fallback) / name)
        yield file


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "caal-llm-adapters"


def _build_once(path: Path) -> Path:
    """Build the file unless it exists. A process that does the same at the same time sees a complete file or none."""
    if not path.exists():
        from adapters.local.demo_model import write_demo_model  # imports gguf and numpy, which takes half a second

        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            write_demo_model(unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path
