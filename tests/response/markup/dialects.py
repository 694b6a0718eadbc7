"""The dialects in which models write tool calls as text, each with the calls that it holds."""

from __future__ import annotations

from typing import NamedTuple

from adapters.response.markup.leaked_call_parser import LeakedCall


class Dialect(NamedTuple):
    """A passage in one dialect.

    Attributes:
        name: Name of the dialect.
        text: The passage.
        calls: The calls in it.
        lasts_to_the_end: Whether nothing closes it, so that it must end the answer.
    """

    name: str
    text: str
    calls: tuple[LeakedCall, ...]
    lasts_to_the_end: bool = False


OSLO = LeakedCall("get_weather", {"city": "Oslo"})
OSLO_3 = LeakedCall("get_weather", {"city": "Oslo", "days": 3})
TIME = LeakedCall("get_time", None)
TIME_EMPTY = LeakedCall("get_time", {})
JSON_CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'


def _deepseek(text: str) -> str:
    return text.replace("|", "\N{FULLWIDTH VERTICAL LINE}")


MARKED = (
    Dialect("hermes", f"<tool_call>\n{JSON_CALL}\n</tool_call>", (OSLO,)),
    Dialect(
        "hermes-twice",
        f"<tool_call>{JSON_CALL}</tool_call>\n<tool_call>{JSON_CALL}</tool_call>",
        (
            OSLO,
            OSLO,
        ),
    ),
    Dialect("hermes-unclosed-tag", f"<tool_call>{JSON_CALL}", (OSLO,), lasts_to_the_end=True),
    Dialect("hermes-list", f"<tool_call>[{JSON_CALL}]</tool_call>", (OSLO,)),
    Dialect("hermes-double-braces", "<tool_call>{{" + JSON_CALL[1:] + "}</tool_call>", (OSLO,)),
    Dialect("hermes-fenced", f"<tool_call>```json\n{JSON_CALL}\n```</tool_call>", (OSLO,)),
    Dialect("function-call-tag", f"<function_call> {JSON_CALL} </function_call>", (OSLO,)),
    Dialect(
        "jamba",
        f"<tool_calls>[{JSON_CALL}, {JSON_CALL}]</tool_calls>",
        (
            OSLO,
            OSLO,
        ),
    ),
    Dialect("phi", f"<|tool_call|>[{JSON_CALL}]<|/tool_call|>", (OSLO,)),
    Dialect("lm-studio", f"[TOOL_REQUEST]{JSON_CALL}[END_TOOL_REQUEST]", (OSLO,)),
    Dialect("internlm", f"<|action_start|><|plugin|>\n{JSON_CALL}<|action_end|>", (OSLO,)),
    Dialect(
        "cohere",
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Oslo"}}]'
        "<|END_ACTION|>",
        (OSLO,),
    ),
    Dialect("mistral-list", f"[TOOL_CALLS][{JSON_CALL}]", (OSLO,), lasts_to_the_end=True),
    Dialect(
        "mistral-list-with-ids",
        f"[TOOL_CALLS] [{JSON_CALL[:-1]}, " + '"id": "abcdefghi"}]',
        (OSLO,),
        lasts_to_the_end=True,
    ),
    Dialect("mistral-name", '[TOOL_CALLS]get_weather{"city": "Oslo"}', (OSLO,), lasts_to_the_end=True),
    Dialect("mistral-args", '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}', (OSLO,), lasts_to_the_end=True),
    Dialect(
        "mistral-call-ids",
        '[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city": "Oslo"}[TOOL_CALLS]get_time[ARGS]{}',
        (
            OSLO,
            TIME_EMPTY,
        ),
        lasts_to_the_end=True,
    ),
    Dialect("llama", '<function=get_weather>{"city": "Oslo"}</function>', (OSLO,)),
    Dialect("llama-no-bracket", '<function=get_weather{"city": "Oslo"}</function>', (OSLO,)),
    Dialect("groq-equals-sign", '<function=get_weather={"city": "Oslo"}</function>', (OSLO,)),
    Dialect("groq-unclosed-end", '<function=get_weather>{"city": "Oslo"}<function>', (OSLO,)),
    Dialect("groq-parentheses", '<function=get_weather({"city": "Oslo"})</function>', (OSLO,)),
    Dialect("groq-name-in-parentheses", '<function(get_weather){"city": "Oslo"}</function>', (OSLO,)),
    Dialect("llama-namespace", '<function=functions.get_weather>{"city": "Oslo"}</function>', (OSLO,)),
    Dialect("llama-no-arguments", "<function=get_time></function>", (TIME_EMPTY,)),
    Dialect("llama-3-json", '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo"}}<|eom_id|>', (OSLO,)),
    Dialect("llama-3-python", '<|python_tag|>get_weather(city="Oslo")<|eom_id|>', (OSLO,)),
    Dialect("llama-3-brave", '<|python_tag|>get_weather.call(city="Oslo")', (OSLO,), lasts_to_the_end=True),
    Dialect(
        "llama-3-two",
        f"<|python_tag|>{JSON_CALL}; " + '{"name": "get_time", "parameters": {}}',
        (
            OSLO,
            TIME_EMPTY,
        ),
        lasts_to_the_end=True,
    ),
    Dialect(
        "qwen-coder",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
        "</function>\n</tool_call>",
        (LeakedCall("get_weather", {"city": "Oslo", "days": 3}),),
    ),
    Dialect(
        "qwen-coder-no-ends-of-parameters",
        "<function=get_weather>\n<parameter=city>\nOslo\n<parameter=days>\n3\n</function>",
        (LeakedCall("get_weather", {"city": "Oslo", "days": 3}),),
    ),
    Dialect(
        "llama-markup-inside-arguments",
        '<function=play>{"title": "<function=get_time></function>"}</function>',
        (LeakedCall("play", {"title": "<function=get_time></function>"}),),
    ),
    Dialect(
        "claude",
        '<function_calls>\n<invoke name="get_weather">\n<parameter name="city">Oslo</parameter>\n</invoke>\n'
        "</function_calls>",
        (OSLO,),
    ),
    Dialect(
        "minimax-two",
        '<minimax:tool_call><invoke name="get_weather"><parameter name="city">Oslo</parameter></invoke>'
        '<invoke name="get_time"></invoke></minimax:tool_call>',
        (
            OSLO,
            TIME_EMPTY,
        ),
    ),
    Dialect(
        "glm",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>3</arg_value>\n</tool_call>",
        (LeakedCall("get_weather", {"city": "Oslo", "days": 3}),),
    ),
    Dialect("glm-no-arguments", "<tool_call>get_time</tool_call>", (TIME_EMPTY,)),
    Dialect(
        "glm-two",
        "<tool_call>get_time</tool_call>"
        "<tool_call>get_weather<arg_key> city </arg_key><arg_value>Oslo</arg_value></tool_call>",
        (
            TIME_EMPTY,
            OSLO,
        ),
    ),
    Dialect(
        "deepseek-r1",
        _deepseek(
            "<|tool▁calls▁begin|><|tool▁call▁begin|>function<|tool▁sep|>get_weather\n```json\n"
            '{"city": "Oslo"}\n```<|tool▁call▁end|><|tool▁calls▁end|>'
        ),
        (OSLO,),
    ),
    Dialect(
        "deepseek-v3",
        _deepseek(
            '<|tool▁calls▁begin|><|tool▁call▁begin|>get_weather<|tool▁sep|>{"city": "Oslo"}<|tool▁call▁end|>'
            "<|tool▁call▁begin|>get_time<|tool▁sep|>{}<|tool▁call▁end|><|tool▁calls▁end|>"
        ),
        (
            OSLO,
            TIME_EMPTY,
        ),
    ),
    Dialect(
        "kimi",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Oslo"}<|tool_call_end|><|tool_calls_section_end|>',
        (OSLO,),
    ),
    Dialect(
        "gpt-oss",
        '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
        (OSLO,),
    ),
    Dialect(
        "gpt-oss-no-constraint",
        '<|start|>assistant<|channel|>commentary to=functions.get_weather<|message|>{"city": "Oslo"}<|call|>',
        (OSLO,),
    ),
    Dialect("gemma", "<start_function_call>call:get_weather{city:<escape>Oslo<escape>}<end_function_call>", (OSLO,)),
    Dialect("gemma-4", '<|tool_call>call:get_weather{city:<|"|>Oslo<|"|>}<tool_call|>', (OSLO,)),
    Dialect(
        "gemma-marks-inside-a-string",
        '<start_function_call>call:play{title:<escape>a "b", c: d}<escape>,loud:true}<end_function_call>',
        (LeakedCall("play", {"title": 'a "b", c: d}', "loud": True}),),
    ),
    Dialect("gemma-no-arguments", "<start_function_call>call:get_time{}<end_function_call>", (TIME_EMPTY,)),
    Dialect(
        "hermes-with-markup-inside-its-arguments",
        '<tool_call>{"name": "play", "arguments": {"title": "<function=get_time></function>"}}</tool_call>',
        (LeakedCall("play", {"title": "<function=get_time></function>"}),),
    ),
)
"""Between marks."""

