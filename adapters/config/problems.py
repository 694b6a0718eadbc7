"""Word the problems of a configuration, one line each, with file and line number.

The models decide what is wrong; this module words it. No text repeats a value, because any value may be an API key in
the wrong place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeAlias, get_args

from adapters.config.kinds import KindName
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

KeyPath: TypeAlias = tuple[str, ...]
"""Keys from the top of the file down, such as ``("providers", "groq", "api_key")``."""

_OPENAI_COMPATIBLE = {
    *(
        "openai",
        "openaicompatible",
        "vllm",
        "sglang",
        "tgi",
        "llamacpp",
        "lmstudio",
        "localai",
        "mlx",
        "mlxlm",
        "litellmproxy",
    ),
    *("koboldcpp", "tabbyapi", "xinference", "fastchat", "openwebui"),
}
"""Servers and services of the kind openai_compatible; only the letters of their names."""
_ROUTES_OF_LITELLM = {
    "anthropic": "anthropic",
    "claude": "anthropic",
    "azure": "azure",
    "azureopenai": "azure",
    "bedrock": "bedrock",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "gemini": "gemini",
    "google": "gemini",
    "mistral": "mistral",
    "vertex": "vertex_ai",
    "vertexai": "vertex_ai",
    "xai": "xai",
}
"""Services of the kind litellm (only the letters of their names), and LiteLLM's route to each."""

_PAGES = {
    "vllm": "vllm",
    "llamacpp": "llama-cpp",
    "lmstudio": "lm-studio",
    "litellmproxy": "litellm-proxy",
    "azure": "azure",
    "azureopenai": "azure",
}
"""Pages of the documentation, by the letters of a name. Other routes share a page; other servers are in the FAQ."""

_NO_TEXT = "must be text; put it in quotes"
_NO_BLOCK = "must be a block of keys, each on a line of its own below it"
_SIMPLE_TEXTS = {
    "missing": "is missing; add it",
    "string_type": _NO_TEXT,
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number, without quotes",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false, without quotes",
    "model_type": _NO_BLOCK,
    "dict_type": _NO_BLOCK,
    "list_type": "must be a list, such as [one, two]",
    "is_instance_of": _NO_TEXT,
    "too_short": "is empty; add at least one entry",
    "invalid-json-value": "must be something that JSON can hold; put dates in quotes",
}
_BOUND_TEXTS = {"greater_than": "more than", "greater_than_equal": "at least", "less_than_equal": "at most"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a configuration.

    Attributes:
        path: Where it is.
        text: What is wrong and how to fix it; it continues the path: "must be a number".
    """

    path: KeyPath
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from, for errors.

    Attributes:
        label: The file as the user named it, or the name of a provider that was created in code.
        lines: Line of each key in the file; empty for a provider that was created in code.
        above: Keys in the file above these settings.
    """

    label: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    above: KeyPath = ()

    def error(self, problems: Iterable[Problem]) -> ConfigError:
        """Create the error for all problems, one per line, in the order of the file."""
        placed = sorted({self._place(problem) for problem in problems})
        return ConfigError("\n".join(text for _, text in placed))

    def _place(self, problem: Problem) -> tuple[int, str]:
        path = (*self.above, *problem.path)
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        place, whole = (f"{self.label}:{line}", "the file") if self.lines else (self.label, "the call")
        return line, f"{place}: {'.'.join(path) or whole} {problem.text}"


def read_problems(error: ValidationError, keys_beside: Callable[[KeyPath], Collection[str]]) -> list[Problem]:
    """Convert a validation error of pydantic into problems in plain words, in no particular order.

    Args:
        error: The error.
        keys_beside: Returns the valid keys at the place of the last key of a path.
    """
    return [_read_problem(details, keys_beside) for details in error.errors(include_url=False)]


def _read_problem(details: ErrorDetails, keys_beside: Callable[[KeyPath], Collection[str]]) -> Problem:
    path = tuple(str(key) for key in details["loc"])
    path = path[:-2] if path[-1:] == ("[key]",) else path  # the key's name is invalid, and may be a secret
    kind = details["type"]
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        hint = suggest(path[-1], keys_beside(path))
        if _may_be_secret(path[-1]):
            return Problem(path[:-1], f"holds a key that is not known; {hint}")
        return Problem(path, f"is not known; {hint}")
    if kind == "literal_error":
        return Problem(
            path, _unknown_kind(str(details["input"])) if path[-1] == "kind" else f"knows only {context['expected']}"
        )
    if kind in _BOUND_TEXTS:
        bound = next(iter(context.values()))
        return Problem(path, f"must be {_BOUND_TEXTS[kind]} {bound:g}")
    if kind == "value_error":
        return Problem(path, str(context["error"]))
    if kind == "invalid-json-value":
        path = tuple(key for key in path if key not in {"dict", "list"})  # pydantic names types between the keys
    return Problem(path, _SIMPLE_TEXTS.get(kind, "cannot be used"))


def _unknown_kind(kind: str) -> str:
    """Name the kind of a known server or service, else the nearest kind."""
    product = re.sub(r"[^a-z]", "", kind.lower())
    if product in _OPENAI_COMPATIBLE:
        hint = f"use openai_compatible, with its base_url; see docs/{_PAGES.get(product, 'faq')}.md"
    elif product in _ROUTES_OF_LITELLM:
        page = _PAGES.get(product, "litellm-providers")
        hint = f"use litellm, with model: {_ROUTES_OF_LITELLM[product]}/…; see docs/{page}.md"
    else:
        hint = suggest(kind, get_args(KindName))
    return f"is not a kind of provider; {hint}"


def suggest(word: str, known: Collection[str]) -> str:
    """Name the nearest known word, or all of them."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"use one of {', '.join(sorted(known))}"


def _may_be_secret(key: str) -> bool:
    """Whether a key may contain a value: without a space after the colon, YAML reads both as the key."""
    return re.fullmatch(r"[A-Za-z][A-Za-z_-]{0,30}", key) is None
