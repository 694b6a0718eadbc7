"""``LLMService``: any provider as the language model of a pipecat pipeline (the extra ``pipecat``).

The only module that imports pipecat. It converts frames, values and errors: the provider owns timeouts and retries,
pipecat runs the tools. When the user interrupts, pipecat cancels the task that reads the response, which closes the
request at once.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from adapters import errors
from adapters._call_ids import make_call_id
from adapters.provider import closing, stream_without_end, with_formatted_calls
from adapters.request.provider_fields import ProviderFieldsMemory
from adapters.transport.errors.classify import lacks_modality
from adapters.types import TextDelta, ToolCall, ToolCallDone

try:
    from pipecat.adapters.llm.base_llm_adapter import LLMContextConversionError
    from pipecat.adapters.llm.services.open_ai_adapter import OpenAILLMAdapter
    from pipecat.frames import frames
    from pipecat.metrics.metrics import LLMTokenUsage
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.services import llm_service
    from pipecat.services.settings import LLMSettings
    from pipecat.utils.errors import ErrorCategory
    from pipecat.utils.types import is_given
except ImportError as error:
    text = "adapters.pipecat needs pipecat. Install it with: pip install 'caal-llm-adapters[pipecat]'"
    raise ImportError(text) from error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection

    from pipecat.processors.frame_processor import FrameDirection

    from adapters.provider import LLMProvider
    from adapters.types import Json, Message, TokenUsage, ToolSpec

_PARAMETERS = ("temperature", "max_tokens", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")

_CATEGORIES: tuple[tuple[type[errors.APIError], ErrorCategory], ...] = (
    (errors.AllProvidersFailedError, ErrorCategory.UNKNOWN),  # several servers have no common reason
    (errors.AuthenticationError, ErrorCategory.AUTHENTICATION),
    (errors.PermissionDeniedError, ErrorCategory.AUTHORIZATION),
    (errors.NotFoundError, ErrorCategory.INVALID_REQUEST),
    (errors.PaymentRequiredError, ErrorCategory.QUOTA),
    (errors.RateLimitError, ErrorCategory.RATE_LIMIT),
    (errors.APIConnectionError, ErrorCategory.CONNECTIVITY),
    # Only this request is wrong. After INVALID_REQUEST pipecat would not use the service again.
    (errors.BadRequestError, ErrorCategory.APPLICATION),
)
"""Error class -> pipecat's category; the first class that fits. Every other error is the server's."""


_MODALITIES = {"image_url": "image", "input_audio": "audio", "video_url": "video"}
"""Type of a content part -> what the model would have to read."""


class LLMService(llm_service.LLMService):
    """A pipecat LLM service that sends its requests through a provider.

    ::

        llm = LLMService(create_provider("openrouter", model="…"))
        pipeline = Pipeline([transport.input(), stt, user_aggregator, llm, tts, …])

    Text, tools (``register_function``, or handlers in the context), interruption, and metrics of usage and time to
    first token work as with pipecat's own services. An ``ErrorFrame`` holds one or two sentences that can be spoken.
    After an error about the key, its permissions or the model's name, pipecat does not use the service again; after
    any other error it does.

    Pipecat's context has no place for fields that a provider needs back with a tool call (a thought signature,
    reasoning). The service stores them for its own pipeline; another service that continues the context lacks them.

    Args:
        provider: The provider. It is warmed up when the pipeline starts, and closed with it. If its server is local,
            or it has ``prefill: true``, it also gets the context of the aggregator in front of this service then.
        settings: Sampling parameters and the system instruction; the provider decides what is not given here. Its
            ``model`` is shown in metrics and does not change which model is used.
        **kwargs: Arguments of pipecat's ``LLMService``.
    """

    adapter_class = OpenAILLMAdapter
    supports_response_schema = True

    def __init__(self, provider: LLMProvider, *, settings: LLMSettings | None = None, **kwargs: Any) -> None:
        merged = LLMSettings(
            model=provider.model,
            system_instruction=None,
            filter_incomplete_user_turns=False,
            user_turn_completion_config=None,
            use_provider_thinking_default=True,
            **dict.fromkeys(_PARAMETERS),
        )
        if settings is not None:
            merged.apply_update(settings)
        super().__init__(settings=merged, **kwargs)
        self._provider = provider
        self._provider_fields = ProviderFieldsMemory()
        self._prewarming: asyncio.Task[None] | None = None

    def can_generate_metrics(self) -> bool:
        """Return True: there are metrics of usage, processing and time to first token."""
        return True

    async def start(self, frame: frames.StartFrame) -> None:
        """Begin to warm the provider up while the rest of the pipeline starts."""
        await super().start(frame)
        self._prewarming = self.create_task(self._prewarm())

    async def _prewarm(self) -> None:
        """Prewarm the provider; prefill the context if its settings want that and no question came meanwhile."""
        began_s = time.monotonic()
        await self._provider.prewarm()
        with suppress(errors.ConfigError, LLMContextConversionError):  # the first question raises it
            messages, tools, options = await self._request(self._context_before())
            await self._provider._prefill(messages, tools, options, since_s=began_s)  # noqa: SLF001 - of the contract, for plug-ins

    def _context_before(self) -> LLMContext:
        """Return the context of the aggregator in front of this service, or an empty one; no frame has it yet."""
        processor = self.previous
        while processor is not None and not isinstance(context := getattr(processor, "context", None), LLMContext):
            processor = processor.previous
        return LLMContext() if processor is None else context

    async def cleanup(self) -> None:
        """Stop a running prewarm and close the provider."""
        await super().cleanup()
        if self._prewarming is not None:
            await self.cancel_task(self._prewarming)
        await self._provider.aclose()

    async def process_frame(self, frame: frames.Frame, direction: FrameDirection) -> None:
        """Answer a conversation; pass every other frame on.

        Args:
            frame: The frame.
            direction: Its direction.
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
        """Send one request outside the pipeline; pipecat summarizes long conversations with it.

        Args:
            context: The conversation.
            max_tokens: Limit of this request, or None for that of the settings.
            system_instruction: Replaces that of the settings, unless None.
            response_schema: JSON schema of the response, or None.

        Returns:
            The text of the response, or None if it has none.

        Raises:
            APIError: If the request failed.
        """
        messages, tools, options = await self._request(context, system_instruction)
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
        """Push the texts of a response as they arrive, then have pipecat run its calls."""
        messages, tools, options = await self._request(context)
        calls: list[ToolCall] = []
        usage: TokenUsage | None = None
        is_complete = False
        await self.start_ttfb_metrics()
        try:
            async with closing(self._provider.stream_events(messages, tools, **options)) as events:
                async for event in events:
                    await self.stop_ttfb_metrics()
                    if isinstance(event, TextDelta):
                        usage = event.usage or usage
                        await self._push_llm_text(event.text)
                    elif isinstance(event, ToolCallDone):
                        await self.stop_ttfat_metrics()
                        calls.append(event.tool_call)
                    else:
                        usage, is_complete = event.response.usage, True
        finally:  # also when the response is interrupted, as pipecat's own services do
            if usage is not None:
                await self.start_llm_usage_metrics(_usage(usage))
        if not is_complete:
            raise stream_without_end(self._provider)
        calls = _with_new_ids(calls, messages)
        self._provider_fields.remember(messages, calls)
        await self._run(calls, context)

    async def _request(
        self, context: LLMContext, system_instruction: str | None = None
    ) -> tuple[list[Message], list[ToolSpec] | None, dict[str, Json]]:
        """Messages, tools and options of a request, in OpenAI format."""
        converted = await self.get_llm_adapter().get_llm_invocation_params(
            context,
            system_instruction=system_instruction or self._settings.system_instruction,
            convert_developer_to_user=False,
        )
        settings = {name: getattr(self._settings, name) for name in _PARAMETERS}
        options = {name: value for name, value in settings.items() if is_given(value) and value is not None}
        options |= self._settings.extra
        tools = converted["tools"] or None
        if tools and is_given(context.tool_choice) and context.tool_choice != "auto":  # the default of providers
            options["tool_choice"] = context.tool_choice
        restored = self._provider_fields.restore(converted["messages"])
        return [with_formatted_calls(self._provider, message) for message in restored], tools, options

    async def _run(self, calls: list[ToolCall], context: LLMContext) -> None:
        """Have pipecat run the calls. A call that could not be parsed gets a result that tells the model why."""
        pending = {
            call.id: frames.FunctionCallFromLLM(
                function_name=call.name, tool_call_id=call.id, arguments=call.arguments, context=context
            )
            for call in calls
        }
        invalid = [call for call in calls if call.error is not None]
        for call in invalid:
            is_last = len(invalid) == len(calls) and call is invalid[-1]
            await self._reject(call, pending.pop(call.id), run_llm=is_last)
        await self.run_function_calls(list(pending.values()))

    async def _reject(self, call: ToolCall, pending: frames.FunctionCallFromLLM, *, run_llm: bool) -> None:
        """Write into the conversation why a call was not run; the last result of a round starts the next request."""
        named = {"function_name": call.name, "tool_call_id": call.id, "arguments": call.arguments}
        reason = f"The tool {call.name} was not run: {call.error}"
        await self.broadcast_frame(frames.FunctionCallsStartedFrame, function_calls=[pending])
        await self.broadcast_frame(frames.FunctionCallInProgressFrame, **named, cancel_on_interruption=True)
        await self.broadcast_frame(
            frames.FunctionCallResultFrame, **named, result=reason, run_llm=run_llm, error=call.error
        )

    async def _fail(self, context: LLMContext, error: errors.AdapterError | LLMContextConversionError) -> None:
        """Push an error upstream; a file that may have caused it is removed, or every later turn would fail too."""
        message = str(error)
        if isinstance(error, LLMContextConversionError):
            message = "A file in the conversation could not be sent."
        _remove_files(context, error)
        if isinstance(error, errors.APITimeoutError):
            await self._call_event_handler("on_completion_timeout")
        await self.push_error(message, error, category=_category(error))


