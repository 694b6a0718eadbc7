"""Errors whose status means something else: no money, a garbled call, a model that cannot see, an unknown model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import Answer, http, reply, stream
from adapters.testing.case import CHAT, KEY, Failure, WireCase
from adapters.testing.cases.common import GARBLED, http_error, refused

if TYPE_CHECKING:
    from adapters.testing.answers import JsonObject

_THREE_TRIES = {"retry": {"attempts": 3, "initial_wait_s": 0.01}}
_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_GENERATED = "error parsing tool call: raw='{\"city\":\"Oslo\"}]', err=invalid character ']' after top-level value"


def _no_money(case_id: str, why: str, status: str, body: JsonObject) -> WireCase:
    """Make one case of an account without money: one request, whatever the status."""
    expect = Failure("PaymentRequiredError", status_code=int(status[:3]), retryable=False, says=("no credits left",))
    return http_error(case_id, why, status, body, expect, options=_THREE_TRIES)


def _limited(
    case_id: str, why: str, status: str, body: JsonObject, wait_s: float | None = None, **head: str
) -> WireCase:
    """Make one case of a limit that ends by itself."""
    expect = Failure("RateLimitError", status_code=int(status[:3]), retryable=True, retry_after_s=wait_s)
    return WireCase(case_id, why, [reply(body, status, **head)], expect)


def _blind(case_id: str, why: str, status: str, message: str, says: str = "the model cannot see images") -> WireCase:
    """Make one case of input that the model cannot read: one request, and pipecat takes the input out again."""
    expect = Failure("BadRequestError", status_code=int(status[:3]), retryable=False, says=(says,), hides=("base_url",))
    return http_error(case_id, why, status, {"error": {"message": message}}, expect, options=_THREE_TRIES)


def _too_long(case_id: str, why: str, message: str, status: str = "400 Bad Request") -> WireCase:
    expect = refused("ContextWindowExceededError", int(status[:3]), "too long")
    return http_error(case_id, why, status, {"error": {"message": message}}, expect)


def _no_model(case_id: str, why: str, body: JsonObject, status: str = "400 Bad Request") -> WireCase:
    expect = refused("NotFoundError", int(status[:3]), "does not offer the model", hides=("base_url",))
    return http_error(case_id, why, status, body, expect)


def _garbled(case_id: str, why: str, message: str, **fields: Any) -> WireCase:
    """Make one case of a call that its own server could not parse; the model's words are not repeated."""
    body = {"error": {"message": message, "type": "api_error", "param": None, "code": None}}
    expect = Failure("IncompleteResponseError", status_code=500, retryable=True, says=GARBLED.says, hides=("raw=", "{"))
    return http_error(case_id, why, "500 Internal Server Error", body, expect, tools=True, **fields)


