"""The single values of a configuration: secrets, headers, paths, and ``os.environ/NAME`` in their place.

Which settings have them is told by ``adapters.config``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, SecretStr

from adapters.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

WRITTEN_BY_US = frozenset({"model", "messages", "stream", "tools"})
"""Fields of a request's body that come from the question, and from nowhere else."""

_REFERENCE = "os.environ/"
_SHELL_VARIABLE = re.compile(r"\$\{?([A-Z_][A-Z0-9_]*)\}?")


def is_reference(text: str) -> bool:
    """Tell whether a value only names the environment variable that holds it."""
    return text.strip().startswith(_REFERENCE)


def variable_of(secret: SecretStr | None) -> str:
    """Name the environment variable that a secret is read from; "" if it is written out."""
    text = secret.get_secret_value() if secret is not None else ""
    return text.removeprefix(_REFERENCE).strip() if is_reference(text) else ""


def look_up_all(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Read the variables that values name.

    Args:
        values: Texts, secrets, paths, None, and dicts of those.

    Returns:
        The values that named a variable, with what it holds in their place, and the variables that are not set.
    """
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.items():
        if isinstance(value, dict):
            inner, inner_problems = look_up_all(value)
            found |= {name: value | inner} if inner else {}
            problems += [Problem((name, *problem.path), problem.text) for problem in inner_problems]
            continue
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if not is_reference(text):
            continue
        variable = text.removeprefix(_REFERENCE).strip()
        held = os.environ.get(variable) if variable else None
        if held is None:
            problems.append(Problem((name,), _not_set(variable)))
        else:
            found[name] = held
    return found, problems


def no_shell_variable(text: str) -> None:
    """Refuse ``$NAME`` and ``${NAME}``: a shell would put a value in their place, and nobody else does.

    Raises:
        ValueError: If the text is one of them; it repeats the name, which is no secret.
    """
    if found := _SHELL_VARIABLE.fullmatch(text.strip()):
        raise ValueError(f"is a shell's way to name a variable; write os.environ/{found.group(1)}")


def _not_set(variable: str) -> str:
    """Name a missing variable only if it is in capitals, as variables are: else it may be a key pasted in its place."""
    shown = f"the environment variable {variable}" if re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable) else "a variable"
    return f"names {shown}, which is not set; export it, or write the value here"


def _sendable(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    no_shell_variable(text)
    if not (text.isascii() and text.isprintable()):
        raise ValueError("holds a line break or a character that cannot be sent in a header; copy it again")
    if _REFERENCE in text and not is_reference(text):
        raise ValueError("holds os.environ/NAME among other text; it must stand alone")
    return SecretStr(text)


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError("holds a header whose name has other characters than letters, digits and hyphens")
    return name


def _as_path(value: object) -> object:
    if isinstance(value, str):
        value = value.strip()
        no_shell_variable(value)
        try:
            return Path(value).expanduser() if value else None
        except RuntimeError:
            raise ValueError("begins with ~ and the name of no user of this machine; write the whole path") from None
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _beside_ours(body: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if taken := sorted(WRITTEN_BY_US & body.keys()):
        raise ValueError(f"cannot hold {taken[0]}: the provider writes it; remove it")
    return body


Secret = Annotated[SecretStr, AfterValidator(_sendable)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
UserPath = Annotated[Path | None, BeforeValidator(_as_path)]
Texts = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
"""Some texts; one alone may stand without brackets."""
ExtraBody = Annotated[dict[str, JsonValue], AfterValidator(_beside_ours)]
Seconds = Annotated[float, Field(gt=0)]
