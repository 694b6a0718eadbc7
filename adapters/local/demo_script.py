"""The canned answers of the demo model, and the chat template that chooses one.

llama.cpp renders the chat template (Jinja) before every response. The template ends the prompt with a start token such
as ``<|say:count|>``, and the network then generates that script word by word. Whatever looks like understanding is one
of the Jinja conditions below. ``adapters.local.demo_model`` turns the scripts into a network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
CITIES = ("Paris", "London", "Tokyo")


@dataclass(frozen=True, slots=True)
class Script:
    """One canned answer.

    Attributes:
        name: Name of the start token.
        when: Jinja condition under which the template chooses this script. It may use ``said`` (the user message, if
            that is the last one), ``result`` (the tool result, if that is the last one), both in lower case, and
            ``seen.offered`` and ``seen.called`` (names of the tools offered now, and of those called last).
        text: The answer.
        endless: Whether it repeats until the context is full or the client disconnects.
    """

    name: str
    when: str
    text: str
    endless: bool = False

    @property
    def start_token(self) -> str:
        """The token at the end of the prompt that starts this script."""
        return f"<|say:{self.name}|>"


def _call(name: str, **arguments: str) -> str:
    """Write a tool call in the format of Qwen and Hermes models, which llama.cpp parses into ``tool_calls``."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


_OFFERS_WEATHER = "'get_weather' in seen.offered and "
_WEATHER_RESULT = "seen.called == ['get_weather'] and "

SCRIPTS = (
    Script("sunny", _WEATHER_RESULT + "'sunny' in result", "It is sunny there right now: perfect café weather."),
    Script("rainy", _WEATHER_RESULT + "'rain' in result", "It is raining there right now, so take an umbrella."),
    Script("cloudy", _WEATHER_RESULT + "'cloud' in result", "There are clouds over the city at the moment."),
    Script(
        "reports",
        "result and seen.called == ['get_weather', 'get_weather']",
        "Both weather reports are in. To compare them takes a real model, and I am only a demo with canned answers.",
    ),
    *(
        Script(
            f"hour_{hour}",
            f"seen.called == ['get_time'] and ' {hour:02}:' in result",
            f"It is between {hour} and {hour + 1} o'clock.",
        )
        for hour in range(24)
    ),
    Script(
        "done",
        "last.role == 'tool'",
        "Done, the tools have answered. This is a canned sentence of the demo model: it cannot read their results.",
    ),
    Script("loop", "'loop' in said", "tick tock ", endless=True),
    Script(
        "think",
        "'think' in said",
        "<think>\nThe user wants to see a thought. This is all I have.\n</think>\n\n"
        "I thought about it, and my answer stays a canned one.",
    ),
    Script("count", "'count to' in said", "One, two, three, four, five, six, seven, eight, nine, ten."),
    Script(
        "two_cities",
        _OFFERS_WEATHER + "'paris' in said and 'london' in said",
        "\n".join(_call("get_weather", city=city) for city in ("Paris", "London")),
    ),
    Script(
        "check",
        _OFFERS_WEATHER + "'check' in said and 'paris' in said",
        "Let me check that for you.\n" + _call("get_weather", city="Paris"),
    ),
    *(
        Script(city.lower(), _OFFERS_WEATHER + f"'{city.lower()}' in said", _call("get_weather", city=city))
        for city in CITIES
    ),
    Script(
        "elsewhere",
        _OFFERS_WEATHER + "'weather' in said",
        f"For weather, a demo model with canned calls knows three cities only: {', '.join(CITIES)}.",
    ),
    Script("time", "'get_time' in seen.offered and 'time' in said", _call("get_time")),
    Script(
        "greeting",
        "true",
        "Hello! I am a small demo model with canned answers and no intelligence. "
        "For real answers, set model_path to a GGUF file of your own.",
    ),
)
"""All scripts, in the order in which the template tries them; the last one always matches."""

_PROMPT = """
{%- set seen = namespace(offered=[], called=[]) %}
{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n<tools>' }}
    {%- for tool in tools %}
        {%- set seen.offered = seen.offered + [tool.function.name] %}
        {{- '\\n' }}{{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools>\\nCall a tool like this:\\n<tool_call>\\n' }}
    {{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if message.reasoning_content %}
            {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
        {%- endif %}
        {%- if message.content %}{{- message.content }}{%- endif %}
        {%- if message.tool_calls %}
            {%- set seen.called = [] %}
            {%- for tool_call in message.tool_calls %}
                {%- if message.content or not loop.first %}{{- '\\n' }}{%- endif %}
                {%- set function = tool_call.function if tool_call.function else tool_call %}
                {%- set seen.called = seen.called + [function.name] %}
                {{- '<tool_call>\\n{"name": "' + function.name + '", "arguments": ' }}
                {%- if function.arguments is string %}{{- function.arguments }}
                {%- else %}{{- function.arguments | tojson }}{%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
"""

_PICK = """
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- set last = messages[-1] %}
    {%- set text = last.content | lower if last.content is string else '' %}
    {%- set said = text if last.role == 'user' else '' %}
    {%- set result = text if last.role == 'tool' else '' %}
"""


def chat_template() -> str:
    """Build the Jinja template: the conversation in the format of Qwen models, then the start token of one script."""
    words = ("elif" if number else "if" for number in range(len(SCRIPTS)))
    choices = (
        f"    {{%- {word} {script.when} %}}{{{{- '{script.start_token}' }}}}\n"
        for word, script in zip(words, SCRIPTS, strict=True)
    )
    return _PROMPT.strip() + _PICK + "".join(choices) + "    {%- endif %}\n{%- endif %}"
