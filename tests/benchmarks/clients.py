"""How each peer is asked: what a user of it would write, without retries, one class each.

A peer keeps the conversation and the tools in the form that it wants, made before anything is measured, because an
application would keep them so too. Everything heavy is imported inside, so that the import can be measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from adapters.config import KindName

KEY = "sk-test-0123456789"


class NotOfferedError(Exception):
    """The peer has no such call."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        base_url: Address of the server, with ``/v1``.
        message_count: Messages of the conversation; the last one is the user's.
        tool_count: Tools that are offered with it.
    """

    base_url: str
    message_count: int = 1
    tool_count: int = 0

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation in OpenAI format: a system prompt if there is room for it, then turn by turn."""
        turns = [
            {"role": "assistant" if number % 2 else "user", "content": f"message {number} about the weather"}
            for number in range(self.message_count - (self.message_count > 1))
        ]
        return [{"role": "system", "content": "You are a voice agent."}] * (self.message_count > 1) + turns

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools in OpenAI format."""
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
        return [
            {
                "type": "function",
                "function": {"name": f"tool_{number}", "description": "Does a thing.", "parameters": parameters},
            }
            for number in range(self.tool_count)
        ]

    @property
    def tool_arguments(self) -> dict[str, Any]:
        """The tools as keyword arguments: none at all where there is no tool."""
        return {"tools": self.tools} if self.tool_count else {}


def route_address(route: str, question: Question) -> str:
    """Return what LiteLLM wants as address: Anthropic's is without the version."""
    return question.base_url.removesuffix("/v1") if route == "anthropic" else question.base_url


class Client:
    """One way to ask.

    Attributes:
        title: Its name in the tables.
        library: The module that is imported to use it.
        distribution: What is installed for it; its version is told with the results.
    """

    title: ClassVar[str]
    library: ClassVar[str]
    distribution: ClassVar[str]

    def __init__(self, question: Question) -> None:
        self.question = question

    def stream(self, model: str) -> AsyncIterator[str]:
        """Ask for a streamed answer; its pieces of text."""
        raise NotOfferedError(model)

    async def whole(self, model: str) -> str:
        """Ask for an answer in one piece."""
        raise NotOfferedError(model)

    def routed(self, route: str, model: str) -> AsyncIterator[str]:
        """Ask for a streamed answer over one of LiteLLM's routes; its pieces of text.

        Args:
            route: ``openai``, or ``anthropic``, whose API LiteLLM translates.
            model: Name of the model.
        """
        raise NotOfferedError(route, model)

    async def prewarm(self, model: str, *, freeze_gc: bool = False) -> None:  # noqa: ARG002 - for those that offer it
        """Do what the peer offers for a fast first answer.

        Args:
            model: Name of the model.
            freeze_gc: Whether to exempt the objects of the process from garbage collection too.
        """
        raise NotOfferedError(model)

    async def aclose(self) -> None:
        """Give back what is open, where the process goes on."""


class Adapters(Client):
    """This package."""

    title = "adapters"
    library = "adapters"
    distribution = "caal-llm-adapters"
    kind: KindName = "openai_compatible"

    def __init__(self, question: Question) -> None:
        from adapters import LiteLLMProvider, LLMProvider, TextDelta, create_provider

        super().__init__(question)
        _ = LiteLLMProvider  # loaded here, as in a program that makes its provider before its loop has something to do

        @cache
        def provider(model: str, kind: KindName, base_url: str = question.base_url) -> LLMProvider:
            return create_provider(kind, model=model, base_url=base_url, api_key=KEY)

        self._text_delta, self._provider, self._providers = TextDelta, provider, set[LLMProvider]()
        self._messages, self._tools = question.messages, question.tools or None

    def _asked(self, model: str) -> Any:
        provider = self._provider(model, self.kind)
        self._providers.add(provider)
        return provider

    def stream(self, model: str) -> AsyncIterator[str]:
        return self._texts(self._asked(model))

    def routed(self, route: str, model: str) -> AsyncIterator[str]:
        provider = self._provider(f"{route}/{model}", "litellm", route_address(route, self.question))
        self._providers.add(provider)
        return self._texts(provider)

    async def _texts(self, provider: Any) -> AsyncIterator[str]:
        async for event in provider.stream_events(self._messages, tools=self._tools):
            if isinstance(event, self._text_delta):
                yield event.text

    async def whole(self, model: str) -> str:
        return str((await self._asked(model).chat(self._messages, tools=self._tools)).content)

    async def prewarm(self, model: str, *, freeze_gc: bool = False) -> None:
        await self._asked(model).prewarm(freeze_gc=freeze_gc)

    async def aclose(self) -> None:
        for provider in self._providers:
            await provider.aclose()


