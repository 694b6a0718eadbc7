"""``adapters.response.markup.filter``: what is emitted, when it is, and what is kept apart from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.response.markup.filter import MarkupFilter, read_generation
from adapters.response.markup.markers import END_OF_REASONING, MARKS
from tests.patience import cpu_s
from tests.property.strategies import (
    CALLS_AS_TEXT,
    MARKED_TEXTS,
    PLAIN_TEXTS,
    SENTENCES_ABOUT_REASONING,
    TOOLS,
    cuts,
    pieces_of,
)
from tests.response.markup.filtering import CALL, cut_anywhere, filtered

_GRIN = "\N{GRINNING FACE}"
_FIRST_HALF, _SECOND_HALF = "\ud83d", "\ude00"  # of that face, as UTF-16 cuts it
_HALF = "\N{REPLACEMENT CHARACTER}"


_OF_REASONING = [opener for opener, mark in MARKS.items() if mark.role == "reasoning"]
_OF_CALLS = [opener for opener, mark in MARKS.items() if mark.role == "call" and mark.closers]
_REMOVED = [opener for opener, mark in MARKS.items() if mark.role in ("noise", "turn_end")]


@pytest.mark.parametrize("opener", _OF_REASONING)
def test_reasoning_in_every_spelling(opener: str) -> None:
    """Reasoning between any two marks is kept apart, wherever the text is cut and in whatever case it is written."""
    for closer in MARKS[opener].closers:
        for pieces in cut_anywhere(f"Hi\n{opener}se < cret{closer.upper()}\n\nthere"):
            assert filtered(pieces) == ("Hi\n\n\nthere", "se < cret", [])


@pytest.mark.parametrize("opener", _OF_REASONING)
def test_reasoning_in_a_sentence_of_a_model_that_thinks(opener: str) -> None:
    """In a sentence a mark opens reasoning if the model has thought before and goes on directly behind it."""
    closer = MARKS[opener].closers[0]

    for pieces in cut_anywhere(f"{opener}a{closer}Hi {opener}b{closer}there"):
        assert filtered(pieces) == ("Hi there", "ab", [])


@pytest.mark.parametrize("opener", _OF_CALLS)
def test_call_in_every_spelling(opener: str) -> None:
    """A call between any two marks is kept apart, wherever the text is cut."""
    body = "get_weather>{}" if opener[-1] in "=(" else CALL
    for closer in MARKS[opener].closers:
        for pieces in cut_anywhere(f"Hi {opener}{body}{closer} there"):
            assert filtered(pieces) == ("Hi  there", "", [(f"{opener}{body}{closer}", True)])


@pytest.mark.parametrize("mark", _REMOVED)
def test_removed_mark_in_every_spelling(mark: str) -> None:
    """Special tokens are taken out, wherever the text is cut."""
    for pieces in cut_anywhere(f"Hi{mark.upper()} there"):
        assert filtered(pieces) == ("Hi there", "", [])


@pytest.mark.parametrize(
    ("text", "emitted", "reasoning", "passages"),
    [
        pytest.param("", "", "", [], id="nothing"),
        pytest.param("\n\n Hi\n", "Hi\n", "", [], id="white-space-in-front"),
        pytest.param("<think>\n</think>\n\nHi", "Hi", "\n", [], id="empty-reasoning"),
        pytest.param("<think>secret", "", "secret", [], id="unclosed-reasoning"),
        pytest.param("Hi\n<think>secret</thi", "Hi\n", "secret</thi", [], id="half-closed-reasoning"),
        pytest.param("<think>a</think>b<think>c</think>d", "bd", "ac", [], id="twice"),
        pytest.param("<think><tool_call>x</tool_call></think>Hi", "Hi", "<tool_call>x</tool_call>", [], id="inside"),
        pytest.param("Hi<|im_end|>\n", "Hi", "", [], id="white-space-behind-a-mark-at-the-end"),
        pytest.param("Hi<|im_end|>\n<|im_end|>there", "Hi\nthere", "", [], id="white-space-between-marks"),
        pytest.param(
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>",
            *("Hi", "hm", []),
            id="gpt-oss",
        ),
        pytest.param(
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.get_time"
            "<|message|>{}<|call|>",
            "",
            "hm",
            [("<|channel|>commentary to=functions.get_time<|message|>{}<|call|>", True)],
            id="gpt-oss-call",
        ),
        # Calls without an end, and between others
        pytest.param(f"<tool_call>{CALL}", "", "", [(f"<tool_call>{CALL}", False)], id="unclosed-call"),
        pytest.param(f"[TOOL_CALLS][{CALL}]", "", "", [(f"[TOOL_CALLS][{CALL}]", True)], id="mistral"),
        pytest.param(f"{CALL}; {CALL}\n", "", "", [(CALL, True), (CALL, True)], id="llama-two"),
        pytest.param(f"{CALL}; Done", "; Done", "", [(CALL, True)], id="sentence-behind-a-call"),
        pytest.param(f"{CALL}; done", f"{CALL}; done", "", [], id="words-behind-a-call"),
        pytest.param(f"Wait. {CALL}", "Wait. ", "", [(CALL, True)], id="call-at-the-end-of-a-line"),
        pytest.param(f"Send {CALL} there", f"Send {CALL} there", "", [], id="call-in-a-sentence"),
        pytest.param(f"Look:\n{CALL} Wait", "Look:\n Wait", "", [(CALL, True)], id="call-on-a-line"),
        pytest.param(f"Look:\n{CALL} is it", f"Look:\n{CALL} is it", "", [], id="line-that-begins-with-a-call"),
        pytest.param("Look:\n  <tool_call>x y", "Look:\n  ", "", [("<tool_call>x y", False)], id="on-a-line"),
        pytest.param("<tool_call>x y", "", "", [("<tool_call>x y", False)], id="garbled-call-at-the-start"),
        pytest.param("<tool_call>", "", "", [("<tool_call>", False)], id="nothing-but-a-mark"),
        pytest.param("Go <tool_call>get_time", "Go ", "", [("<tool_call>get_time", False)], id="name-alone"),
        pytest.param(
            "Go <|python_tag|>import x\ny",
            "Go ",
            "",
            [("<|python_tag|>import x\ny", False)],
            id="special-token-and-code",
        ),
        pytest.param("Go <|python_tag|>hi", "Go <|python_tag|>hi", "", [], id="special-token-and-word"),
        # Cut calls without marks
        pytest.param('{"name": "get_weather", "ar', "", "", [('{"name": "get_weather", "ar', False)], id="cut"),
        pytest.param('[get_weather(city="O', "", "", [('[get_weather(city="O', False)], id="cut-expression"),
        pytest.param(f"```json\n{CALL}", "", "", [(f"```json\n{CALL}", True)], id="unclosed-fence"),
        # Text that only looks like something
        pytest.param("a < b and b > c <", "a < b and b > c <", "", [], id="less-than"),
        pytest.param("a <third way", "a <third way", "", [], id="third-way"),
        pytest.param("I <3 you", "I <3 you", "", [], id="heart"),
        pytest.param("<thi", "<thi", "", [], id="half-a-mark"),
        pytest.param("Say <tool_call>.", "Say <tool_call>.", "", [], id="mark-at-the-end-of-a-sentence"),
        pytest.param("Say <tool_call> to Qwen", "Say <tool_call> to Qwen", "", [], id="talk-about-a-mark"),
        pytest.param(
            "Say `<tool_call>x` and `[TOOL_CALLS]`", "Say `<tool_call>x` and `[TOOL_CALLS]`", "", [], id="marks-as-code"
        ),
        pytest.param("Use <function=name> here", "Use <function=name> here", "", [], id="syntax-explained"),
        pytest.param('{"name": "Bob", "age": 3}', '{"name": "Bob", "age": 3}', "", [], id="json-answer"),
        pytest.param('{"name": ', '{"name": ', "", [], id="beginning-of-json"),
        pytest.param("[sic] [", "[sic] [", "", [], id="brackets"),
        pytest.param("```python\nprint(1)\n```", "```python\nprint(1)\n```", "", [], id="code"),
        pytest.param("```\n<think>a</think>b\n```", "```\n<think>a</think>b\n```", "", [], id="reasoning-in-a-fence"),
        pytest.param("<p>Hi</p>", "<p>Hi</p>", "", [], id="html"),
        pytest.param(
            "Hi \N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "Hi İ", "", [], id="letter-that-grows-in-lower-case"
        ),
        pytest.param('{"id": "\n<think>a</think>b"}', '{"id": "\nb"}', "a", [], id="reasoning-in-json"),
        pytest.param('{"id": "\n<think>a', '{"id": "\n', "a", [], id="reasoning-in-unclosed-json"),
        # Talk about marks of reasoning
        *(
            pytest.param(text, text, "", [], id=name)
            for name, text in (
                ("tag-as-code", "The `<think>` tag marks thought, `</think>` ends it."),
                ("tag-in-words", "The <think> tag marks thought, and </think> ends it."),
                ("tags-in-quotes", 'Write "<think>" and "</think>".'),
                ("tags-around-a-word", "Write <think>this</think> for thoughts"),
                ("tag-at-the-end", "It opens with <think>"),
                ("end-at-the-end", "It closes with </think>"),
                ("end-at-the-end-of-a-line", "It closes with </think>\nThen it goes on."),
                (
                    "end-at-the-end-of-a-line-behind-another",
                    "`<think>` opens,\nthen (thoughts)</think>\nThen it goes on.",
                ),
                ("end-at-the-start-of-a-line", "Two tags:\n</think> is the second."),
                ("end-in-parentheses", "The second (</think>) ends it."),
                ("tags-in-a-list", "- <think> opens\n- </think> closes\n"),
                ("special-token-as-code", "The `<|im_end|>` token ends a turn, `</s>` too."),
                ("harmony-as-code", "It opens with `<|channel|>analysis<|message|>` then."),
                ("brackets", "Mistral writes [THINK] and [/THINK] instead."),
                ("json-with-tags", '{"id": "<think>a</think>b"}'),
            )
        ),
        pytest.param(
            "<think>tags?</think>The `<think>` tag, <think> in short, or `<think>x</think>` as code, <think>",
            *("The `<think>` tag, <think> in short, or `<think>x</think>` as code, <think>", "tags?", []),
            id="model-that-thinks-about-tags",
        ),
        pytest.param(
            f"It's a `<tool_call>{CALL}</tool_call>\n<think>a</think>b",
            "It's a `\nb",
            "a",
            [(f"<tool_call>{CALL}</tool_call>", True)],
            id="call-behind-a-single-backtick",
        ),
        # Ends of reasoning that never began
        pytest.param("</think>\n\nHi", "Hi", "", [], id="end-alone"),
        pytest.param("<|im_end|>\n</think>Hi", "Hi", "", [], id="end-behind-a-mark"),
        # Characters in halves
        pytest.param(f"a{_FIRST_HALF}{_SECOND_HALF}b", f"a{_GRIN}b", "", [], id="pair-of-halves"),
        pytest.param(f"a{_FIRST_HALF}b", f"a{_HALF}b", "", [], id="first-half"),
        pytest.param(f"a{_SECOND_HALF}b", f"a{_HALF}b", "", [], id="second-half"),
        pytest.param(f"a{_FIRST_HALF}", f"a{_HALF}", "", [], id="half-at-the-end"),
        pytest.param(f"<think>a{_FIRST_HALF}", "", f"a{_HALF}", [], id="half-at-the-end-of-reasoning"),
        pytest.param(f"{_FIRST_HALF}{_FIRST_HALF}{_SECOND_HALF}", f"{_HALF}{_GRIN}", "", [], id="three-halves"),
    ],
)
def test_text(text: str, emitted: str, reasoning: str, passages: list[tuple[str, bool]]) -> None:
    """Text, reasoning and calls are separated, wherever the text is cut."""
    for pieces in cut_anywhere(text):
        assert filtered(pieces) == (emitted, reasoning, passages)


@pytest.mark.parametrize("text", CALLS_AS_TEXT)
def test_call_in_every_dialect(text: str) -> None:
    """A call is never emitted, wherever the text is cut; without marks it is one only if its tool was offered."""
    for pieces in cut_anywhere(f"{text}\n"):
        emitted, reasoning, passages = filtered(pieces)
        assert (emitted, reasoning, "".join(text for text, _ in passages).strip()) == ("", "", text)
    for pieces in cut_anywhere(text):
        emitted, _, passages = filtered(pieces, {})
        assert emitted == ("" if passages else text)
        assert bool(passages) is text.lower().startswith(tuple(MARKS))


@pytest.mark.parametrize(
    ("pieces", "emitted"),
    [
        pytest.param(["Hi", " there", "."], ["Hi", " there", ".", ""], id="plain"),
        pytest.param([" ", "\n", "Hi"], ["", "", "Hi", ""], id="white-space-in-front"),
        pytest.param(["a <", " b"], ["a ", "< b", ""], id="less-than"),
        pytest.param(["a <t", "h", "ird way"], ["a ", "", "<third way", ""], id="third-way"),
        pytest.param(["a <", "3"], ["a ", "<3", ""], id="heart"),
        pytest.param(["a <"], ["a ", "<"], id="less-than-at-the-end"),
        pytest.param(["Hi<", "|", "x"], ["Hi", "", "<|x", ""], id="half-a-special-token"),
        pytest.param(["Hi\n<think>x", "y</think>", " z"], ["Hi\n", "", " z", ""], id="reasoning"),
        pytest.param(["A <think>", " tag"], ["A <think>", " tag", ""], id="talk-about-reasoning"),
        pytest.param(["a</think>", " b"], ["", "a</think> b", ""], id="talk-about-an-end"),
        pytest.param(["a </think> ", " ", "b"], ["", "", "a </think>  b", ""], id="talk-about-an-end-and-blanks"),
        pytest.param(["Hi<|im_end|> ", "z"], ["Hi", " z", ""], id="white-space-behind-a-mark"),
        pytest.param(["The <|im_end|> ", "z"], ["The ", "<|im_end|> z", ""], id="special-token-in-a-sentence"),
        pytest.param(["a `", "<think>", " b", "` c"], ["a ", "`", "", "<think> b` c", ""], id="code-span"),
        pytest.param(["```\n", "<think>", "\n```\n"], ["", "```\n<think>", "\n```\n", ""], id="fence"),
        pytest.param(["Say <tool_call>", " to", " Q"], ["Say ", "", "<tool_call> to Q", ""], id="talk-about-a-mark"),
        pytest.param(["{", "cur", "ly}"], ["", "{cur", "ly}", ""], id="braces"),
        pytest.param(['{"', "answer", '": 42}'], ["", '{"answer', '": 42}', ""], id="json-answer"),
        pytest.param(['{"name": "B', 'ob"', "}"], ["", '{"name": "Bob"', "}", ""], id="json-answer-about-bob"),
        pytest.param(["[", "1", "]"], ["", "[1", "]", ""], id="footnote"),
        pytest.param(["``", "`py", "thon\n", "x = 1"], ["", "", "", "```python\nx = 1", ""], id="code"),
        pytest.param(["Look: ", CALL, " there"], ["Look: ", "", f"{CALL} there", ""], id="example-in-a-sentence"),
        pytest.param([f"{CALL}\n", "Hi"], ["", "Hi", ""], id="text-behind-a-call"),
        pytest.param(["a", _FIRST_HALF, _SECOND_HALF, "b"], ["a", "", _GRIN, "b", ""], id="halves"),
        pytest.param(["a", _FIRST_HALF, "b"], ["a", "", f"{_HALF}b", ""], id="half"),
    ],
)
def test_no_later_than_needed(pieces: list[str], emitted: list[str]) -> None:
    """Text is returned with the piece that makes it clear that it is text; the rest at the end."""
    markup_filter = MarkupFilter(TOOLS)

    assert [*map(markup_filter.feed, pieces), markup_filter.finish()] == emitted


def test_json_is_not_held_back_without_tools() -> None:
    """Where no tools were offered, brackets are ordinary text at once."""
    markup_filter = MarkupFilter({})

    assert markup_filter.feed('{"name": ') == '{"name": '


@pytest.mark.parametrize("closer", END_OF_REASONING)
def test_reasoning_that_never_began(closer: str) -> None:
    """Text that comes together with an end of reasoning was reasoning; text that was returned before is not."""
    together, in_pieces = MarkupFilter(TOOLS), MarkupFilter(TOOLS)

    assert together.feed(f"secret{closer}\n\nHi") + together.finish() == "Hi"
    emitted = [in_pieces.feed(piece) for piece in ("secret ", f"more{closer}", "\r", "\nHi")]
    assert (emitted, in_pieces.finish()) == (["secret ", "", "", "\r\nHi"], "")
    assert ("".join(together.reasoning), "".join(in_pieces.reasoning)) == ("secret", "more")
    assert together.began_with_reasoning
    assert in_pieces.began_with_reasoning


@pytest.mark.parametrize(
    ("text", "emitted", "reasoning", "began"),
    [
        pytest.param("secret</think>\nHi", "Hi", "secret", True, id="as-expected"),
        pytest.param("a <b> {</think>Hi", "Hi", "a <b> {", True, id="what-looks-like-marks-inside"),
        pytest.param("secret</thinking>Hi", "Hi", "secret", True, id="another-spelling"),
        pytest.param("Hi there", "Hi there", "", False, id="none-after-all"),
        pytest.param(f"<tool_call>{CALL}</tool_call>Hi", "Hi", "", False, id="none-but-a-call"),
        pytest.param("\n<think>secret</think>Hi", "Hi", "secret", False, id="with-an-opening-mark"),
        pytest.param("", "", "", False, id="nothing"),
    ],
)
def test_server_that_begins_with_reasoning(text: str, emitted: str, reasoning: str, *, began: bool) -> None:
    """Text is held back until unmarked reasoning ends, wherever the text is cut."""
    for pieces in cut_anywhere(text):
        markup_filter = MarkupFilter(TOOLS, reasoning_first=True)
        whole_text = "".join([markup_filter.feed(piece) for piece in pieces]) + markup_filter.finish()
        assert (whole_text, "".join(markup_filter.reasoning), markup_filter.began_with_reasoning) == (
            emitted,
            reasoning,
            began,
        )


def test_server_that_keeps_reasoning_apart() -> None:
    """As soon as reasoning comes in a field of its own, text is no longer held back."""
    markup_filter = MarkupFilter(TOOLS, reasoning_first=True)
    before = markup_filter.feed("Hi")

    markup_filter.no_reasoning_first()

    assert (before, markup_filter.feed(" there"), markup_filter.finish()) == ("", "Hi there", "")


def test_reasoning_that_is_open_goes_on() -> None:
    """That reasoning comes in a field of its own does not end reasoning with a mark."""
    markup_filter = MarkupFilter(TOOLS)
    markup_filter.feed("<think>secret")

    markup_filter.no_reasoning_first()

    assert (markup_filter.feed(" more</think>Hi"), "".join(markup_filter.reasoning)) == ("Hi", "secret more")


@pytest.mark.parametrize(
    ("written", "calls", "text"),
    [
        pytest.param(
            '<function=get_weather={"city": "Oslo"}</function>', [("get_weather", {"city": "Oslo"})], "", id="tag"
        ),
        pytest.param('{"name": "get_time", "arguments": {}}', [("get_time", {})], "", id="json"),
        pytest.param("maybe", [], "maybe", id="text"),
        pytest.param('{"name": "open_file", "arguments": {}}', [], "", id="unknown-tool"),
        pytest.param("<tool_call>nonsense", [], "", id="garbled-markup"),
        pytest.param("", [], "", id="nothing"),
    ],
)
def test_failed_generation(written: str, calls: list[tuple[str, dict[str, Any]]], text: str) -> None:
    """A failed generation is a call of an offered tool, or plain text, or nothing of use."""
    found, emitted = read_generation(written, TOOLS)

    assert [(call.name, call.arguments) for call in found] == calls
    assert emitted == text


@pytest.mark.parametrize("before", [4_095, 4_096, 4_097, 8_192, 50_000])
@pytest.mark.parametrize("word", ["a", "ö", _GRIN], ids=["ascii", "umlaut", "astral"])
def test_mark_behind_long_text(before: int, word: str) -> None:
    """Long plain text hides no mark and no call behind it, wherever it ends."""
    plain = word * before

    assert filtered([f"{plain}\n<think>so</think>{plain}"]) == (f"{plain}\n{plain}", "so", [])
    assert filtered([f"{plain}\n{CALL}"]) == (f"{plain}\n", "", [(CALL, True)])


def test_call_behind_very_many_brackets() -> None:
    """Behind thousands of brackets an answer is a document: marks still mean something, bare brackets do not."""
    brackets = "[a(" * 3_000

    emitted, reasoning, passages = filtered([f"{brackets}\n<think>so</think>{CALL}\n<tool_call>{CALL}</tool_call>"])

    assert (emitted, reasoning) == (f"{brackets}\n{CALL}\n", "so")
    assert [text for text, _ in passages] == [f"<tool_call>{CALL}</tool_call>"]


@given(st.data(), PLAIN_TEXTS)
def test_text_without_marks(data: st.DataObject, text: str) -> None:
    """Text without marks is returned at once as it is, but for white space in front."""
    markup_filter, come = MarkupFilter(TOOLS), ""

    for piece in pieces_of(text, data.draw(cuts(len(text)))):
        come += piece
        markup_filter_said = markup_filter.feed(piece)
        assert come.lstrip().endswith(markup_filter_said)
        assert not piece.strip() or markup_filter_said

    assert markup_filter.finish() == ""
    assert filtered(pieces_of(text, data.draw(cuts(len(text))))) == (text.lstrip(), "", [])


@given(st.data(), SENTENCES_ABOUT_REASONING)
def test_sentences_about_reasoning(data: st.DataObject, text: str) -> None:
    """Text without a mark at the start of the answer or of a line is never lost, whatever marks it is about."""
    assert filtered(pieces_of(text, data.draw(cuts(len(text))))) == (text, "", [])


@given(st.data(), MARKED_TEXTS, st.sampled_from([TOOLS, {}]), st.booleans())
def test_pieces(data: st.DataObject, text: str, tools: dict[str, dict[str, Any]], reasoning_first: bool) -> None:
    """The pieces in which a text comes change nothing, unless they end reasoning that never began."""
    ends = sum(text.lower().count(closer) for closer in END_OF_REASONING)
    stray = MarkupFilter(tools)
    stray.feed(text)
    stray.finish()  # a mark at the very end is only then known to be one
    assume(ends <= 1 if reasoning_first else not stray.began_with_reasoning)

    in_pieces = filtered(pieces_of(text, data.draw(cuts(len(text)))), tools, reasoning_first=reasoning_first)

    assert in_pieces == filtered([text], tools, reasoning_first=reasoning_first)


@pytest.mark.parametrize("ends", [[], [8, 13, 31]], ids=["in one piece", "in pieces"])
def test_text_before_marked_reasoning_stays_text(ends: list[int]) -> None:
    """An end of reasoning that never began makes no reasoning of the text before other reasoning."""
    text = "</think>Hello<think>world. </think></think>"

    assert filtered(pieces_of(text, ends), TOOLS, reasoning_first=False) == ("Hello", "world. ", [])


@given(MARKED_TEXTS, st.sampled_from([TOOLS, {}]), st.booleans())
def test_nothing_is_made_up(text: str, tools: dict[str, dict[str, Any]], reasoning_first: bool) -> None:
    """Text, reasoning and passages are what came, in its order, and each character only once."""
    emitted, reasoning, passages = filtered([text], tools, reasoning_first=reasoning_first)
    leaked = "".join(text for text, _ in passages)

    assert all(_is_subsequence(part, text) for part in (emitted, reasoning, leaked))
    assert len(emitted) + len(reasoning) + len(leaked) <= len(text)


def _is_subsequence(part: str, whole: str) -> bool:
    characters = iter(whole)
    return all(character in characters for character in part)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("word " * 2_000, id="words"),
        pytest.param("<think>" + "word " * 2_000, id="reasoning"),
        pytest.param("<tool_call>{" + "word " * 2_000, id="call"),
        pytest.param("<tool_call>" + "word" * 2_000, id="call-with-a-long-name"),
        pytest.param("[TOOL_CALLS][" + "word " * 2_000, id="call-without-end"),
        pytest.param('{"arguments": {"x": "} ' + "word " * 800, id="json"),
        pytest.param("<" * 2_000, id="less-than"),
        pytest.param("<t" * 1_000, id="beginnings-of-marks"),
        pytest.param("[" * 2_000, id="brackets"),
        pytest.param("{" * 2_000, id="braces"),
        pytest.param('{"name": ' * 300, id="open-objects"),
        pytest.param("`" * 2_000, id="backticks"),
        pytest.param("```json\n" * 1_000, id="fences"),
        pytest.param(" " * 2_000, id="blanks"),
        pytest.param("</think>" * 1_000, id="ends-of-reasoning"),
        pytest.param(_FIRST_HALF * 1_000, id="halves"),
    ],
)
@pytest.mark.parametrize("reasoning_first", [False, True], ids=["", "reasoning-first"])
def test_long_text(text: str, *, reasoning_first: bool) -> None:
    """A long text costs its length, whether it comes in one piece or letter by letter."""

    def filter_text() -> None:
        filtered([text], reasoning_first=reasoning_first)
        filtered(text, reasoning_first=reasoning_first)

    assert cpu_s(filter_text) < 20  # a hang, not a benchmark


@pytest.mark.parametrize("before", ["word " * 2_000, "größer " * 2_000], ids=["ascii", "other"])
def test_behind_a_long_text(before: str) -> None:
    """A mark, or half a character, is found behind a long text that comes in the same piece."""
    for opener in _OF_REASONING:
        assert filtered([f"{before}\n{opener}secret{MARKS[opener].closers[0]}"]) == (f"{before}\n", "secret", [])
    assert filtered([f"{before}{_FIRST_HALF}", f"{_SECOND_HALF}."])[0] == f"{before}{_GRIN}."
    assert filtered([before])[0] == before
