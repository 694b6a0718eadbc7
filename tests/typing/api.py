"""Every public name used as a user would, for type checkers alone: nothing here ever runs.

mypy and pyright (strict) read this file, so a change that makes a user's correct code an error, or turns a type
into ``Any`` or ``Unknown``, is seen here first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, assert_type

from pydantic import BaseModel

from adapters import (
    AdapterError,
    AgentEvent,
    AllProvidersFailedError,
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContentFilterError,
    ContextWindowExceededError,
    FallbackProvider,
    IncompleteResponseError,
    InternalServerError,
    LiteLLMProvider,
    LLMProvider,
    LLMResponse,
    McpServers,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProviderConfig,
    RateLimitError,
    ResponseDone,
    StreamEvent,
    TextDelta,
    TokenUsage,
    Tool,
    ToolCall,
    ToolCallDone,
    ToolContext,
    ToolResult,
    ToolsRunning,
    create_provider,
    create_provider_from_settings,
    load_config,
    mcp_tools,
    run_turn,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Unpack

    import mcp

    from adapters.agent import AnyTool
    from adapters.config import KindName
    from adapters.config.options import ProviderOptions
    from adapters.types import BaseCallOptions, CallOptions, Message, ParsedT, ResponseFormat, ToolSpec


def make_providers() -> list[LLMProvider]:
    """Make providers in every way."""
    from_options = create_provider(
        "openai_compatible",
        model="qwen3-8b",
        base_url="http://localhost:8000/v1",
        api_key=None,
        temperature=0.7,
        max_tokens=4096,
        retry={"attempts": 3, "initial_wait_s": 0.2, "max_wait_s": 2.0, "deadline_s": 10.0},
        timeouts={"connect_s": 3, "first_token_s": 8, "first_text_s": None, "stall_s": 8, "total_s": 60},
        on_long_thinking="answer",
        max_concurrent=2,
        headers={"X-Team": "voice"},
        extra_body={"seed": 1},
    )
    assert_type(from_options, LiteLLMProvider)
    row = load_config(Path("providers.yaml")).provider("openrouter")
    assert_type(row, ProviderConfig)
    from_row = create_provider(row, model="qwen/qwen3-8b")
    assert_type(from_row, LiteLLMProvider | FallbackProvider)
    from_settings = create_provider_from_settings({"llm_provider": "groq", "groq_api_key": "…"})
    assert_type(load_config().provider(), ProviderConfig)
    group = FallbackProvider([from_options, from_row], cooldown_s=30, first_token_s=2.5, hedge_after_s="auto")
    return [from_options, from_row, from_settings, group]


async def ask(provider: LLMProvider) -> str | None:
    """Call once, with a tool, and read all fields of the response."""
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    assert_type(provider.prepare_tools(tools), list[dict[str, Any]])
    response = await provider.chat(messages, tools=tools, temperature=0.2)
    assert_type(response, LLMResponse)
    assert_type(response.content, str | None)
    assert_type(response.tool_calls, list[ToolCall])
    assert_type(response.usage, TokenUsage | None)
    assert_type(response.reasoning, str | None)
    assert_type(response.finish_reason, str | None)
    describe_journey(response)
    for call in response.tool_calls:
        assert_type(call.arguments, dict[str, Any])
        assert_type(call.error, str | None)
        result = provider.format_tool_result("21 °C", call.id, call.name)
        messages += [provider.format_tool_call_message(response.content, [call]), result]
    return response.content


class Weather(BaseModel):
    """The required form of a response."""

    city: str


def describe_journey(response: LLMResponse) -> str:
    """Read the metadata of a response."""
    assert_type(response.refusal, str | None)
    assert_type(response.logprobs, list[dict[str, Any]] | None)
    assert_type(response.native_finish_reason, str | None)
    assert_type((response.id, response.request_id), tuple[str | None, str | None])
    assert_type((response.provider, response.upstream_provider), tuple[str | None, str | None])
    assert_type((response.time_to_first_text_s, response.time_to_first_token_s), tuple[float | None, float | None])
    assert_type((response.first_text_s, response.total_s), tuple[float | None, float | None])
    assert_type(response.attempts, int | None)
    if (usage := response.usage) is not None:
        assert_type((usage.cached_tokens, usage.reasoning_tokens), tuple[int | None, int | None])
        assert_type(usage.cost, Decimal | None)
    return ", ".join(assert_type(response.dropped, tuple[str, ...]))


@dataclass
class Place:
    """Another form of a response."""

    name: str


class Forecast(TypedDict):
    """Another form of a response."""

    days: list[str]


async def ask_in_a_form(provider: LiteLLMProvider | FallbackProvider | LLMProvider) -> str | None:
    """Require responses in forms of all kinds."""
    messages = [{"role": "user", "content": "How is the weather?"}]
    response = assert_type(await provider.chat(messages, response_format=Weather), LLMResponse[Weather])
    assert_type(response.parsed, Weather | None)
    assert_type(await provider.chat(messages, response_format=Place), LLMResponse[Place])
    assert_type(await provider.chat(messages, response_format=Forecast), LLMResponse[Forecast])
    assert_type(await provider.chat(messages, response_format=list[Place]), LLMResponse[list[Place]])
    assert_type(await provider.chat(messages, response_format=Literal["yes", "no"]), LLMResponse)
    either: LLMResponse[Place | Weather] = await provider.chat(messages, response_format=Place | Weather)
    assert_type(either.parsed, Place | Weather | None)
    as_json = assert_type(await provider.chat(messages, response_format={"type": "json_object"}), LLMResponse)
    assert_type(as_json.parsed, Any | None)
    return response.parsed.city if response.parsed else None


class OwnProvider(LLMProvider):
    """A provider as CAAL writes its own."""

    @property
    def provider_name(self) -> str:
        """Name of the provider."""
        return "own"

    @property
    def model(self) -> str:
        """Name of the model."""
        return "m"

    async def chat(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> LLMResponse:
        """Return the same response to every call."""
        return LLMResponse(f"{messages} {tools} {kwargs}")

    async def chat_stream(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Stream the same response to every call."""
        yield f"{messages} {tools} {kwargs}"


class OtherProvider(LLMProvider):
    """A provider with the keywords of this library."""

    async def chat(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None = None,
        *,
        response_format: ResponseFormat[ParsedT] | None = None,
        **kwargs: Unpack[BaseCallOptions],
    ) -> LLMResponse[ParsedT]:
        """Pass a call on."""
        return await OwnProvider().chat(messages, tools, response_format=response_format, **kwargs)


async def ask_with_options(provider: LLMProvider, options: CallOptions, server_options: dict[str, Any]) -> None:
    """Pass options of a call, and parameters that only one server has."""
    messages = [{"role": "user", "content": "Hello"}]
    await provider.chat(
        messages,
        timeout=3,
        max_retries=0,
        extra_headers={"X-Turn": "7"},
        extra_body={"guided_choice": ["yes", "no"]},
        tool_choice={"type": "function", "function": {"name": "clock"}},
        top_p=0.9,
        top_k=5,
        seed=None,
        stop=["."],
        reasoning_effort="low",
    )
    await provider.chat(messages, **options)
    await provider.chat(messages, **server_options)
    provider.stream_events(messages, first_token_timeout=2.5, first_text_timeout=4, **server_options)


def make_with_options(kind: KindName, options: ProviderOptions, other: dict[str, Any]) -> list[LLMProvider]:
    """Pass options on."""
    provider = create_provider(kind, **options)
    assert_type(provider, LiteLLMProvider)
    return [provider, create_provider("groq", **other)]


