"""``LLMService``: any provider as the language model of a pipecat pipeline (the extra ``pipecat``).

The only import of pipecat. It translates frames, values and errors and nothing else: the provider owns timeouts and
retries, pipecat runs the tools. When a person interrupts, pipecat cancels the task that reads the answer, which closes
the request at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters import errors
from adapters.provider import closing, with_formatted_calls
from adapters.types import TextDelta, ToolCall, ToolCallDone

try:
    from pipecat.adapters.llm.base_llm_adapter import LLMContextConversionError
    from pipecat.adapters.llm.services.open_ai_adapter import OpenAILLMAdapter
    from pipecat.frames import frames
    from pipecat.metrics.metrics import LLMTokenUsage
    from pipecat.services import llm_service
    from pipecat.services.settings import LLMSettings
    from pipecat.utils.errors import ErrorCategory
    from pipecat.utils.types import is_given
except ImportError as error:
    text = "adapters.pipecat needs pipecat. Install it with: pip install 'caal-llm-adapters[pipecat]'"
    raise ImportError(text) from error

if TYPE_CHECKING:
    import asyncio

    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.frame_processor import FrameDirection

    from adapters.provider import LLMProvider
    from adapters.types import Json, Message, TokenUsage, ToolSpec

_PARAMETERS = ("temperature", "max_tokens", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")

_CATEGORIES: tuple[tuple[type[errors.APIError], ErrorCategory], ...] = (
    (errors.AllProvidersFailedError, ErrorCategory.UNKNOWN),  # no server's reason is that of all
    (errors.AuthenticationError, ErrorCategory.AUTHENTICATION),
    (errors.PermissionDeniedError, ErrorCategory.AUTHORIZATION),
    (errors.NotFoundError, ErrorCategory.INVALID_REQUEST),
    (errors.PaymentRequiredError, ErrorCategory.QUOTA),
    (errors.RateLimitError, ErrorCategory.RATE_LIMIT),
    (errors.APIConnectionError, ErrorCategory.CONNECTIVITY),
    # Of this one request, and not of the service: pipecat would ask it no more after an "invalid request".
    (errors.BadRequestError, ErrorCategory.APPLICATION),
)
"""Why a request failed, in pipecat's words; the first class that fits. Anything else is the server's fault."""


class LLMService(llm_service.LLMService):
    """A pipecat LLM service that asks a provider.

    ::

        llm = LLMService(create_provider("openrouter", model="…"))
        pipeline = Pipeline([transport.input(), stt, user_aggregator, llm, tts, …])

    Text, tools (``register_function``, or handlers in the context), interruption, and metrics of usage and first
    token work as with pipecat's own services. An ``ErrorFrame`` holds one or two sentences that can be spoken. A key,
    a permission or a model that is wrong makes the service unusable, as pipecat has it; no other error does.

    Args:
        provider: Who answers. It is warmed up when the pipeline starts, and closed with it.
        settings: Sampling parameters and the system instruction; what is not given here the provider decides. Its
            ``model`` is what metrics show, the provider knows whom it asks.
        **kwargs: Arguments of pipecat's ``LLMService``.
    """

    adapter_class = OpenAILLMAdapter
    supports_response_schema = True

    def __init__(self, provider: LLMProvider, *, settings: LLMSettings | None = None, **kwargs: Any) -> None:
        wanted = LLMSettings(
            model=provider.model,
            system_instruction=None,
            filter_incomplete_user_turns=False,
            user_turn_completion_config=None,
            use_provider_thinking_default=True,
            **dict.fromkeys(_PARAMETERS),
        )
        if settings is not None:
            wanted.apply_update(settings)
        super().__init__(settings=wanted, **kwargs)
        self._provider = provider
        self._warming: asyncio.Task[None] | None = None

    def can_generate_metrics(self) -> bool:
        """Whether there are metrics: yes, of usage, processing and first token."""
        return True

    async def start(self, frame: frames.StartFrame) -> None:
        """Begin to warm the provider up, beside the rest of the pipeline."""
        await super().start(frame)
        self._warming = self.create_task(self._provider.prewarm())

    async def cleanup(self) -> None:
        """Stop a running prewarm and close the provider."""
        await super().cleanup()
        if self._warming is not None:
            await self.cancel_task(self._warming)
        await self._provider.aclose()

    async def process_frame(self, frame: frames.Frame, direction: FrameDirection) -> None:
        """Answer a conversation; all other frames go on their way.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, frames.LLMContextFrame):
            await self._answer(frame.context)
        else:
            await self.push_frame(frame, direction)

    async def run_inference(
        self,
        context: LLMContext,
        max_tokens: int | None = None,
        system_instruction: str | None = None,
        response_schema: dict[str, Any] | None = None,
    ) -> str | None:
        """Ask once, beside the pipeline; pipecat sums long conversations up with it.

        Args:
            context: The conversation.
            max_tokens: Limit of this request, or None for that of the settings.
            system_instruction: In place of that of the settings, or None.
            response_schema: JSON schema of the answer, or None.

        Returns:
            The text of the answer, or None if it has none.

        Raises:
            APIError: If the request failed.
        """
        messages, tools, options = await self._question(context, system_instruction)
        if max_tokens is not None:
            options["max_tokens"] = max_tokens
        if response_schema is not None:
            schema = {"name": "response", "schema": response_schema, "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        response = await self._provider.chat(messages, tools, **options)
        return response.content

    async def _answer(self, context: LLMContext) -> None:
        await self.push_frame(frames.LLMFullResponseStartFrame())
        await self.start_processing_metrics()
        try:
            await self._stream(context)
        except (errors.AdapterError, LLMContextConversionError) as error:
            await self._fail(context, error)
        finally:
            await self.stop_processing_metrics()
            await self.push_frame(frames.LLMFullResponseEndFrame())

    async def _stream(self, context: LLMContext) -> None:
        """Push the texts of an answer as they come, then have pipecat run its calls."""
        messages, tools, options = await self._question(context)
        calls: list[ToolCall] = []
        await self.start_ttfb_metrics()
        async with closing(self._provider.stream_events(messages, tools, **options)) as events:
            async for event in events:
                await self.stop_ttfb_metrics()
                if isinstance(event, TextDelta):
                    await self._push_llm_text(event.text)
                elif isinstance(event, ToolCallDone):
                    await self.stop_ttfat_metrics()
                    calls.append(event.tool_call)
                elif event.response.usage is not None:
                    await self.start_llm_usage_metrics(_usage(event.response.usage))
        await self._run(calls, context)

    async def _question(
        self, context: LLMContext, system_instruction: str | None = None
    ) -> tuple[list[Message], list[ToolSpec] | None, dict[str, Json]]:
        """Messages, tools and options of a request, in OpenAI format."""
        asked = await self.get_llm_adapter().get_llm_invocation_params(
            context,
            system_instruction=system_instruction or self._settings.system_instruction,
            convert_developer_to_user=False,
        )
        settings = {name: getattr(self._settings, name) for name in _PARAMETERS}
        options = {name: value for name, value in settings.items() if is_given(value) and value is not None}
        options |= self._settings.extra
        tools = asked["tools"] or None
        if tools and is_given(context.tool_choice) and context.tool_choice != "auto":  # which providers do anyway
            options["tool_choice"] = context.tool_choice
        return [with_formatted_calls(self._provider, message) for message in asked["messages"]], tools, options

    async def _run(self, calls: list[ToolCall], context: LLMContext) -> None:
        """Have pipecat run the calls; one that could not be read is answered in its place, so that the model knows."""
        asked = {
            call.id: frames.FunctionCallFromLLM(
                function_name=call.name, tool_call_id=call.id, arguments=call.arguments, context=context
            )
            for call in calls
        }
        unreadable = [call for call in calls if call.error is not None]
        for call in unreadable:
            is_last = len(unreadable) == len(calls) and call is unreadable[-1]
            await self._refuse(call, asked.pop(call.id), ask_again=is_last)
        await self.run_function_calls(list(asked.values()))

    async def _refuse(self, call: ToolCall, asked: frames.FunctionCallFromLLM, *, ask_again: bool) -> None:
        """Tell the conversation why a call was not run; the model is asked again by the last result of a round."""
        named = {"function_name": call.name, "tool_call_id": call.id, "arguments": call.arguments}
        reason = f"The tool {call.name} was not run: {call.error}"
        await self.broadcast_frame(frames.FunctionCallsStartedFrame, function_calls=[asked])
        await self.broadcast_frame(frames.FunctionCallInProgressFrame, **named, cancel_on_interruption=True)
        await self.broadcast_frame(
            frames.FunctionCallResultFrame, **named, result=reason, run_llm=ask_again, error=call.error
        )

    async def _fail(self, context: LLMContext, error: errors.AdapterError | LLMContextConversionError) -> None:
        """Push an error upstream; a file that may have caused it is taken out, or every later turn would fail too."""
        message = str(error)
        if isinstance(error, LLMContextConversionError):
            message = "A file in the conversation could not be sent."
        if isinstance(error, LLMContextConversionError | errors.BadRequestError):
            context.remove_invalid_file_message()
        if isinstance(error, errors.APITimeoutError):
            await self._call_event_handler("on_completion_timeout")
        await self.push_error(message, error, category=_category(error))


def _category(error: errors.AdapterError | LLMContextConversionError) -> ErrorCategory:
    if not isinstance(error, errors.APIError):
        return ErrorCategory.APPLICATION
    return next((category for kind, category in _CATEGORIES if isinstance(error, kind)), ErrorCategory.SERVER)


def _usage(usage: TokenUsage) -> LLMTokenUsage:
    return LLMTokenUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        cache_read_input_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )
