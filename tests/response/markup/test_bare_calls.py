"""``adapters.response.markup.bare_calls``: whether text without marks is a call, judged as early as that can be known."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.response.markup.bare_calls import FIRST_CHARS, BareCallDetector, Verdict
from tests.property.strategies import MARKED_TEXTS, TOOLS, cuts, pieces_of

_CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
_FENCED = f"```json\n{_CALL}\n```"


def _judged(pieces: list[str], *, in_sentence: bool = False) -> tuple[Verdict, int]:
    """Judge a text that comes in pieces; return the judgement and how many characters were needed for it."""
    guesser, text, guess = BareCallDetector(TOOLS), "", Verdict("wait")
    for piece in pieces:
        text += piece
        guess = guesser.judge(text, in_sentence=in_sentence) if text else guess
        if guess.says != "wait":
            break
    return guess, len(text)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        pytest.param(_CALL, len(_CALL), id="object"),
        pytest.param(f"{_CALL} and more", len(_CALL), id="object-and-more"),
        pytest.param(f"[{_CALL}]", len(_CALL) + 2, id="list"),
        pytest.param('{"parameters": {"city": "Oslo"}, "name": "get_weather"}', 55, id="arguments-first"),
        pytest.param("{'name': 'get_weather', 'arguments': {}}", 40, id="python-dict"),
        pytest.param('{"name": "functions.get_weather"}', 33, id="namespace"),
        pytest.param('{"type": "function", "function": {"name": "get_time"}}', 54, id="openai"),
        pytest.param('{"get_weather": {"city": "Oslo"}}', 33, id="name-as-key"),
        pytest.param('[get_weather(city="a)]"), get_time()]', 37, id="pythonic-list"),
        pytest.param(_FENCED, len(_FENCED), id="fenced"),
        pytest.param(f"```{_CALL}```", len(_CALL) + 6, id="fenced-on-one-line"),
        pytest.param("```tool_code\nprint(get_weather('Oslo'))\n```", 43, id="gemini-tool-code"),
        pytest.param("```python\nget_time()\n```", 24, id="python-code"),
        pytest.param("```xml\n<tool_call>" + _CALL + "</tool_call>\n```", len(_CALL) + 34, id="fenced-marks"),
    ],
)
def test_call(text: str, length: int) -> None:
    """A complete call of an offered tool is one, as soon as its last character has come."""
    assert _judged([text]) == (Verdict("call", length), len(text))
    assert _judged(list(text)) == (Verdict("call", length), length)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        pytest.param("{curly} words", 2, id="word-in-braces"),
        pytest.param("{}", 2, id="empty-object"),
        pytest.param('{"city": "Oslo"}', 4, id="key-of-no-call"),
        pytest.param('{"answer": 42}', 4, id="key-that-begins-like-one"),
        pytest.param('{"na me": 1}', 6, id="key-with-a-blank"),
        pytest.param('{"name": "Bob", "arguments": {}}', 14, id="somebody's-name"),
        pytest.param('{"name": "get_weather_2"}', 24, id="almost-the-name-of-a-tool"),
        pytest.param('{"name": "%s"}' % ("x" * 150), 139, id="name-as-long-as-no-tool's"),
        pytest.param('{"id": 5, "city": "Oslo"}', 25, id="object-without-a-name"),
        pytest.param('{"name" ]', 9, id="closed-by-another-bracket"),
        pytest.param("[1, 2]", 2, id="numbers"),
        pytest.param("[ 1]", 3, id="number-behind-a-blank"),
        pytest.param("[sic] he said", 2, id="remark"),
        pytest.param("[get the door]", 5, id="remark-that-begins-like-a-tool"),
        pytest.param("[getter(1)]", 5, id="expression-of-no-tool"),
        pytest.param("[get_time_now(1)]", 10, id="expression-of-almost-a-tool"),
        pytest.param("[get_weather (city)]", 13, id="blank-before-the-parenthesis"),
        pytest.param("[get_weather(city)]", 19, id="variable"),
        pytest.param("`code`", 2, id="code-in-a-line"),
        pytest.param("``code``", 3, id="two-backticks"),
        pytest.param("``` and so", 9, id="fence-in-a-line"),
        pytest.param("```\r\nget a\n```", 9, id="prose-that-begins-like-a-tool"),
        pytest.param("```yaml\na: 1\n```", 8, id="other-language"),
        pytest.param("```python\nimport os\n```", 11, id="code"),
        pytest.param("```python\nprint(1)\n```", 17, id="print"),
        pytest.param('```json\n{"a": 1}\n```', 12, id="json-of-no-call"),
        pytest.param("```python\nget_weather(city)\n```", 31, id="expression-with-a-variable"),
        pytest.param("```html\n<p>Hi</p>\n```", 8, id="html"),
        pytest.param("```xml\n<p>Hi</p>\n```", 9, id="xml"),
        pytest.param("```xml\n<think>Hi</think>\n```", 14, id="mark-of-reasoning"),
    ],
)
def test_text(text: str, needed: int) -> None:
    """What can no longer be a call is text as soon as that is clear, and the same if it comes in one piece."""
    whole, _ = _judged([text])

    assert whole.says == "text"
    assert _judged(list(text)) == (whole, needed)


@pytest.mark.parametrize(
    "text",
    [
        *("{", '{"', '{"na', '{"name', '{"name"', '{"name": ', '{"name": "get_weather", ', "[", "[ ", "[get_w"),
        *("[get_time(", "`", "``", "```", "```js", "```json\n", "```json\r", "```python\npri"),
        *("```python\nprint(get_", "```xml\n<tool_"),
    ],
    ids=repr,
)
def test_beginning(text: str) -> None:
    """What may still become a call waits for more."""
    assert _judged([text]) == (Verdict("wait"), len(text))
    assert _judged(list(text)) == (Verdict("wait"), len(text))


@pytest.mark.parametrize(
    ("behind", "verdict", "needed"),
    [
        pytest.param("", "wait", 0, id="nothing-yet"),
        pytest.param("  ", "wait", 2, id="blanks"),
        pytest.param("\n", "call", 1, id="end-of-the-line"),
        pytest.param(" \r\n", "call", 2, id="blank-and-end-of-the-line"),
        pytest.param(" {", "call", 2, id="another-object"),
        pytest.param(" to it.", "text", 2, id="words"),
        pytest.param(".", "text", 1, id="full-stop"),
    ],
)
def test_call_in_a_sentence(behind: str, verdict: str, needed: int) -> None:
    """In the middle of a line a call is one only if the line ends with it: else it is an example."""
    guess, at = _judged(list(_CALL + behind), in_sentence=True)

    assert (guess.says, at) == (verdict, len(_CALL) + needed)
    assert _judged([_CALL + behind], in_sentence=True)[0] == guess


def test_no_tools() -> None:
    """Where no tools were offered, everything is text at once."""
    assert BareCallDetector({}).judge("{") == Verdict("text", 1)


def test_one_text_after_the_other() -> None:
    """A judgement leaves nothing behind that could mislead the next one."""
    guesser = BareCallDetector(TOOLS)

    verdicts = [guesser.judge(text).says for text in ('{"id": "', '{"id": "}"}', _CALL, '{"id": 1}', _CALL)]

    assert verdicts == ["wait", "text", "call", "text", "call"]


def test_place_that_moves() -> None:
    """While it waits, what stands before the text may be taken away."""
    guesser = BareCallDetector(TOOLS)

    assert guesser.judge(f"Hi {_CALL[:30]}", 3) == Verdict("wait")
    assert guesser.judge(_CALL, 0) == Verdict("call", len(_CALL))


def test_longer_than_any_call() -> None:
    """A document in JSON is not held back to its end, and neither is what stands in it."""
    begins, longest = '{"arguments": "', 20_000
    whole = begins + "x" * (longest - len(begins) - 2) + '"}'
    pieces = pieces_of(begins + "x" * longest, range(100, longest, 100))

    assert _judged([f'{begins}{"x" * longest}"}}'])[0] == Verdict("text", 1)
    assert _judged(pieces) == (Verdict("text", 1), longest + len(begins))
    assert _judged([whole])[0] == Verdict("text", longest)
    assert _judged([f"{whole[:-1]}x}}"])[0] == Verdict("text", 1)


def test_document() -> None:
    """Behind a document that was longer than any call, nothing without marks is a call any more."""
    guesser = BareCallDetector(TOOLS)

    verdicts = [guesser.judge(text).says for text in (_CALL, '{"id": ' * 4_000, _CALL)]

    assert verdicts == ["call", "text", "text"]


@pytest.mark.parametrize(("brackets", "says"), [(1_000, "call"), (3_000, "text")], ids=["many", "very-many"])
def test_brackets_that_are_no_calls(brackets: int, says: str) -> None:
    """Many brackets hide no call behind them; very many are a document, in which nothing without marks is one."""
    guesser = BareCallDetector(TOOLS)

    assert {guesser.judge("[a(").says for _ in range(brackets)} == {"text"}
    assert guesser.judge(_CALL).says == says


@pytest.mark.parametrize(
    ("text", "is_cut_call"),
    [
        pytest.param('{"name": "get_weather", "argum', True, id="name-said"),
        pytest.param('{"arguments": {"city": 1}, "tool": "functions.get_weather"', True, id="namespace"),
        pytest.param('{"name": "get_wea', True, id="name-half-said"),
        pytest.param('{"name": "', False, id="no-name-yet"),
        pytest.param('{"name": "Bob", "tool": "get_time"', True, id="second-name"),
        pytest.param('{"name": "Bob", "parameters', False, id="other-name"),
        pytest.param('{"text": "call get_weather(', False, id="talk-in-a-string"),
        pytest.param('[get_weather(city="Os', True, id="expression"),
        pytest.param("[getter(", False, id="other-expression"),
        pytest.param("```python\nprint(get_weather(", True, id="code"),
        pytest.param("```python\nprint(", False, id="print"),
    ],
)
def test_cut_call(text: str, *, is_cut_call: bool) -> None:
    """Text that breaks off is a call if it had already named an offered tool."""
    assert BareCallDetector(TOOLS).is_cut_call(text) is is_cut_call


@given(st.data(), st.sampled_from(sorted(FIRST_CHARS)), MARKED_TEXTS, st.booleans())
def test_pieces(data: st.DataObject, first: str, text: str, in_sentence: bool) -> None:
    """The judgement does not depend on the pieces in which a text comes."""
    text = data.draw(st.sampled_from([first, "```json\n", '{"name": "', "[get_weather("])) + text
    whole, _ = _judged([text], in_sentence=in_sentence)

    assert _judged(pieces_of(text, data.draw(cuts(len(text)))), in_sentence=in_sentence)[0] == whole
    assume(whole.says != "wait")
    assert 0 < whole.length <= len(text)


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
    began_s = time.process_time()

    _judged(list(letters))

    assert time.process_time() - began_s < 20  # a hang, not a benchmark
