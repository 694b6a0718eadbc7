"""``adapters.response.markup.bare_calls``: whether text without marks is a call, judged as early as possible."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.response.markup.bare_calls import FIRST_CHARS, BareCallDetector, Verdict
from tests.patience import cpu_s
from tests.property.strategies import MARKED_TEXTS, TOOLS, cuts, pieces_of
from tests.response.markup.dialects import BARE

_CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
_FENCED = f"```json\n{_CALL}\n```"


def _judged(pieces: list[str], *, in_sentence: bool = False, ends: bool = False) -> tuple[str, int, int]:
    """Judge a text that comes in pieces; return the verdict, its length, and how many characters were needed."""
    detector, text, verdict = BareCallDetector(TOOLS), "", Verdict("wait")
    for piece in pieces:
        text += piece
        verdict = detector.judge(text, in_sentence=in_sentence) if text else verdict
        if verdict.kind != "wait":
            break
    if verdict.kind == "wait" and ends:
        verdict = detector.judge(text, in_sentence=in_sentence, is_over=True)
    return verdict.kind, verdict.length, len(text)


@pytest.mark.parametrize(
    "text",
    [
        *[dialect.text for dialect in BARE if dialect.text[0] in "{["],
        *[f"```\n{dialect.text}\n```" for dialect in BARE],
        pytest.param('{"parameters": {"city": "Oslo"}, "name": "get_weather"}', id="arguments-first"),
        pytest.param('{"name": "functions.get_weather", "arguments": {}}', id="namespace"),
        pytest.param('{"name": "get_time", "arguments": null}', id="arguments-null"),
        pytest.param(f"[{_CALL}, {_CALL}]", id="list"),
        pytest.param(_FENCED, id="fence-with-language"),
        pytest.param(f"```JSON\n{_CALL}\n{_CALL}\n```", id="fence-with-two"),
        pytest.param(f"```{_CALL}```", id="fence-on-one-line"),
        pytest.param("```tool_code\nprint(get_weather('Oslo'))\n```", id="gemini-tool-code"),
        pytest.param('```tool_code\nprint(default_api.get_weather(city="Oslo"))\n```', id="gemini-namespace"),
        pytest.param("```python\nget_time()\nget_weather('Oslo')\n```", id="python-statements"),
    ],
)
def test_call(text: str) -> None:
    """Text that is nothing but calls of offered tools is a call, once it is clear that no sentence goes on."""
    for pieces in ([text], list(text)):
        assert _judged(pieces) == ("wait", 1, len(text))
        assert _judged(pieces, ends=True) == ("call", len(text), len(text))
        assert _judged([*pieces, "{"])[:2] == ("call", len(text))
        assert _judged([*pieces, "<"])[:2] == ("wait", 1)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        pytest.param("{curly} words", 2, id="word-in-braces"),
        pytest.param("{}", 2, id="empty-object"),
        pytest.param('{"city": "Oslo"}', 4, id="key-of-no-call"),
        pytest.param('{"answer": 42}', 4, id="key-that-begins-like-one"),
        pytest.param('{"na me": 1}', 6, id="key-with-a-blank"),
        pytest.param('{"name": "Bob", "arguments": {}}', 14, id="name-of-a-person"),
        pytest.param('{"name": "get_weather_2"}', 24, id="almost-the-name-of-a-tool"),
        pytest.param('{"name": "%s"}' % ("x" * 150), 139, id="name-longer-than-any-tool's"),
        pytest.param('{"get_weather": {"city": "Oslo"}}', 3, id="name-as-key"),
        pytest.param('{"id": 5, "city": "Oslo"}', 25, id="object-without-a-name"),
        pytest.param('{"name": "get_time"}', 20, id="name-alone"),
        pytest.param('{"type": "function", "function": {"name": "get_time"}}', 54, id="function-without-arguments"),
        pytest.param('{"tool": "get_time", "status": "ok"}', 36, id="name-and-status"),
        pytest.param('{"name": "get_time", "arguments": {}, "result": 1}', 50, id="call-and-result"),
        pytest.param('{"name": "get_time", "arguments": {}, "args": {}}', 49, id="arguments-twice"),
        pytest.param('{"name": "get_time", "tool": "play", "arguments": {}}', 53, id="two-names"),
        pytest.param('{"name": "get_time", "arguments": {"zone": 1}}', 46, id="argument-that-the-tool-lacks"),
        pytest.param('{"name": "get_time", "arguments": 5}', 36, id="arguments-that-are-a-number"),
        pytest.param('{"name": "get_time", "arguments": "now"}', 40, id="arguments-that-are-a-word"),
        pytest.param('{"name": "get_weather", "parameters": {"city": {"type": "string"}}}', 67, id="definition"),
        pytest.param('{"name": "get_weather", "parameters": {"city": "string"}}', 57, id="short-definition"),
        pytest.param('{"tool": ["get_time"], "arguments": {}}', 39, id="name-that-is-a-list"),
        pytest.param('{"tool_calls": {"name": "get_time", "arguments": {}}}', 53, id="list-that-is-an-object"),
        pytest.param('{"calls": [' * 9 + _CALL + "]}" * 9, 171, id="deeper-than-any-call"),
        pytest.param('{"calls": [1]}', 14, id="number-in-a-list"),
        pytest.param('{"function": 5}', 15, id="function-that-is-a-number"),
        pytest.param('{"tool_calls": 5}', 17, id="list-that-is-a-number"),
        pytest.param(f'[{_CALL}, {{"name": "open_door", "arguments": {{}}}}]', 96, id="list-with-another-tool"),
        pytest.param('{"name" ]', 9, id="closed-by-another-bracket"),
        pytest.param("[1, 2]", 2, id="numbers"),
        pytest.param("[ 1]", 3, id="number-behind-a-blank"),
        pytest.param("[sic] he said", 2, id="remark"),
        pytest.param("[get the door]", 5, id="remark-that-begins-like-a-tool"),
        pytest.param("[getter(1)]", 5, id="expression-of-no-tool"),
        pytest.param("[get_time_now(1)]", 10, id="expression-of-almost-a-tool"),
        pytest.param("[get_weather (city)]", 13, id="blank-before-the-parenthesis"),
        pytest.param("[get_weather(city)]", 19, id="variable"),
        pytest.param("[get_weather('Oslo', 1, 2)]", 27, id="too-many-values"),
        pytest.param("[get_weather('Oslo'), 1]", 24, id="call-and-number"),
        pytest.param("`code`", 2, id="code-in-a-line"),
        pytest.param("``code``", 3, id="two-backticks"),
        pytest.param("``` and so", 9, id="fence-in-a-line"),
        pytest.param("```\r\nget a\n```", 9, id="prose-that-begins-like-a-tool"),
        pytest.param("```yaml\na: 1\n```", 8, id="other-language"),
        pytest.param("```python\nimport os\n```", 17, id="code"),
        pytest.param("```python\nprint(1)\n```", 17, id="print"),
        pytest.param("```python\nx(1)\n```", 12, id="call-of-no-tool"),
        pytest.param('```json\n{"a": 1}\n```', 12, id="json-of-no-call"),
        pytest.param("```python\nget_weather(city)\n```", 31, id="expression-with-a-variable"),
        pytest.param("```python\nget_time()\nx = 1\n```", 30, id="call-in-a-program"),
        pytest.param(f"```json\n{_CALL}\n1\n```", len(_FENCED) + 2, id="call-and-number-in-a-fence"),
        pytest.param("```html\n<p>Hi</p>\n```", 8, id="html"),
        pytest.param(f"```xml\n<tool_call>{_CALL}</tool_call>\n```", 7, id="marks-in-a-fence"),
        pytest.param("```\n[TOOL_CALLS][]\n```", 6, id="mistral-mark-in-a-fence"),
    ],
)
def test_text(text: str, needed: int) -> None:
    """Text that can no longer be a call is text as soon as that is clear, and the same if it comes in one piece."""
    kind, length, _ = _judged([text])

    assert kind == "text"
    assert _judged(list(text)) == ("text", length, needed)


@pytest.mark.parametrize(
    "text",
    [
        *("{", '{"', '{"na', '{"name', '{"name"', '{"name": ', '{"name": "get_weather", ', "[", "[ ", "[get_w"),
        *("[get_time(", "`", "``", "```", "```js", "```json\n", "```json\r", "```python\npri", "```\nprint("),
        *("```python\nprint(get_", "```\ndefault_api.get_w"),
    ],
    ids=repr,
)
def test_beginning(text: str) -> None:
    """The beginning of a call waits for more."""
    assert _judged([text]) == ("wait", 1, len(text))
    assert _judged(list(text)) == ("wait", 1, len(text))


@pytest.mark.parametrize(
    ("behind", "in_sentence", "kind", "needed"),
    [
        pytest.param("  ", True, "wait", 2, id="blanks"),
        pytest.param("\n", True, "call", 1, id="end-of-the-line"),
        pytest.param(" \r\n", True, "call", 2, id="blank-and-end-of-the-line"),
        pytest.param("; {", True, "call", 3, id="another-object"),
        pytest.param(" to it.", True, "text", 2, id="words"),
        pytest.param(" To it.", True, "text", 2, id="another-sentence-on-the-line"),
        pytest.param(".", True, "text", 1, id="full-stop"),
        pytest.param("</tool_call>", True, "call", 12, id="mark"),
        pytest.param("</code>", True, "text", 3, id="tag"),
        pytest.param("</code>", False, "text", 3, id="tag-behind-a-line-start"),
        pytest.param("`", True, "text", 1, id="backtick"),
        pytest.param(" is it.", False, "text", 2, id="words-behind-a-line-start"),
        pytest.param(": so", False, "text", 1, id="colon-behind-a-line-start"),
        pytest.param(" One moment.", False, "call", 2, id="sentence-behind-a-line-start"),
        pytest.param("\nis it", False, "call", 1, id="next-line"),
    ],
)
def test_text_behind_a_call(behind: str, kind: str, needed: int, *, in_sentence: bool) -> None:
    """A call in a sentence, or one that a sentence begins with, is an example."""
    assert _judged(list(_CALL + behind), in_sentence=in_sentence)[::2] == (kind, len(_CALL) + needed)
    assert _judged([_CALL + behind], in_sentence=in_sentence)[0] == kind


@pytest.mark.parametrize(
    ("text", "in_sentence", "kind"),
    [
        pytest.param(f"{_FENCED}\n\nIt", False, "text", id="text-on-a-later-line"),
        pytest.param(f"{_FENCED}\n```", False, "call", id="another-fence"),
        pytest.param(f"{_FENCED}<|im_end|>", False, "call", id="mark"),
        pytest.param(f"{_FENCED}``` so", False, "text", id="longer-run-of-backticks"),
        pytest.param(f"{_FENCED}\n<b>", False, "text", id="tag"),
        pytest.param(f"{_FENCED}\n", False, "wait", id="line-break"),
        pytest.param(_FENCED, True, "wait", id="fence-behind-a-sentence"),
        pytest.param(f"```{_CALL}```", True, "text", id="code-span-in-a-sentence"),
    ],
)
def test_text_behind_a_fence(text: str, kind: str, *, in_sentence: bool) -> None:
    """A call in a fence that is followed by text is an example, also on a later line."""
    assert _judged([text], in_sentence=in_sentence)[0] == kind
    assert _judged(list(text), in_sentence=in_sentence)[0] == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param('{"name": "get_weather", "argum', "cut", id="name"),
        pytest.param('{"arguments": {"city": 1}, "tool": "functions.get_weather"', "cut", id="namespace"),
        pytest.param('{"name": "get_wea', "cut", id="half-a-name"),
        pytest.param('{"name": "', "text", id="no-name"),
        pytest.param('{"name": "Bob", "tool": "get_time"', "text", id="another-name"),
        pytest.param('{"id": "call get_weather("', "text", id="talk-in-a-string"),
        pytest.param('[get_weather(city="Os', "cut", id="expression"),
        pytest.param("[getter(", "text", id="another-expression"),
        pytest.param("```python\nprint(get_weather(", "cut", id="code"),
        pytest.param("```python\nprint(", "text", id="print"),
        pytest.param("```", "text", id="fence"),
        pytest.param(f"```json\n{_CALL}", "call", id="fence-that-is-not-closed"),
        pytest.param(f"```json\n{_CALL}\n", "call", id="fence-that-is-not-closed-on-its-line"),
    ],
)
def test_end_of_the_answer(text: str, kind: str) -> None:
    """Text that breaks off is a call that was cut if it names an offered tool."""
    assert _judged([text], ends=True)[0] == kind
    assert _judged(list(text), ends=True)[0] == kind


def test_no_tools() -> None:
    """Where no tools were offered, everything is text at once."""
    assert BareCallDetector({}).judge("{") == Verdict("text", 1)


def test_one_text_after_the_other() -> None:
    """A judgement leaves nothing behind that could mislead the next one."""
    detector = BareCallDetector(TOOLS)

    verdicts = [detector.judge(f"{text}\n").kind for text in ('{"id": "', '{"id": "}"}', _CALL, '{"id": 1}', _CALL)]

    assert verdicts == ["wait", "text", "call", "text", "call"]


def test_place_that_moves() -> None:
    """While it waits, the text before the place may be removed."""
    detector = BareCallDetector(TOOLS)

    assert detector.judge(f"Hi {_CALL[:30]}", 3).kind == "wait"
    assert detector.judge(_CALL, 0, is_over=True).length == len(_CALL)


def test_longer_than_any_call() -> None:
    """A document in JSON is not held back to its end, and neither are the objects in it."""
    begins, longest = '{"arguments": "', 20_000
    whole = begins + "x" * (longest - len(begins) - 2) + '"}'
    pieces = pieces_of(begins + "x" * longest, range(100, longest, 100))

    assert _judged([f'{begins}{"x" * longest}"}}'])[:2] == ("text", 1)
    assert _judged(pieces) == ("text", 1, longest + len(begins))
    assert _judged([whole])[:2] == ("text", longest)
    assert _judged([f"{whole[:-1]}x}}"])[:2] == ("text", 1)


def test_document() -> None:
    """Behind a document that was longer than any call, nothing without marks is a call any more."""
    detector = BareCallDetector(TOOLS)

    verdicts = [detector.judge(text, is_over=text == _CALL).kind for text in (_CALL, '{"id": ' * 4_000, _CALL)]

    assert verdicts == ["call", "text", "text"]


@pytest.mark.parametrize(("brackets", "kind"), [(1_000, "call"), (3_000, "text")], ids=["many", "very-many"])
def test_brackets_that_are_no_calls(brackets: int, kind: str) -> None:
    """Many brackets hide no call behind them; very many are a document, in which nothing without marks is one."""
    detector = BareCallDetector(TOOLS)

    assert {detector.judge("[a(").kind for _ in range(brackets)} == {"text"}
    assert detector.judge(_CALL, is_over=True).kind == kind


@given(st.data(), st.sampled_from(sorted(FIRST_CHARS)), MARKED_TEXTS, st.booleans())
def test_pieces(data: st.DataObject, first: str, text: str, in_sentence: bool) -> None:
    """The judgement does not depend on the pieces in which a text comes."""
    text = data.draw(st.sampled_from([first, "```json\n", '{"name": "', "[get_weather("])) + text
    kind, length, _ = _judged([text], in_sentence=in_sentence)

    assert _judged(pieces_of(text, data.draw(cuts(len(text)))), in_sentence=in_sentence)[:2] == (kind, length)
    assume(kind != "wait")
    assert 0 < length <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"arguments": {"a": "} ', id="open-string"),
        pytest.param('{"arguments": [1], ', id="open-object"),
        pytest.param("[get_weather(", id="open-expression"),
        pytest.param('```json\n{"arguments": {"a": "}` ', id="open-fence"),
        pytest.param("```python\nget_weather() # ", id="code"),
        pytest.param('{"name": "get_weather", "arguments": "{', id="open-brackets"),
    ],
)
def test_text_of_single_letters(text: str) -> None:
    """A long text that comes letter by letter is not read again from the start with each of them."""
    letters = text + '{"a": [1]} ' * 1_800

    assert cpu_s(lambda: _judged(list(letters))) < 20  # a hang, not a benchmark
