"""Headers and ends of turns in the text of an answer."""

from __future__ import annotations

import pytest

from adapters.response.markup.filter import MarkupFilter
from tests.property.strategies import TOOLS
from tests.response.markup.filtering import CALL, cut_anywhere, filtered


@pytest.mark.parametrize(
    ("text", "emitted"),
    [
        # The model's own turn
        pytest.param("<|start_header_id|>assistant<|end_header_id|>\n\nHi", "Hi", id="llama-3"),
        pytest.param("<|im_start|>assistant\nHi", "Hi", id="chatml"),
        pytest.param("<start_of_turn>model\nHi", "Hi", id="gemma"),
        pytest.param("<|assistant|>\nHi", "Hi", id="phi"),
        pytest.param("<|start|>assistant<|channel|>final<|message|>Hi", "Hi", id="gpt-oss"),
        pytest.param("Hi<|im_end|>\n<|im_start|>assistant\nthere", "Hi\n\nthere", id="two-turns-of-the-model"),
        pytest.param("Hi\n<|im_start|>assistant\nthere", "Hi\n\nthere", id="header-without-an-end-of-turn"),
        # The turn of another role
        pytest.param("Hi<|im_end|>\n<|im_start|>user\nAnd now?", "Hi", id="user"),
        pytest.param("Hi<|im_end|><|im_start|>tool\nfine<|im_end|>\nmore", "Hi", id="tool"),
        pytest.param("Hi<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nSo?", "Hi", id="llama-3-user"),
        pytest.param("Hi<end_of_turn>\n<start_of_turn>user\nSo?", "Hi", id="gemma-user"),
        pytest.param("Hi</s>[INST] So? [/INST] Yes", "Hi", id="mistral-user"),
        pytest.param("Hi</s><s>[INST] So? [/INST] Yes", "Hi", id="llama-2-user"),
        pytest.param("Hi <s>[INST]</s> there", "Hi <s>[INST]</s> there", id="tags-in-a-sentence"),
        pytest.param("Hi<end_of_turn>\n<eos>", "Hi", id="end-of-the-text"),
        pytest.param("Hi<|end|><|start|>user<|message|>So?", "Hi", id="gpt-oss-user"),
        pytest.param("Hi<|user|>\nSo?", "Hi", id="glm-user-without-an-end-of-turn"),
        pytest.param("Hi<|observation|>\nfine", "Hi", id="glm-tool"),
        pytest.param("Hi<|im_end|>\n<|im_end|>\n<|im_start|>user\nSo?", "Hi", id="end-of-turn-twice"),
        pytest.param(f"Hi<|im_end|><|im_start|>user\n<think>a</think>{CALL}", "Hi", id="reasoning-and-call"),
        pytest.param("Hi<|im_end|>\n<|im_start|>user", "Hi", id="header-at-the-end"),
        # No end of the turn, so that no words are dropped
        pytest.param("Hi\n<|im_start|>user\nSo?", "Hi\n\nSo?", id="user-without-an-end-of-turn"),
        pytest.param("Hi<|im_end|>\nthere", "Hi\nthere", id="end-of-turn-without-a-header"),
        pytest.param("Hi<|im_end|>\nNo<|im_start|>user\nSo?", "Hi\nNo\nSo?", id="text-behind-the-end-of-turn"),
        pytest.param("<|user|>\nSo?", "So?", id="user-at-the-start"),
        pytest.param("Hi [INST] there", "Hi [INST] there", id="word-in-brackets"),
        # No header
        pytest.param("Hi<|im_start|> there", "Hi there", id="mark-without-a-role"),
        pytest.param("Hi<|start_header_id|>", "Hi", id="mark-at-the-end"),
        # Talk
        pytest.param("It is <|im_start|>assistant and", "It is <|im_start|>assistant and", id="sentence"),
        pytest.param("Its <|user|> mark", "Its <|user|> mark", id="sentence-with-a-role"),
        pytest.param("`<|im_start|>user\n` no", "`\n` no", id="code-span-that-does-not-close"),
        pytest.param('"<|im_start|>user" it is', '"<|im_start|>user" it is', id="quotation"),
        pytest.param(
            "```\n<|im_end|>\n<|im_start|>user\nSo?\n```", "```\n<|im_end|>\n<|im_start|>user\nSo?\n```", id="code"
        ),
    ],
)
def test_turns(text: str, emitted: str) -> None:
    """Headers are removed; behind the end of a turn, the header of another role ends the answer."""
    for pieces in cut_anywhere(text):
        assert filtered(pieces) == (emitted, "", [])


def test_answer_that_has_ended() -> None:
    """The filter tells that the model's turn is over: then the rest of the answer does not matter."""
    filters = [MarkupFilter(TOOLS), MarkupFilter(TOOLS), MarkupFilter(TOOLS)]
    for markup_filter, text in zip(filters, ["Hi", "Hi<|im_end|>", "Hi<|im_end|><|im_start|>user\n"], strict=True):
        markup_filter.feed(text)

    assert [markup_filter.has_ended for markup_filter in filters] == [False, False, True]


def test_turn_end_that_closes_a_call() -> None:
    """A call that is not closed ends with its turn, and an invented call in a later turn is none."""
    text = f"<tool_call>{CALL}<|im_end|>\n<|im_start|>user\nMore<|im_end|>\n<|im_start|>assistant\n<tool_call>{CALL}"

    for pieces in cut_anywhere(text):
        assert filtered(pieces) == ("", "", [(f"<tool_call>{CALL}<|im_end|>", True)])
