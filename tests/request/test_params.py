"""``adapters.request.params``: the parameters of a call, parsed from its arguments."""

from __future__ import annotations

import logging
import math
from typing import Any

import pydantic
import pytest

from adapters.config import ProviderConfig
from adapters.errors import ConfigError
from adapters.request.params import CallArguments, RequestParams, log_unknown_options, parse_params
from adapters.types import CallOptions

_TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "string"}}}}}]
_MESSAGES = [{"role": "user", "content": "Hi"}]


def _asked(**options: Any) -> RequestParams:
    return parse_params(CallArguments(_MESSAGES, None, options), stream=False)


class _Answer(pydantic.BaseModel):
    """What an answer is to look like."""

    city: str


def test_question() -> None:
    """What belongs to the call is taken out of the caller's keywords; the rest are fields of the body."""
    options = {
        "timeout": 3,
        "max_retries": 0,
        "first_token_timeout": 2,
        "extra_headers": {"X-Turn": "7"},
        "extra_body": {"top_k": 5},
        "temperature": None,
        "seed": 1,
    }

    question = parse_params(CallArguments(_MESSAGES, _TOOLS, options), stream=True, wants_text=True)

    assert question == RequestParams(
        _MESSAGES,
        _TOOLS,
        stream=True,
        tool_choice="none",
        options={"temperature": None, "seed": 1},
        extra_body={"top_k": 5},
        headers={"X-Turn": "7"},
        timeout_s=3.0,
        max_retries=0,
        first_token_s=2.0,
    )
    assert options["timeout"] == 3


def test_question_with_a_form() -> None:
    """A class of pydantic is sent as its schema, and kept to read the answer with; None is no form."""
    question = _asked(response_format=_Answer)

    assert question.response_format is not None
    assert question.response_format.read('{"city": "Oslo"}') == _Answer(city="Oslo")
    assert question.options == {"response_format": question.response_format.body}
    assert _asked(response_format=None).response_format is None


def test_question_without_options() -> None:
    """Without keywords, and with those that are None, the provider decides."""
    nothing = _asked(timeout=None, max_retries=None, extra_headers=None, extra_body=None)

    assert nothing == _asked() == RequestParams(_MESSAGES, [], stream=False)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        pytest.param("api_key", "where the provider is created", id="api_key"),
        pytest.param("base_url", "where the provider is created", id="base_url"),
        pytest.param("api_base", "set base_url where the provider is created", id="api_base"),
        pytest.param("model", "where the provider is created", id="model"),
        pytest.param("headers", "use extra_headers", id="headers"),
        pytest.param("retry", "use max_retries", id="retry"),
        pytest.param("num_retries", "use max_retries", id="num_retries"),
        pytest.param("timeouts", "use timeout", id="timeouts"),
        pytest.param("messages", "positional argument", id="messages"),
        pytest.param("tools", "positional argument", id="tools"),
        pytest.param("stream", "chat_stream and stream_events", id="stream"),
        pytest.param("client", "opens its own connections", id="client"),
        pytest.param("fallbacks", "FallbackProvider", id="fallbacks"),
        pytest.param("stream_timeout", "use first_token_timeout", id="stream_timeout"),
        pytest.param("first_token_s", "use first_token_timeout", id="first_token_s"),
        pytest.param("hedge_after_s", "FallbackProvider is created", id="hedge_after_s"),
    ],
)
def test_keyword_that_is_not_the_callers(name: str, where: str) -> None:
    """What belongs to the provider or to the call is refused by name, with the place where it belongs."""
    with pytest.raises(ConfigError, match=f"^{name} is not an option of a single request: .*{where}"):
        _asked(seed=1, **{name: []})


