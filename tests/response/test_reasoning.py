"""``adapters.response.reasoning``: reasoning is kept up to a limit, with the fields to send back."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from adapters.response.reasoning import Reasoning


@pytest.mark.parametrize(
    ("pieces", "merged"),
    [
        pytest.param([[], []], [], id="none"),
        pytest.param(
            [
                [{"type": "reasoning.text", "index": 0, "text": "so"}],
                [{"type": "reasoning.text", "index": 0, "text": "!"}],
            ],
            [{"type": "reasoning.text", "index": 0, "text": "so!"}],
            id="openrouter-text-in-pieces",
        ),
        pytest.param(
            [[{"type": "t", "index": 0, "text": "a", "format": None}], [{"type": "t", "index": 0, "signature": "s"}]],
            [{"type": "t", "index": 0, "text": "a", "format": None, "signature": "s"}],
            id="openrouter-signature-at-the-end",
        ),
        pytest.param(
            [[{"type": "t", "index": 0, "id": "r1"}], [{"type": "t", "index": 0, "id": None}]],
            [{"type": "t", "index": 0, "id": "r1"}],
            id="null-takes-nothing-away",
        ),
        pytest.param(
            [[{"type": "t", "index": 0, "text": "a"}], [{"type": "t", "index": 1, "text": "b"}]],
            [{"type": "t", "index": 0, "text": "a"}, {"type": "t", "index": 1, "text": "b"}],
            id="two-entries",
        ),
        pytest.param(
            [[{"type": "t", "text": "a"}], [{"type": "t", "text": "b"}]],
            [{"type": "t", "text": "a"}, {"type": "t", "text": "b"}],
            id="without-index-each-is-its-own",
        ),
    ],
)
def test_pieces_of_one_detail_become_one_again(
    pieces: list[list[dict[str, Any]]], merged: list[dict[str, Any]]
) -> None:
    """Details that a stream cut up are joined, and reading them twice changes nothing."""
    reasoning = Reasoning()
    for piece in pieces:
        reasoning.add_details(piece)

    assert [reasoning.provider_fields, reasoning.provider_fields] == [
        {"reasoning_details": merged} if merged else {}
    ] * 2


def test_value_that_takes_the_place_of_text() -> None:
    """The last value of a field wins if it, or one before it, is no text."""
    reasoning = Reasoning()
    for text in ("a", "b", ["c"], "d"):
        reasoning.add_details([{"type": "t", "index": 0, "text": text}])

    assert reasoning.provider_fields == {"reasoning_details": [{"type": "t", "index": 0, "text": "d"}]}


def test_field_that_is_sent_back() -> None:
    """Reasoning is sent back under the name of its field; reasoning from the text is not."""
    reasoning = Reasoning()
    reasoning.add_piece(" so", "reasoning_content")
    reasoning.add("hm")
    reasoning.add_piece(" it is\n", "reasoning_content")

    assert reasoning.text == " sohm it is\n"
    assert reasoning.provider_fields == {"reasoning_content": " so it is\n"}


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        pytest.param(["I see", "I see a light", "I see a light."], "I see a light.", id="cumulative"),
        pytest.param(["Hm", "Hm, no"], "HmHm, no", id="held-back-at-the-end"),
    ],
)
def test_reasoning_that_comes_again(pieces: list[str], text: str) -> None:
    """Reasoning that a server sends again is kept once."""
    reasoning = Reasoning()
    for piece in pieces:
        reasoning.add_piece(piece, "reasoning")
    reasoning.finish()

    assert (reasoning.text, reasoning.provider_fields) == (text, {"reasoning": text})


def test_halves_of_characters() -> None:
    """The halves of a character in two pieces are joined; a single half is replaced."""
    reasoning = Reasoning()
    for piece in ("a\ud83d", "\ude00", "b\ud83d"):
        reasoning.add_piece(piece)

    assert reasoning.text == "a\N{GRINNING FACE}b\N{REPLACEMENT CHARACTER}"


def test_details_that_are_no_text() -> None:
    """Values that are no text count with the size of their JSON."""
    reasoning = Reasoning(1_000)

    for _ in range(3):
        reasoning.add_details([{"type": "t", "index": 0, "text": "a", "tokens": list(range(100))}])
    assert reasoning.provider_fields

    reasoning.add_details([{"type": "t", "tokens": list(range(100, 300))}])
    assert reasoning.provider_fields == {}


def test_thinking_blocks() -> None:
    """Blocks are sent back as they came, up to the limit, in place of the field with their text."""
    blocks = [{"type": "thinking", "thinking": "hm" * 1_000, "signature": "x" * 50}] * 2
    reasoning = Reasoning(500)
    reasoning.add_blocks(blocks)
    assert reasoning.provider_fields == {"thinking_blocks": blocks}

    reasoning.add_blocks([{"type": "redacted_thinking", "data": "x" * 500}, *blocks])
    assert reasoning.provider_fields == {}


def test_details_are_sent_back_instead_of_a_field() -> None:
    """Details hold what a field holds, and more."""
    reasoning = Reasoning()
    reasoning.add_piece("so", "reasoning")
    reasoning.add_details([{"text": "so"}])

    assert reasoning.provider_fields == {"reasoning_details": [{"text": "so"}]}


def test_reasoning_without_end(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the limit nothing is kept, which is logged once, and nothing is sent back."""
    reasoning = Reasoning(10)

    with caplog.at_level(logging.INFO):
        for text in ("123456", "7890abc", "def"):
            reasoning.add_piece(text, "reasoning")

    assert reasoning.text == "1234567890"
    assert reasoning.provider_fields == {}
    assert [record.message for record in caplog.records] == [
        "A model produced more than 10 characters of reasoning. The rest is dropped."
    ]


@pytest.mark.parametrize("fields", [{"index": 0}, {}], ids=["one-entry", "many-entries"])
def test_details_without_end(fields: dict[str, Any]) -> None:
    """Details are limited by their text and by their number."""
    reasoning = Reasoning(1_000)

    for _ in range(300):
        reasoning.add_details([{"type": "t", "text": "word", **fields}])

    assert reasoning.provider_fields == {}
    assert len(str(vars(reasoning))) < 10_000
