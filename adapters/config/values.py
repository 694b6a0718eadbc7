"""Validate single values: secrets, headers, paths, and references to environment variables (``os.environ/NAME``)."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainValidator, SecretStr

from adapters.config.problems import Problem
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.types import Json

WRITTEN_BY_US = frozenset({"model", "messages", "stream", "tools"})
"""Fields of a request body that the provider writes from the arguments of a call."""

_CONNECTION_HEADERS = frozenset(
    (
        *("connection", "content-encoding", "content-length", "expect", "keep-alive", "proxy-authenticate"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
"""Headers of one connection or one encoding (RFC 9110, 7.6.1), which only the HTTP client can know. With a wrong
Content-Length, a server waits for bytes that never arrive."""

_REFERENCE = "os.environ/"
_FILE = "file:"
_LONGEST_KEY_BYTES = 65_536
_SHELL_VARIABLE = re.compile(r"\$\{?([A-Z_][A-Z0-9_]*)\}?")


def is_reference(text: str) -> bool:
    """Whether a value is a reference to an environment variable."""
    return text.strip().startswith(_REFERENCE)


def variable_of(secret: SecretStr | None) -> str:
    """Return the name of the environment variable that a secret refers to; "" if it is literal."""
    text = secret.get_secret_value() if secret is not None else ""
    return text.removeprefix(_REFERENCE).strip() if is_reference(text) else ""


def file_of(secret: SecretStr | None) -> Path | None:
    """Return the file that a secret is read from (``file:///run/secrets/key``), or None if it names none.

    Raises:
        ValueError: If the path names a home directory that does not exist.
    """
    text = secret.get_secret_value().strip() if secret is not None else ""
    if not text.startswith(_FILE):
        return None
    path = text.removeprefix(_FILE)
    path = path.removeprefix("//") if path.startswith(("///", "//~")) else path
    if not path or path.startswith("//"):
        raise ValueError("must name a file of this machine, such as file:///run/secrets/key")
    found = _as_path(path)
    assert isinstance(found, Path)  # noqa: S101 - of a text that is not empty
    return found


def read_key_file(path: Path) -> str:
    """Read an API key from a file, without the white space around it.

    Raises:
        ValueError: If the file cannot be read or contains no usable key. The message is a predicate, as "is empty", and
            repeats neither path nor content.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_KEY_BYTES)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    key = content.decode("utf-8", "replace").strip()
    if not key:
        raise ValueError("is empty")
    if not (key.isascii() and key.isprintable()):
        raise ValueError("holds a line break or a character that cannot be sent in a header")
    return key


def look_up_all(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Look up the environment variables that values refer to.

    Args:
        values: Strings, secrets, paths, None, and dicts of those, by name.

    Returns:
        The contents of the variables, by the names of the values; and the variables that are not set.
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
    """Reject ``$NAME`` and ``${NAME}``, which only a shell expands.

    Raises:
        ValueError: If the text is one of them. The message repeats the name, which is not a secret.
    """
    if found := _SHELL_VARIABLE.fullmatch(text.strip()):
        raise ValueError(f"is a shell's way to name a variable; write os.environ/{found.group(1)}")


def _not_set(variable: str) -> str:
    """Describe an unset variable. It is named only if it is in capitals: anything else may be a pasted key."""
    shown = f"the environment variable {variable}" if re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable) else "a variable"
    return f"names {shown}, which is not set; export it"


_SETTINGS_OF_LITELLM = {
    **dict.fromkeys(("model", "api_key", "temperature", "max_tokens"), "set it beside litellm"),
    **dict.fromkeys(("api_base", "base_url"), "set base_url beside litellm"),
    **dict.fromkeys(("timeout", "request_timeout", "stream_timeout"), "set timeouts beside litellm"),
    **dict.fromkeys(("max_retries", "num_retries"), "set retry beside litellm"),
    **dict.fromkeys(("fallbacks", "context_window_fallbacks", "model_list"), "use the provider's fallbacks"),
    "extra_headers": "set headers beside litellm",
    "headers": "set it beside litellm",
    **dict.fromkeys(("messages", "tools", "tool_choice", "stream", "client", "acompletion"), "the provider writes it"),
}
"""Arguments of LiteLLM that would bypass the provider, and the setting to use instead."""


def _beside_settings(arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for name, hint in _SETTINGS_OF_LITELLM.items():
        if name in arguments:
            raise ValueError(f"must not hold {name}; {hint}")
    return arguments


def read_extra_headers(value: Json) -> dict[str, str]:
    """Validate the headers of one request by the rules for configured ones.

    Args:
        value: The caller's ``extra_headers``, or None.

    Raises:
        ConfigError: If it is not a mapping of header names to strings that can be sent.
    """
    headers = {} if value is None else value
    problem = _problem_with_headers(headers)
    if not problem:
        return dict(headers)
    del value, headers  # a traceback with local variables would show them
    raise ConfigError(f"extra_headers {problem}.")


def _problem_with_headers(headers: Json) -> str:
    if not isinstance(headers, dict) or not all(isinstance(text, str) for pair in headers.items() for text in pair):
        return 'must be an object of plain texts, such as {"X-Request-Id": "7"}'
    try:
        for name, text in headers.items():
            _header_name(name)
            _sendable(text)
        _no_name_twice(headers)
    except ValueError as error:
        return str(error)
    return ""


def _sendable(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("holds a line break or a character that cannot be sent in a header; copy it again")
    return text


def _no_reference_inside(text: str) -> None:
    no_shell_variable(text)
    if _REFERENCE in text and not is_reference(text):
        raise ValueError("holds os.environ/NAME among other text; it must stand alone")


def _header_value(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    _no_reference_inside(text)
    return SecretStr(_sendable(text))


def _query_value(secret: SecretStr) -> SecretStr:
    _no_reference_inside(secret.get_secret_value())
    return secret


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError("holds a header whose name has other characters than letters, digits and hyphens")
    if name.lower() in _CONNECTION_HEADERS:
        raise ValueError(f"cannot hold {name}: the connection sets it; remove it")
    return name


def _no_name_twice(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("holds one header twice, spelled in two ways; remove one")
    return headers


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


Secret = Annotated[SecretStr, AfterValidator(_header_value)]
Headers = Annotated[dict[Annotated[str, AfterValidator(_header_name)], Secret], AfterValidator(_no_name_twice)]
Query = dict[str, Annotated[SecretStr, AfterValidator(_query_value)]]
UserPath = Annotated[Path | None, BeforeValidator(_as_path)]
Texts = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
"""A list of strings; a single one needs no brackets."""


def parse_hedge_after(value: Json) -> float | Literal["auto"] | None:
    """Validate when a group asks the next provider beside the one before.

    Raises:
        ValueError: If it is neither a number of seconds nor ``auto``.
    """
    if value is None or value == "auto":
        return value  # type: ignore[no-any-return]  # compared above
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("must be a number of seconds, 0 or more, or auto")
    return float(value)


ExtraBody = Annotated[dict[str, JsonValue], AfterValidator(_beside_ours)]
LiteLLMArguments = Annotated[dict[str, JsonValue], AfterValidator(_beside_settings)]
Seconds = Annotated[float, Field(gt=0)]
_HedgeAfterInput: TypeAlias = Annotated[float, Field(ge=0)] | Literal["auto"] | None
HedgeAfter = Annotated[
    float | Literal["auto"] | None, PlainValidator(parse_hedge_after, json_schema_input_type=_HedgeAfterInput)
]
"""Seconds, or ``auto``: measured by the group."""
