"""``transport.redact``: keys never stay in a text, web pages become a sentence, and long texts end at a word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.transport.errors.redact import hide_secrets, is_html, plain, redact, shorten

KEY = "wire-KEY-0123456789"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Incorrect API key: sk-abcDEF123", "Incorrect API key: [hidden]", id="OpenAI"),
        pytest.param("key sk-or-v1-0a1b2c3d4e is bad", "key [hidden] is bad", id="OpenRouter"),
        pytest.param("provided: sk-proj-********AbCd.", "provided: [hidden]", id="masked by OpenAI"),
        pytest.param("gsk_abcdef1234 expired", "[hidden] expired", id="Groq"),
        pytest.param("hf_abcdefgh and r8_abcdefgh", "[hidden] and [hidden]", id="Hugging Face and Replicate"),
        pytest.param("xai-0123456789", "[hidden]", id="xAI"),
        pytest.param("nvapi-0123456789", "[hidden]", id="NVIDIA"),
        pytest.param("AIzaSyA-0123456789_abc", "[hidden]", id="Google"),
        pytest.param(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3 failed", "[hidden] failed", id="JSON web token"
        ),
        pytest.param("of 0123456789abcdef0123456789abcdef.", "of [hidden].", id="hash"),
        pytest.param("in prefix-vK3x9LmQ2pTz7RbY5cWd8NfHs4JgUe6A-1!", "in [hidden]!", id="random letters and digits"),
        pytest.param("Qwen3-Coder-480B-A35B-Instruct-FP8", "Qwen3-Coder-480B-A35B-Instruct-FP8", id="model"),
        pytest.param("/models/antidisestablishmentarianism2", "/models/antidisestablishmentarianism2", id="long word"),
        pytest.param("16f2151a-40f4-4a80-8ad0-cae00c27e8dd", "16f2151a-40f4-4a80-8ad0-cae00c27e8dd", id="UUID"),
        pytest.param('{"Authorization": "Bearer abc.def"}', '{"Authorization": "[hidden]"}', id="bearer"),
        pytest.param("BEARER\tabc, please", "[hidden], please", id="bearer in capitals"),
        pytest.param("http://me:pass@host/v1 failed", "http://host/v1 failed", id="password of a URL"),
        pytest.param("write to me@host", "write to me@host", id="an address is no password"),
        pytest.param("task-force and risk-free", "task-force and risk-free", id="words that hold sk-"),
        pytest.param("set_rate_limit", "set_rate_limit", id="nothing"),
        pytest.param("", "", id="empty"),
    ],
)
def test_known_forms_of_keys(text: str, expected: str) -> None:
    """Keys, tokens and passwords are hidden by their form, and nothing else is."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        pytest.param(f"Bad key {KEY}!", (KEY,), "Bad key [hidden]!", id="whole"),
        pytest.param(f"x{KEY}x", (KEY,), "x[hidden]x", id="inside a word"),
        pytest.param("secret-one-more", ("secret-one", "secret-one-more"), "[hidden]", id="one begins with another"),
        pytest.param("a+b(c.d", ("a+b(c.d",), "[hidden]", id="characters that mean something to a pattern"),
        pytest.param("max_tokens of ollama", ("x", "ollama"), "max_tokens of [hidden]", id="short ones are words"),
        pytest.param("as it was", ("",), "as it was", id="empty"),
    ],
)
def test_configured_secrets(text: str, secrets: tuple[str, ...], expected: str) -> None:
    """Configured values are hidden anywhere; a short placeholder is hidden only as a whole word."""
    assert redact(text, secrets) == expected


@given(st.text(), st.text(), st.text(alphabet=st.characters(exclude_characters="[hiden]"), min_size=8))
def test_a_secret_never_survives(before: str, after: str, secret: str) -> None:
    """A secret is hidden in any surroundings."""
    assert secret not in redact(f"{before}{secret}{after}", (secret,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<!DOCTYPE html><p>Hi", True, id="document"),
        pytest.param("Error: <H1>Bad Gateway</H1>", True, id="piece"),
        pytest.param("a < b and <think>", False, id="less than"),
        pytest.param("<path>", False, id="a word that begins like a tag"),
        pytest.param("", False, id="empty"),
    ],
)
def test_web_page(text: str, expected: bool) -> None:
    """A web page is recognized by its tags; a sentence with an angle bracket is not one."""
    assert is_html(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<html><head><title>502 Bad\nGateway</title></head><body>x</body>", "502 Bad Gateway", id="title"),
        pytest.param("<h1 class='a'>Log in</h1><p>Now", "Log in", id="heading"),
        pytest.param("<title></title><p>Gone", "", id="empty title"),
        pytest.param("<p>Tom &amp; <b>Eve</b></p><style>p {}</style><!-- no -->", "Tom & Eve", id="no title"),
        pytest.param("<script>if (a<b) {}</script><div>Words</div>", "Words", id="script"),
        pytest.param("<TITLE>One</Title><h1>Two</h1>", "One", id="the first of two"),
        pytest.param("<title>One<title>Two<h1>Three</h1>", "Three", id="titles that are never closed"),
        pytest.param("<p>One<!-- two", "One", id="comment that is never closed"),
        pytest.param("<p>One<!-- a-b --- -->two", "One two", id="dashes in a comment"),
        pytest.param("<p>One<style>a<b", "One", id="style that is never closed"),
        pytest.param("<p>One<style>a<b</style >two", "One two", id="style with an angle bracket"),
        pytest.param(f"<p>One &#{'9' * 4_900}; two &#66;", "One two B", id="character of too many digits"),
        pytest.param("bad value <think> in a < b", "bad value <think> in a < b", id="no page"),
        pytest.param("two\nlines\tand\u2028more\x00", "two lines and more", id="white space"),
        pytest.param("\u202eright to left\u200b", "right to left", id="invisible characters"),
    ],
)
def test_plain_line(text: str, expected: str) -> None:
    """A page becomes its title or its words, and every text one printable line."""
    assert plain(text) == expected


@given(st.text())
def test_every_plain_line_is_printable(text: str) -> None:
    """No character is left that a voice or a terminal cannot handle."""
    assert plain(text).isprintable()


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(19, "One two, three four", id="fits"),
        pytest.param(18, "One two, three…", id="at a word"),
        pytest.param(10, "One two…", id="without the comma before it"),
        pytest.param(3, "On…", id="within a word"),
        pytest.param(1, "…", id="nothing but the mark"),
        pytest.param(0, "", id="nothing"),
        pytest.param(-5, "", id="less than nothing"),
    ],
)
def test_cut_at_a_word(limit: int, expected: str) -> None:
    """A cut text ends at a word and with a mark."""
    assert shorten("One two, three four", limit) == expected


def test_cut_without_spaces() -> None:
    """A text without spaces is cut at the limit."""
    assert shorten("It said: " + "請" * 100, 60) == "It said: " + "請" * 50 + "…"


@given(st.text(), st.integers(0, 50))
def test_cut_text_fits(text: str, limit: int) -> None:
    """The limit holds for every text, and a text within it stays."""
    cut = shorten(text, limit)

    assert len(cut) <= limit
    assert len(text) > limit or cut == text


def test_secret_in_a_deep_value() -> None:
    """What is nested deeper than any error is dropped, and not searched."""
    value: object = f"key {KEY}"
    for _ in range(50):
        value = [value]

    assert KEY not in repr(hide_secrets(value, (KEY,)))
