"""Make a text of a server fit for logs and speech: no keys or tokens, no markup, one short line."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.types import Json

_SECRETS = re.compile(
    r"\b(?:sk|pk|rk)-[\w*.\-]{5,}"  # OpenAI, OpenRouter, Stripe-like; also masked ones
    r"|\b(?:gsk|hf|xai|nvapi|r8)[_-][\w*.\-]{5,}"  # Groq, Hugging Face and others
    r"|\bAIza[\w\-]{10,}"  # Google
    r"|\beyJ[\w-]{8,}+(?:\.[\w-]*+){0,4}"  # JSON web tokens
    r"|\bbearer\s+[^\s\"',;}]+",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\w+=~-]{20,}+")
_RUN = re.compile(r"[A-Za-z0-9]{20,}+")  # names of models and files have breaks, keys and hashes have none
_CHANGE = re.compile(r"(?<=\d)[A-Za-z]|(?<=[A-Za-z])\d")
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
# Each pattern consumes what it began, closed or not: otherwise a page full of openings is read once for each of them.
_TITLE = re.compile(r"<(title|h1)\b[^<>]*>", re.IGNORECASE)
_CLOSING = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("title", "h1")}
_TAG = re.compile(
    r"<(style|script)\b(?:[^<]++|<(?!/\1))*+(?:</\1|\Z)[^<>]*>?|<!--(?:[^-]++|-(?!->))*+(?:-->|\Z)|<[a-zA-Z/!][^<>]*>",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"&#\d{10,};?")  # not a character, and more digits than Python reads
_HTML = re.compile(r"<(?:!doctype|html|head|body|title|h1|p|div|center)\b", re.IGNORECASE)
_HIDDEN = "[hidden]"
_SHORTEST_KEY_CHARS = 8
_DEEPEST_ERROR = 32  # levels of a JSON value; what is deeper holds no message
_LONGEST_WORD_CHARS = 40  # Chinese and Japanese have no spaces; there the cut is made inside the sentence


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Hide keys, tokens and the credentials of URLs, whether they are configured here or not.

    Args:
        text: Any text of a server.
        secrets: The configured key and other values that must not appear.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may begin with another
        whole = re.escape(secret)
        # A key such as "x" or "ollama" is a placeholder; hiding it inside other words would garble them.
        text = re.sub(whole if len(secret) >= _SHORTEST_KEY_CHARS else rf"(?<!\w){whole}(?!\w)", _HIDDEN, text)
    text = _URL_CREDENTIALS.sub("", _SECRETS.sub(_HIDDEN, text))
    return _WORD.sub(lambda word: _HIDDEN if _is_token(word.group()) else word.group(), text)


def _is_token(word: str) -> bool:
    """Return whether a word is random letters and digits, as keys and hashes are."""
    return any(len(_CHANGE.findall(run)) > 1 for run in _RUN.findall(word))


def is_html(text: str) -> bool:
    """Return whether a text is a web page or a piece of one."""
    return _HTML.search(text) is not None


def plain(text: str) -> str:
    """Reduce a text to one line: of a web page the title, or its words without tags; of any other text all of it."""
    if is_html(text):
        text = html.unescape(_NUMBER.sub(" ", _TAG.sub(" ", _title_of(text))))
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _title_of(page: str) -> str:
    """Return the first title or heading of a web page, or the whole page if it has none."""
    unclosed = set()
    for opening in _TITLE.finditer(page):
        name = opening.group(1).lower()
        if name not in unclosed:
            closing = _CLOSING[name].search(page, opening.end())
            if closing:
                return page[opening.end() : closing.start()]
            unclosed.add(name)
    return page


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most ``limit`` characters, at a word if one ends near."""
    if len(text) <= limit:
        return text
    cut = text[: max(limit - 1, 0)]
    word = cut.rpartition(" ")[2]
    if len(word) < min(len(cut), _LONGEST_WORD_CHARS):
        cut = cut.removesuffix(word)
    return f"{cut.rstrip(' .,;:-')}…" if limit > 0 else ""


def hide_secrets(value: Json, secrets: tuple[str, ...]) -> Json:
    """Replace secrets in every text of a JSON value, in whatever case they are repeated.

    Args:
        value: The value.
        secrets: The configured key and other values; those of a few characters may be words, and stay.
    """
    longest_first = sorted((secret for secret in secrets if len(secret) >= _SHORTEST_KEY_CHARS), key=len, reverse=True)
    if not longest_first:
        return value
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)

    def hidden(part: Json, depth: int) -> Json:
        if isinstance(part, str):
            return pattern.sub(_HIDDEN, part)
        if not depth:
            return None
        if isinstance(part, list):
            return [hidden(item, depth - 1) for item in part]
        return {name: hidden(item, depth - 1) for name, item in part.items()} if isinstance(part, dict) else part

    return hidden(value, _DEEPEST_ERROR)