CASES: Final = (
    _no_money(
        "zai-no-balance",
        "429 with code 1113 is an empty account (zai-org/GLM-5#148)",
        "429 Too Many Requests",
        {"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}},
    ),
    _no_money(
        "zai-no-balance-chinese",
        "the same in Chinese",
        "429 Too Many Requests",
        {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}},
    ),
    _no_money(
        "minimax-no-balance",
        "500 for an empty account (MiniMax-AI/MiniMax-M2#62)",
        "500 Internal Server Error",
        {"type": "error", "error": {"type": "api_error", "message": "insufficient balance (1008)"}, "request_id": "x"},
    ),
    WireCase(
        "minimax-no-balance-in-200",
        "an empty account inside HTTP 200, in a field of its own",
        [reply({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}})],
        Failure("PaymentRequiredError", status_code=None, retryable=False, says=("no credits left",)),
        options=_THREE_TRIES,
    ),
    _no_money(
        "xai-no-credits",
        "429 for an empty account (continuedev/continue#10373)",
        "429 Too Many Requests",
        {
            "code": "Some resource has been exhausted",
            "error": "Your team has either used all available credits or reached its monthly spending limit. To go on "
            "making API requests, please purchase more credits or raise your spending limit.",
        },
    ),
    _no_money(
        "xai-no-credits-403",
        "403 for a new account",
        "403 Forbidden",
        {"error": "Your newly created team doesn't have any credits yet. You can purchase credits on the console."},
    ),
    _no_money(
        "anthropic-no-credits",
        "400 for an empty account",
        "400 Bad Request",
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API. Please purchase credits.",
            },
        },
    ),
    _no_money(
        "opencode-no-credits",
        "401 for an empty account",
        "401 Unauthorized",
        {"type": "error", "error": {"type": "CreditsError", "message": "Insufficient balance."}},
    ),
    _no_money(
        "openai-quota-through-a-proxy",
        "429 for an empty account whose code was lost on the way",
        "429 Too Many Requests",
        {"error": {"message": f"litellm.RateLimitError: OpenAIException - {_QUOTA}", "code": "429"}},
    ),
    _limited(
        "gemini-quota-of-a-minute",
        "the words of an empty account, and a wait of seconds",
        "429 Too Many Requests",
        {"error": {"code": 429, "message": f"{_QUOTA} Please retry in 34.07s.", "status": "RESOURCE_EXHAUSTED"}},
        34.07,
    ),
    _limited(
        "cerebras-quota-of-a-minute",
        "a quota of requests per minute",
        "429 Too Many Requests",
        {
            "message": "Requests per minute limit exceeded - too many requests sent.",
            "type": "too_many_requests_error",
            "param": "quota",
            "code": "request_quota_exceeded",
        },
    ),
    _limited(
        "openrouter-free-models-per-day",
        "a hint at credits is not an empty account",
        "429 Too Many Requests",
        {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000."}},
    ),
    _limited(
        "zai-busy",
        "429 with code 1302 is a rate limit (kaitranntt/ccs#402)",
        "429 Too Many Requests",
        {"error": {"code": "1302", "message": "High concurrency usage of this API, please reduce concurrency"}},
    ),
    _limited(
        "azure-api-management-quota",
        "403 is a limit here, and its end is a clock time (MicrosoftDocs/azure-docs#16282)",
        "403 Forbidden",
        {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 02:15:33."},
        8_133.0,
    ),
    _limited(
        "litellm-proxy-relays-a-python-dict",
        "the wait is read, the dict is not spoken (jasonacox/TinyLLM#17)",
        "429 Too Many Requests",
        {
            "error": {
                "message": "litellm.RateLimitError: AzureException - Error code: 429 - {'error': {'code':"
                " '429', 'message': 'Requests have exceeded the rate limit. Please retry after 86400 seconds.'}}\n"
                "Received Model Group=g\nAvailable Model Group Fallbacks=None",
                "type": "throttling_error",
                "code": "429",
            }
        },
        86_400.0,
    ),
    _garbled("ollama-garbled-call", "Ollama could not parse the call (ollama/ollama#17638)", _GENERATED, kind="ollama"),
    _garbled(
        "ollama-garbled-xml-call",
        "the same of a model that writes calls as XML",
        "XML syntax error on line 7: element <parameter> closed by </function>",
        kind="ollama",
    ),
    _garbled(
        "llamacpp-garbled-call",
        "llama.cpp could not parse the answer",
        'Failed to parse input at pos 12: <tool_call>{"name": "get_weather", "arguments": {"ci',
    ),
    WireCase(
        "ollama-garbled-call-in-200",
        "the same inside HTTP 200",
        [Answer(reply({"error": {"message": _GENERATED}}), stream({"error": {"message": _GENERATED}}))],
        Failure("IncompleteResponseError", retryable=True, says=GARBLED.says, hides=("raw=", "{")),
        kind="ollama",
        tools=True,
    ),
    _blind(
        "llamacpp-no-image-input",
        "500 for a picture (mozilla-ai/llamafile#960)",
        "500 Internal Server Error",
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    ),
    _blind(
        "llamacpp-no-audio-input",
        "500 for sound",
        "500 Internal Server Error",
        "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "the model cannot hear audio",
    ),
    _blind(
        "ollama-no-image-input",
        "500 for a picture",
        "500 Internal Server Error",
        "Failed to create new sequence: this model is missing data required for image input",
    ),
    _blind(
        "ollama-cloud-no-image-input",
        "400 for a picture (ollama/ollama#17301)",
        "400 Bad Request",
        "this model does not support image input (ref: b8bd630e)",
    ),
    _blind(
        "openrouter-no-image-input",
        "404 for a picture, and nothing is wrong with the address (nexu-io/nexu#733)",
        "404 Not Found",
        "No endpoints found that support image input",
    ),
    _blind(
        "openrouter-no-audio-input",
        "404 for sound",
        "404 Not Found",
        "No endpoints found that support input audio",
        "the model cannot hear audio",
    ),
    _blind(
        "openai-no-image-input",
        "400 for a picture (vllm-project/vllm#11629)",
        "400 Bad Request",
        "Invalid content type. image_url is only supported by certain models.",
    ),
    _blind(
        "deepseek-no-image-input",
        "400 for a picture",
        "400 Bad Request",
        "Failed to deserialize the JSON body into the target type: unknown variant `image_url`, expected `text`",
    ),
    _blind(
        "vllm-no-image-input",
        "400 for a picture",
        "400 Bad Request",
        "At most 0 image(s) may be provided in one prompt.",
    ),
    http_error(
        "openai-bad-image",
        "the picture is bad, and the model can see",
        "400 Bad Request",
        {"error": {"message": "You uploaded an unsupported image. It does not support image formats such as HEIC."}},
        refused("BadRequestError", 400, "unsupported image", hides=("cannot see",)),
    ),
    _too_long(
        "mlx-vlm-context-budget", "a word of its own", "Protected conversation exceeds the available context budget"
    ),
    _too_long("xai-prompt-length", "a word of its own", "This model's maximum prompt length is 131072 tokens."),
    _too_long(
        "gemini-token-count",
        "a word of its own",
        "The input token count (2845475) exceeds the maximum number of tokens allowed (1048576).",
    ),
    _too_long("bedrock-input-too-long", "a word of its own", "Input is too long for requested model."),
    _too_long(
        "llamacpp-python-context-window",
        "a 500 that is not retryable",
        "Requested tokens (4096) exceed context window of 2048",
        "500 Internal Server Error",
    ),
    _no_model("open-webui-unknown-model", "400 for an unknown model", {"detail": "Model not found"}),
    _no_model(
        "fastchat-unknown-model",
        "400 with a code of its own",
        {"object": "error", "message": "Only vicuna-7b allowed now, your model x", "code": 40301},
    ),
    _no_model(
        "mlx-vlm-unknown-model",
        "400 with the answer of Hugging Face",
        {"detail": "Failed to load model: 404 Client Error. Repository Not Found for url: https://hf.co/api/models/x."},
    ),
    _no_model("deepseek-unknown-model", "400 for an unknown model", {"error": {"message": "Model Not Exist"}}),
    _no_model(
        "openrouter-unknown-model",
        "400 for an unknown model",
        {"error": {"message": "x/y is not a valid model ID", "code": 400}},
    ),
    _no_model(
        "litellm-proxy-unknown-model",
        "400 for an unknown model",
        {"error": {"message": "Invalid model name passed in model=m. Call `/v1/models` to view available models."}},
    ),
    _no_model("mistral-unknown-model", "400 with a code of its own", {"message": "Invalid model: m", "code": "1500"}),
    _no_model(
        "azure-unknown-deployment",
        "404 about the name of the model, and not about the address (chatboxai/chatbox#861)",
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist. If you created the deployment within "
                "the last 5 minutes, please wait a moment and try again.",
            }
        },
        "404 Not Found",
    ),
    http_error(
        "unknown-tool-is-no-unknown-model",
        "a message about a tool is not about a model",
        "400 Bad Request",
        {"error": {"message": "The model called a tool that is unknown: get_time"}},
        refused("BadRequestError", 400, "get_time"),
    ),
    http_error(
        "llamacpp-needs-jinja-one-request",
        "a 500 that is not retryable",
        "500 Internal Server Error",
        {"error": {"code": 500, "message": "tools param requires --jinja flag", "type": "server_error"}},
        refused("BadRequestError", 500, "--jinja"),
        tools=True,
        ways=CHAT,
        options=_THREE_TRIES,
    ),
    http_error(
        "lmstudio-template-one-request",
        "an error of the chat template is not retryable",
        "500 Internal Server Error",
        {"error": {"message": 'Error rendering prompt with jinja template: "Unknown test: sequence".'}},
        refused("BadRequestError", 500, "Unknown test"),
        options=_THREE_TRIES,
    ),
    WireCase(
        "xml-error-body",
        "the message of an error in XML is read, without tags",
        [
            [
                http(
                    b'<?xml version="1.0"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your &quot;rate&quot;'
                    b"</Message><RequestId>7</RequestId></Error>",
                    "503 Slow Down",
                    "application/xml",
                )
            ]
        ],
        refused("InternalServerError", 503, 'Please reduce your "rate"', retryable=True, hides=("<", "SlowDown")),
    ),
    WireCase(
        "xml-error-body-without-a-message",
        "an error in XML without a known field becomes its words",
        [[http(b"<problem><why>It broke</why></problem>", "500 Oops", "text/xml")]],
        refused("InternalServerError", 500, "It broke", retryable=True, hides=("<",)),
    ),
    *[
        http_error(
            f"server-quotes-{name}",
            "a token that is not configured here is hidden as well",
            "400 Bad Request",
            {"error": {"message": f"Upstream refused {token} again"}},
            refused("BadRequestError", 400, "Upstream refused", "again", hides=(token[:20], token[-12:])),
        )
        for name, token in (
            ("jwt", _JWT),
            ("hex-token", "0123456789abcdef0123456789abcdef"),
            ("base62-token", "vK3x9LmQ2pTz7RbY5cWd8NfHs4JgUe6A"),
        )
    ],
    http_error(
        "name-of-a-model-is-no-token",
        "the long name of a model is not a token",
        "400 Bad Request",
        {"error": {"message": "Qwen3-Coder-480B-A35B-Instruct-FP8-Dynamic is being updated"}},
        refused("BadRequestError", 400, "Qwen3-Coder-480B-A35B-Instruct-FP8-Dynamic"),
    ),
    http_error(
        "status-words-are-not-repeated",
        "a message that only repeats the status is left out",
        "401 Unauthorized",
        {"error": {"message": "Unauthorized"}},
        refused("AuthenticationError", 401, "api_key", hides=("unauthorized",)),
    ),
    http_error(
        "key-in-a-header",
        "the rejected key is in the headers of the provider",
        "401 Unauthorized",
        {"error": {"message": "Access denied due to invalid subscription key."}},
        refused("AuthenticationError", 401, "Authorization header", hides=("api_key",)),
        options={"headers": {"Authorization": f"Bearer {KEY}"}},
    ),
)
