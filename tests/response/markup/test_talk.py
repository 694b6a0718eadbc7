"""Text about marks and calls: it is emitted as it is."""

from __future__ import annotations

import pytest

from tests.response.markup.filtering import CALL, cut_anywhere, filtered


@pytest.mark.parametrize(
    "text",
    [
        "`<|python_tag|>` begins code.",
        "Write `<tool_call>` and `</tool_call>`.",
        f"Write `{CALL}`",
        f"Write `<tool_call>{CALL}</tool_call>` so.",
        f"```\n<tool_call>{CALL}</tool_call>\n```",
        f"~~~\n{CALL}\n~~~",
        "```\n[TOOL_CALLS][]\n```\nIt is so.",
        "````\n```\n<think>\n```\n````",
        "put it between <tool_call> and </tool_call> tags",
        "Use <tool_call>...</tool_call> for it.",
        "Use <tool_call>{...}</tool_call> for it.",
        'It ends with "</tool_call>".',
        "It ends with '</think>'",
        "„</think>“ ist es.",
        f'He wrote "<tool_call>{CALL}</tool_call>" to me.',
        'He wrote "<function=get_time></function>".',
        "Hi\n<tool_call> is the mark.",
        "Hi\n<think> opens it.\n</think> closes it.",
        "Hi\n<|im_end|>, it says",
        "A <tool_call> tag, and </tool_call>",
        "The tag is </tool_call>\nSo it is.",
        f"It opens with ` and {CALL}",
        f"<code>{CALL}</code>",
        "[TOOL_CALLS] is a token.",
        "<tool_call>, <tools> and so on",
        "Hi (<|im_end|>) there",
    ],
)
def test_talk_about_marks(text: str) -> None:
    """Marks in code, in quotation marks and in sentences are words."""
    for pieces in cut_anywhere(text):
        assert filtered(pieces) == (text, "", [])


@pytest.mark.parametrize(
    ("text", "emitted"),
    [
        pytest.param(
            f"A <tool_call> tag<|im_end|>\n<tool_call>{CALL}</tool_call>", "A <tool_call> tag", id="next-line"
        ),
        pytest.param(f"the kids' <tool_call>{CALL}</tool_call>", "the kids' ", id="apostrophe"),
        pytest.param(f'a "<tool_call>{CALL}</tool_call>', 'a "', id="quotation-that-does-not-close"),
        pytest.param(f"the ` key <tool_call>{CALL}</tool_call>\n`", "the ` key \n`", id="backtick-on-another-line"),
        pytest.param(f"a ` b <tool_call>{CALL}</tool_call>``c", "a ` b ``c", id="longer-run"),
        pytest.param(f"a `b` <tool_call>{CALL}</tool_call>`c`", "a `b` `c`", id="behind-a-code-span"),
        pytest.param(f"```\na\n```\n<tool_call>{CALL}</tool_call>", "```\na\n```\n", id="behind-a-fence"),
        pytest.param(f"a `<tool_call>{CALL}</tool_call>{'x' * 1_000}`", f"a `{'x' * 1_000}`", id="long-code-span"),
    ],
)
def test_call_beside_talk(text: str, emitted: str) -> None:
    """A call is found behind code and quotations, and in those that do not close on their line."""
    for pieces in ([text], list(text)):
        result, _, passages = filtered(pieces)
        assert (result, [passage for passage, _ in passages]) == (emitted, [f"<tool_call>{CALL}</tool_call>"])
