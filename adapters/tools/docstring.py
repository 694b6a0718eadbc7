"""Read the descriptions in a docstring of Google's, reST's or numpy's style."""

from __future__ import annotations

import inspect
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Docstring:
    """The descriptions in a docstring.

    Attributes:
        description: The text before the parameters; "" if there is none.
        parameters: Name of each described parameter -> its description, on one line.
    """

    description: str
    parameters: dict[str, str]


def read_docstring(text: str) -> Docstring:
    """Parse a docstring.

    Args:
        text: The docstring, indented or not. Its sections about results and errors are left out: they are for
            programmers.
    """
    from docstring_parser import parse

    parsed = parse(inspect.cleandoc(text))
    return Docstring(
        (parsed.description or "").strip(),
        {param.arg_name: " ".join((param.description or "").split()) for param in parsed.params},
    )