@pytest.mark.parametrize(
    "name",
    sorted(
        ProviderConfig.model_fields.keys()
        - {
            "temperature",
            "max_tokens",
            "top_p",
            "stop",
            "seed",
            "reasoning_effort",
            "models",
            "reasoning",
            "extra_body",
        }
    ),
)
def test_no_setting_of_a_provider_is_a_field_of_the_body(name: str) -> None:
    """Each setting that a single request cannot change is refused."""
    with pytest.raises(ConfigError, match=name):
        _asked(**{name: 1})


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        *(
            pytest.param({"first_token_timeout": value}, "first_token_timeout must be", id=f"first-token-{value}")
            for value in (0, "3", True, math.inf)
        ),
        *(
            pytest.param({"timeout": value}, "timeout must be a number of seconds above 0", id=f"timeout-{value}")
            for value in (0, -1, "3", True, math.nan, math.inf)
        ),
        *(
            pytest.param({"max_retries": value}, "max_retries must be a whole number", id=f"max_retries-{value}")
            for value in (-1, 1.5, "2", True)
        ),
        pytest.param({"allow_empty": 1}, "allow_empty must be True or False", id="allow_empty"),
        pytest.param({"extra_headers": ["X"]}, "extra_headers must be", id="headers-in-a-list"),
        pytest.param({"extra_headers": {"X": 1}}, "extra_headers must be", id="header-that-is-a-number"),
        pytest.param(
            {"extra_headers": {"X": "a\r\nY: b"}}, "extra_headers holds a line break", id="two-headers-in-one"
        ),
        pytest.param(
            {"extra_headers": {"X": "ä"}}, "extra_headers holds a line break or", id="header-that-is-no-ascii"
        ),
        pytest.param({"extra_headers": {"A B": "1"}}, "extra_headers holds a header whose name", id="header-name"),
        pytest.param({"extra_headers": {"": "1"}}, "extra_headers holds a header whose name", id="no-header-name"),
        pytest.param(
            {"extra_headers": {"A": "1", "a": "2"}}, "extra_headers holds one header twice", id="header-twice"
        ),
        *(
            pytest.param({"extra_headers": {name: "5"}}, f"extra_headers cannot hold {name}", id=f"header-{name}")
            for name in ("Content-Length", "content-encoding", "Transfer-Encoding", "connection", "Keep-Alive", "TE")
        ),
        pytest.param({"extra_body": [1]}, "extra_body must be", id="body-that-is-a-list"),
        pytest.param({"metadata": [1]}, "metadata must be an object", id="metadata-that-is-a-list"),
        *(
            pytest.param({"extra_body": {name: []}}, f"{name} cannot be set in extra_body", id=f"body-{name}")
            for name in ("model", "messages", "stream", "tools")
        ),
        pytest.param({"response_format": _Answer(city="x")}, "response_format is a _Answer", id="pydantic-object"),
        pytest.param(
            {"response_format": {"type": object}}, "response_format holds a dict", id="format-that-is-no-json"
        ),
        pytest.param({"stop": {"x"}}, "stop holds a set", id="set"),
        pytest.param({"temperature": math.nan}, "temperature holds a float", id="nan"),
        pytest.param({"extra_body": {"x": {"y": b"z"}}}, "x holds a dict", id="bytes"),
        pytest.param({"extra_body": {1: 2}}, "1 holds a int", id="key-that-is-no-text"),
    ],
)
def test_value_that_is_of_no_use(options: dict[str, Any], hint: str) -> None:
    """A value that cannot be meant or cannot be sent is told before anything is."""
    with pytest.raises(ConfigError, match=f"^{hint}") as caught:
        _asked(**options)

    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("tool", "schemas"),
    [
        pytest.param(_TOOLS[0], {"f": {"x": {"type": "string"}}}, id="parameters"),
        pytest.param({"function": {"name": "f"}}, {"f": {}}, id="no-parameters"),
        pytest.param({"function": {"name": "f", "parameters": None}}, {"f": {}}, id="null-parameters"),
        pytest.param({"function": {"name": "f", "parameters": {"properties": []}}}, {"f": {}}, id="list-of-properties"),
        pytest.param({"function": {"name": None}}, {}, id="no-name"),
        pytest.param({"type": "web_search"}, {}, id="tool-of-the-server"),
        pytest.param({"function": "f"}, {}, id="no-object"),
    ],
)
def test_schemas(tool: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Each function is known by name with its parameters; other tools are the server's own business."""
    assert RequestParams(_MESSAGES, [tool], stream=False).schemas == schemas


def test_what_is_wanted() -> None:
    """Text is wanted if calls are forbidden, by the way of asking or by the caller."""
    assert RequestParams(_MESSAGES, [], stream=False, tool_choice="none").wants_text
    assert _asked(tool_choice="none").wants_text
    assert not _asked(tool_choice="auto").wants_text


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        pytest.param({"messages": None}, "messages must be", id="no messages"),
        pytest.param({"messages": "Hi"}, "messages must be", id="messages that are a text"),
        pytest.param({"messages": ["Hi"]}, "messages must be", id="a message that is a text"),
        pytest.param({"messages": {"role": "user"}}, "messages must be", id="a message without a list"),
        pytest.param({"tools": ["f"]}, "tools must be", id="a tool that is a text"),
        pytest.param({"tools": {"type": "function"}}, "tools must be", id="a tool without a list"),
        pytest.param({"tools": "f"}, "tools must be", id="tools that are a text"),
    ],
)
def test_messages_and_tools_of_another_type(arguments: dict[str, Any], hint: str) -> None:
    """Messages and tools of another type are a mistake of the caller; the error shows what they look like."""
    with pytest.raises(ConfigError, match=f'^{hint} a list of .*, such as .."') as caught:
        parse_params(CallArguments(**{"messages": _MESSAGES, "tools": None, "options": {}, **arguments}), stream=False)

    assert "Hi" not in str(caught.value)


def test_message_without_a_role() -> None:
    """A misspelled ``role`` is found before anything is sent; the error shows nothing of the message."""
    with pytest.raises(ConfigError, match=r'^Each message must have a "role", as in \{"role": "user"') as caught:
        parse_params(CallArguments([*_MESSAGES, {"rol": "user", "content": "Hi"}], None, {}), stream=False)

    assert "Hi" not in str(caught.value)