def _with_new_ids(calls: list[ToolCall], messages: list[Message]) -> list[ToolCall]:
    """Give an id of its own to each call whose id is in the conversation already.

    Some servers use the same ids in each turn, and pipecat writes a result to every call with its id.
    """
    taken = {call.get("id") for message in messages for call in message.get("tool_calls") or []}
    return [replace(call, id=make_call_id()) if call.id in taken else call for call in calls]


def _remove_files(context: LLMContext, error: Exception) -> None:
    """Remove from a context what the model cannot read, or a file that the server may have rejected."""
    failures = _flatten(error)
    upstream = [failure._upstream for failure in failures if isinstance(failure, errors.APIError)]
    modalities = {lacks_modality(reported) for reported in upstream if reported is not None} - {None}
    if modalities:
        for message in context.get_messages():
            if isinstance(message, dict) and isinstance(message.get("content"), list):
                message["content"] = [_name_if(part, modalities) for part in message["content"]]
    elif any(isinstance(failure, LLMContextConversionError | errors.BadRequestError) for failure in failures):
        context.remove_invalid_file_message()


def _flatten(error: Exception) -> list[Exception]:
    """Return the errors of all providers of a group, or the error itself."""
    if isinstance(error, errors.AllProvidersFailedError):
        return [failure for member in error.errors for failure in _flatten(member)]
    return [error]


def _name_if(part: Json, modalities: Collection[str | None]) -> Json:
    """Replace a part by its name, such as ``[image, image/png]``, if it is of one of these modalities."""
    kind = part.get("type") if isinstance(part, dict) else None
    modality, mime_type = _MODALITIES.get(str(kind)), None
    if kind in ("file_base64", "file_url"):
        mime_type = str(part["file"]["mime_type"])
        modality = mime_type.partition("/")[0]
        if modality not in _MODALITIES.values():
            modality = "file"
    if modality not in modalities:
        return part
    return {"type": "text", "text": f"[{modality}, {mime_type}]" if mime_type else f"[{modality}]"}


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
        cache_creation_input_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )
