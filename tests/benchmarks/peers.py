"""How the peers that get an environment of their own are asked, in the same way as those of ``clients``."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.benchmarks.clients import KEY, OURS, Client, NotOfferedError, OpenAI, Question

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class NewestOpenAI(OpenAI):
    """The newest SDK, which LiteLLM does not allow beside itself."""

    title = "openai SDK, newest"


class PydanticAI(Client):
    """pydantic-ai without an agent around it: its direct requests."""

    title = "pydantic-ai"
    library = "pydantic_ai.models.openai"
    distribution = "pydantic-ai-slim"

    def __init__(self, question: Question) -> None:
        from pydantic_ai.direct import model_request, model_request_stream
        from pydantic_ai.models import ModelRequestParameters
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider
        from pydantic_ai.tools import ToolDefinition

        provider = OpenAIProvider(base_url=question.base_url, api_key=KEY)
        self._request, self._request_stream = model_request, model_request_stream
        self._model = cache(lambda name: OpenAIChatModel(name, provider=provider))
        self._messages = [self._message(message) for message in question.messages]
        tools = [tool["function"] for tool in question.tools]
        self._parameters = ModelRequestParameters(
            function_tools=[
                ToolDefinition(
                    name=tool["name"], parameters_json_schema=tool["parameters"], description=tool["description"]
                )
                for tool in tools
            ]
        )

    @staticmethod
    def _message(message: dict[str, Any]) -> Any:
        from pydantic_ai import messages

        content = message["content"]
        if message["role"] == "assistant":
            return messages.ModelResponse(parts=[messages.TextPart(content)])
        part = messages.UserPromptPart if message["role"] == "user" else messages.SystemPromptPart
        return messages.ModelRequest(parts=[part(content)])

    async def stream(self, model: str) -> AsyncIterator[str]:
        from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

        asked = self._request_stream(self._model(model), self._messages, model_request_parameters=self._parameters)
        async with asked as events:
            async for event in events:
                if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                    yield event.delta.content_delta
                elif isinstance(event, PartStartEvent) and isinstance(event.part, TextPart) and event.part.content:
                    yield event.part.content

    async def whole(self, model: str) -> str:
        answer = await self._request(self._model(model), self._messages, model_request_parameters=self._parameters)
        return str(answer.parts[0].content)


class LangChain(Client):
    """The chat model of langchain-openai."""

    title = "langchain-openai"
    library = "langchain_openai"
    distribution = "langchain-openai"

    def __init__(self, question: Question) -> None:
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
        from langchain_openai import ChatOpenAI

        kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
        self._messages = [kinds[message["role"]](message["content"]) for message in question.messages]

        @cache
        def chat_model(name: str) -> Any:
            made = ChatOpenAI(model=name, base_url=question.base_url, api_key=KEY, max_retries=0, stream_usage=True)
            return made.bind_tools(question.tools) if question.tools else made

        self._model = chat_model

    async def stream(self, model: str) -> AsyncIterator[str]:
        async for chunk in self._model(model).astream(self._messages):
            if chunk.content:
                yield chunk.content

    async def whole(self, model: str) -> str:
        return str((await self._model(model).ainvoke(self._messages)).content)


class AnyLLM(Client):
    """Mozilla's layer of the same kind."""

    title = "any-llm"
    library = "any_llm"
    distribution = "any-llm-sdk"

    def __init__(self, question: Question) -> None:
        import any_llm

        self._llm: Any = any_llm.AnyLLM.create("openai", api_key=KEY, api_base=question.base_url, max_retries=0)
        self._arguments = {"messages": question.messages, **question.tool_arguments}

    async def stream(self, model: str) -> AsyncIterator[str]:
        async for chunk in await self._llm.acompletion(model=model, stream=True, **self._arguments):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    async def whole(self, model: str) -> str:
        return str((await self._llm.acompletion(model=model, **self._arguments)).choices[0].message.content)


class LiveKit(Client):
    """LiveKit's official plug-in, which streams everything."""

    title = "livekit-plugins-openai"
    library = "livekit.plugins.openai"
    distribution = "livekit-plugins-openai"

    def __init__(self, question: Question) -> None:
        from livekit.agents import llm
        from livekit.plugins import openai

        async def call(raw_arguments: dict[str, object]) -> None:
            """Stand for any tool; the server never calls it."""

        self._model = cache(lambda name: openai.LLM(model=name, base_url=question.base_url, api_key=KEY))
        self._context = llm.ChatContext.empty()
        for message in question.messages:
            self._context.add_message(role=message["role"], content=message["content"])
        self._tools = [llm.function_tool(call, raw_schema=tool["function"]) for tool in question.tools]

    async def stream(self, model: str) -> AsyncIterator[str]:
        async with self._model(model).chat(chat_ctx=self._context, tools=self._tools) as chunks:
            async for chunk in chunks:
                if chunk.delta and chunk.delta.content:
                    yield chunk.delta.content

    async def prewarm(self, model: str, *, freeze_gc: bool = False) -> None:
        if freeze_gc:
            raise NotOfferedError(model)
        llm = self._model(model)
        llm.prewarm()
        await llm._prewarm_task


PEERS: Mapping[str, type[Client]] = {
    "openai-newest": NewestOpenAI,
    "pydantic-ai": PydanticAI,
    "langchain-openai": LangChain,
    "any-llm": AnyLLM,
    "livekit-plugins-openai": LiveKit,
}
"""What gets an environment of its own."""

REQUIREMENTS: Mapping[str, str] = {
    "openai-newest": "openai",
    "pydantic-ai": "pydantic-ai-slim[openai]",
    "langchain-openai": "langchain-openai",
    "any-llm": "any-llm-sdk[openai]",
    "livekit-plugins-openai": "livekit-plugins-openai",
}
"""What is installed there; the newest of each."""

CLIENTS: Mapping[str, type[Client]] = {**OURS, **PEERS}