def test_functions_are_for_run_turn() -> None:
    """Functions in place of definitions are refused, with where they belong."""
    with pytest.raises(ConfigError, match=r"^tools must be a list of tools, .*\. Functions are for run_turn\.$"):
        parse_params(CallArguments(_MESSAGES, [len], {}), stream=False)  # type: ignore[list-item]  # the mistake


_SERVER_PARAMETERS = """
    add_generation_prompt add_special_tokens allowed_token_ids audio bad_words best_of cache_prompt cache_salt
    chat_template chat_template_kwargs citation_options compound_custom continue_final_message custom_logit_processor
    debug disable_tool_validation documents do_sample draft_model dry_allowed_length dry_base dry_multiplier
    dry_penalty_last_n dry_sequence_breakers dynatemp_exponent dynatemp_range ebnf echo enable_search enable_thinking
    exclude_domains format function_call functions grammar guardrails guided_choice guided_decoding_backend
    guided_grammar guided_json guided_regex guided_whitespace_pattern id_slot ignore_eos image_config include_domains
    include_reasoning include_stop_str_in_output incremental_output json_schema keep_alive kv_transfer_params
    length_penalty logit_bias_mode logits_processors lora lora_path max_new_tokens max_price min_keep min_tokens
    mirostat mirostat_eta mirostat_tau mm_processor_kwargs modalities n n_indent n_keep n_predict n_probs no_stop_trim
    num_draft_tokens num_keep num_predict options partial penalize_nl plugins post_sampling_probs prediction prefix
    preset priority prompt_cache_key prompt_cache_retention prompt_logprobs prompt_mode provider random_seed raw
    reasoning_format regex repeat_last_n repeat_penalty request_id result_format return_tokens
    return_tokens_as_token_ids rid route safe_prompt safety_identifier samplers search_settings separate_reasoning
    session_id session_params skip_special_tokens spaces_between_special_tokens stop_token_ids store stream_options
    stream_reasoning structural_tag structured_outputs t_max_predict_ms template thinking thinking_budget
    timings_per_token tool_stream top_a trace transforms truncate_prompt_tokens ttl typical_p usage use_beam_search
    vllm_xargs watermark web_search_options xtc_probability xtc_threshold
""".split()  # noqa: SIM905 - a list of this many strings would be a page


@pytest.mark.parametrize("name", _SERVER_PARAMETERS)
def test_a_parameter_of_some_server_goes_into_the_body(name: str) -> None:
    """Parameters that vLLM, SGLang, llama.cpp, Ollama, OpenRouter, Groq or Mistral have are no misspellings."""
    assert _asked(**{name: 1}).options == {name: 1}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("temprature", "temperature"),
        ("Temperature", "temperature"),
        ("temperatur", "temperature"),
        ("topP", "top_p"),
        ("top-p", "top_p"),
        ("maxTokens", "max_tokens"),
        ("max_token", "max_tokens"),
        ("max_completion_token", "max_completion_tokens"),
        ("max_retrys", "max_retries"),
        ("max_retires", "max_retries"),
        ("timout", "timeout"),
        ("time_out", "timeout"),
        ("timeout_s", "timeout"),
        ("first_token_timout", "first_token_timeout"),
        ("extra_header", "extra_headers"),
        ("extrabody", "extra_body"),
        ("respose_format", "response_format"),
        ("tool_choise", "tool_choice"),
        ("paralel_tool_calls", "parallel_tool_calls"),
        ("presense_penalty", "presence_penalty"),
        ("resoning_effort", "reasoning_effort"),
        ("logprob", "logprobs"),
        ("sede", "seed"),
        ("stops", "stop"),
        ("apikey", "api_key"),
        ("modle", "model"),
        ("base_ur", "base_url"),
    ],
)
def test_misspelled_keyword(name: str, meant: str) -> None:
    """A keyword that resembles a known one is refused, with the known one and the way to send it all the same."""
    with pytest.raises(ConfigError) as caught:
        _asked(**{name: 1})

    assert str(caught.value) == f"{name} is not a known option. Did you mean {meant}? Else write it into extra_body."
    assert _asked(extra_body={name: 1}).extra_body == {name: 1}


def test_every_known_option_is_spelled_right() -> None:
    """No option that type checkers know is taken for a misspelling of another one."""
    for name in CallOptions.__optional_keys__:
        _asked(**{name: None})


def test_unknown_keywords_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each keyword that is no known option is logged once for each provider, at INFO, and a bounded number of them."""
    logged: set[str] = set()

    with caplog.at_level(logging.INFO, logger="adapters"):
        for _ in range(2):
            log_unknown_options("home", ["guided_choice", "temperature", "top_k"], logged)
        log_unknown_options("home", [f"x{number}" for number in range(1000)], logged)

    assert [(record.levelname, record.getMessage()) for record in caplog.records][:1] == [
        ("INFO", "home: guided_choice is not a known option; it is sent as a field of the request's body")
    ]
    assert len(caplog.records) == len(logged) == 100