class AdaptersOpenRouter(Adapters):
    """This package, by LiteLLM's other way out."""

    title = "adapters, openrouter/"
    kind: KindName = "openrouter"


class OpenAI(Client):
    """The SDK that people would use instead: the yardstick."""

    title = "openai SDK"
    library = "openai"
    distribution = "openai"

    def __init__(self, question: Question) -> None:
        from openai import AsyncOpenAI

        self._client: Any = AsyncOpenAI(base_url=question.base_url, api_key=KEY, max_retries=0)
        self._arguments = {"messages": question.messages, **question.tool_arguments}

    async def stream(self, model: str) -> AsyncIterator[str]:
        create = self._client.chat.completions.create
        async for chunk in await create(
            model=model, stream=True, stream_options={"include_usage": True}, **self._arguments
        ):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    async def whole(self, model: str) -> str:
        answer = await self._client.chat.completions.create(model=model, **self._arguments)
        return str(answer.choices[0].message.content)

    async def aclose(self) -> None:
        await self._client.close()


class LiteLLM(Client):
    """LiteLLM without us."""

    title = "LiteLLM"
    library = "litellm"
    distribution = "litellm"

    def __init__(self, question: Question) -> None:
        import litellm

        super().__init__(question)
        litellm.suppress_debug_info = True
        litellm.disable_streaming_logging = True
        self._litellm: Any = litellm
        self._arguments = {
            "messages": question.messages,
            "api_base": question.base_url,
            "api_key": KEY,
            "max_retries": 0,
            "num_retries": 0,
            **question.tool_arguments,
        }

    def stream(self, model: str) -> AsyncIterator[str]:
        return self.routed("openai", model)

    async def routed(self, route: str, model: str) -> AsyncIterator[str]:
        arguments = {**self._arguments, "api_base": route_address(route, self.question)}
        async for chunk in await self._litellm.acompletion(model=f"{route}/{model}", stream=True, **arguments):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    async def whole(self, model: str) -> str:
        answer = await self._litellm.acompletion(model=f"openai/{model}", **self._arguments)
        return str(answer.choices[0].message.content)


class BareAiohttp(Client):
    """HTTP, lines and ``json``: the lower bound for clients of this HTTP library."""

    title = "bare aiohttp"
    library = "aiohttp"
    distribution = "aiohttp"

    def __init__(self, question: Question) -> None:
        import aiohttp

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"authorization": f"Bearer {KEY}"}
        )
        self._url = f"{question.base_url}/chat/completions"
        self._body = {"messages": question.messages, **question.tool_arguments}

    async def stream(self, model: str) -> AsyncIterator[str]:
        async with self._session.post(self._url, json={"model": model, "stream": True, **self._body}) as response:
            async for line in response.content:
                if line.startswith(b"data:") and b"[DONE]" not in line:
                    choices = json.loads(line[5:])["choices"]
                    if choices and (text := choices[0]["delta"].get("content")):
                        yield text

    async def whole(self, model: str) -> str:
        async with self._session.post(self._url, json={"model": model, **self._body}) as response:
            return str((await response.json())["choices"][0]["message"]["content"])

    async def aclose(self) -> None:
        await self._session.close()


OURS: Mapping[str, type[Client]] = {
    "adapters": Adapters,
    "adapters-openrouter": AdaptersOpenRouter,
    "openai": OpenAI,
    "litellm": LiteLLM,
    "aiohttp": BareAiohttp,
}
"""What runs beside this package."""