BARE = (
    Dialect("bare-json", JSON_CALL, (OSLO,)),
    Dialect("bare-json-parameters", '{"name": "get_weather", "parameters": {"city": "Oslo"}}', (OSLO,)),
    Dialect("bare-json-as-openai-writes-it", '{"type": "function", "function": ' + JSON_CALL + "}", (OSLO,)),
    Dialect("bare-json-tool-calls", f'{{"tool_calls": [{JSON_CALL}]}}', (OSLO,)),
    Dialect(
        "bare-json-multi-tool-use",
        '{"tool_uses": [{"recipient_name": "functions.get_weather", "parameters": {"city": "Oslo"}}]}',
        (OSLO,),
    ),
    Dialect("react", '{"action": "get_weather", "action_input": {"city": "Oslo"}}', (OSLO,)),
    Dialect("bare-python-dict", "{'name': 'get_weather', 'arguments': {'city': 'Oslo'}}", (OSLO,)),
    Dialect(
        "bare-json-arguments-as-a-string",
        '{"name": "get_weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}',
        (LeakedCall("get_weather", '{"city": "Oslo"}'),),
    ),
    Dialect(
        "bare-json-with-a-call-inside-its-arguments",
        '{"name": "play", "arguments": {"title": "get_time() and {\\"name\\": \\"get_time\\"}"}}',
        (LeakedCall("play", {"title": 'get_time() and {"name": "get_time"}'}),),
    ),
    Dialect(
        "pythonic-list",
        '[get_weather(city="Oslo"), get_time()]',
        (
            OSLO,
            TIME_EMPTY,
        ),
    ),
    Dialect("positional", '[get_weather("Oslo", 3)]', (LeakedCall("get_weather", {"city": "Oslo", "days": 3}),)),
    Dialect("python-call-of-an-object", 'get_weather({"city": "Oslo"})', (OSLO,)),
    Dialect("gemini-tool-code", 'print(get_weather(city="Oslo"))', (OSLO,)),
    Dialect(
        "brackets", 'play(title="(a) [b] )", loud=true)', (LeakedCall("play", {"title": "(a) [b] )", "loud": True}),)
    ),
)
"""Without marks."""

LENIENT = (
    Dialect(
        "python-call-of-another-object", 'get_weather({"any": 1})', (LeakedCall("get_weather", {"city": {"any": 1}}),)
    ),
    Dialect("bare-json-name-as-key", '{"get_weather": {"city": "Oslo"}}', (OSLO,)),
    Dialect("bare-json-no-arguments", '{"name": "get_time"}', (TIME,)),
)
"""Read only where a call is meant: between marks, or where a server says that it is one."""