async def stream(provider: LLMProvider) -> AsyncIterator[str]:
    """Stream text alone, then text and calls of one request."""
    messages = [{"role": "user", "content": "Hello"}]
    async for text in provider.chat_stream(messages, max_tokens=100):
        yield assert_type(text, str)
    assert_type(provider.last_response, LLMResponse | None)
    async for event in provider.stream_events(messages, tools=[]):
        yield describe(event)
    async for event in provider.stream_events(messages, tools=[], tool_choice="none"):
        yield describe(event)


def describe(event: StreamEvent) -> str:
    """Match the three events; a fourth would be a type error."""
    match event:
        case TextDelta(text=text):
            return text
        case ToolCallDone(tool_call=call):
            return call.name
        case ResponseDone(response=response):
            return response.content or ""


def get_weather(city: str, unit: Annotated[str, "c or f"] = "c") -> dict[str, Any]:
    """A tool that runs in a thread."""
    return {"city": city, "unit": unit}


async def lights_off(room: ToolContext[str]) -> None:
    """A tool with a context."""
    assert_type(room.context, str)
    assert_type(room.tool_call, ToolCall)


async def turn(provider: LLMProvider, client: mcp.Client) -> AsyncIterator[str]:
    """Run a turn with tools of every kind, and with none."""
    messages = [{"role": "user", "content": "Hello"}]
    definition = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    slow = Tool(get_weather, name="slow_weather", timeout_s=math.inf)
    from_server = assert_type(await mcp_tools(client, timeout_s=5), list[Tool])
    tools: list[AnyTool] = [get_weather, lights_off, slow, definition, *from_server]

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        return f"{name} {arguments}"

    events = run_turn(provider, messages, tools, call_tool, context="kitchen", filler_after_s=1.5, temperature=0.2)
    async for event in events:
        match event:
            case ToolsRunning(names=names, waited_s=waited_s):
                yield f"{', '.join(names)} takes {assert_type(waited_s, float)} s"
            case ToolResult(content=content, failed=failed):
                assert_type(failed, bool)
                yield content
            case _:
                yield describe(event)
    await events.aclose()
    async with McpServers(load_config().mcp_servers) as servers:
        assert_type(await servers.tools(), list[Tool])
    async for event in run_turn(provider, messages, timeout=5, response_format=Weather):
        yield name_of(event)


def name_of(event: AgentEvent) -> str:
    """Name an event of a turn."""
    return type(event).__name__


def total(responses: list[LLMResponse]) -> TokenUsage:
    """Add usages."""
    usages = [response.usage for response in responses if response.usage is not None]
    return assert_type(sum(usages[1:], usages[0]), TokenUsage)


async def live(provider: LLMProvider) -> tuple[str, str, bool, TokenUsage | None]:
    """Use a provider as a context manager, and close it."""
    async with provider as entered:
        await entered.prewarm()
    await provider.aclose()
    return provider.provider_name, provider.model, provider.supports_think, provider.last_usage


async def explain(provider: LLMProvider) -> str:
    """Catch each error of a request, the narrow before the broad."""
    try:
        answer = await ask(provider)
    except (AuthenticationError, PaymentRequiredError, PermissionDeniedError, NotFoundError) as error:
        return f"{error.provider} {error.model} {error.status_code}"
    except (ContextWindowExceededError, ContentFilterError, BadRequestError) as error:
        return str(error)
    except (RateLimitError, InternalServerError, APITimeoutError, APIConnectionError, IncompleteResponseError) as error:
        return "again" if error.retryable else f"{error.retry_after_s} {error.request_id}"
    except AllProvidersFailedError as error:
        return str(assert_type(error.errors, tuple[APIError, ...])[-1])
    except APIError as error:
        return str(error.__cause__)
    return answer or ""


def explain_the_rest(error: AdapterError) -> str:
    """Catch errors that belong to no request."""
    if isinstance(error, ConfigError):
        return str(assert_type(error.args, tuple[Any, ...]))
    return str(error)
