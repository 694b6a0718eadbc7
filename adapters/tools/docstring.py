"""What a docstring says of a function and of its parameters, in Google's, reST's or numpy's way of writing it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring that was read.

    Attributes:
        description: What stands before the parameters; "" if there is nothing.
        parameters: Name of each parameter that is described -> its description, on one line.
    """

    description: str
    parameters: dict[str, str]


def read_docstring(text: str) -> Docstring:
    """Read a docstring.

    Args:
        text: As it stands in the source, indented or not. What it says of results and errors is for programmers,
            and left out.
    """
    from docstring_parser import parse

    parsed = parse(inspect.cleandoc(text))
    return Docstring(
        (parsed.description or "").strip(),
        {each.arg_name: " ".join((each.description or "").split()) for each in parsed.params},
    )
