"""Report calls to the callbacks that the program has registered with LiteLLM (Langfuse, MLflow, custom loggers …).

LiteLLM builds a request of this library and sees nothing of its response, so LiteLLM itself has nothing true to report
(see ``transport.capture``). Instead each request is reported here, once, when it is over: LiteLLM's own logging object
is filled with the real messages and the real outcome, and its own handlers price, redact and deliver it. That happens
after the response, in LiteLLM's background worker.

Without registered callbacks nothing is imported, built or awaited. An error in here is logged and never reaches a call.
"""

# pyright: reportPrivateImportUsage=false, reportArgumentType=false
# LiteLLM's modules do not declare what they export.

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

from adapters import errors
from adapters.telemetry.prices import PROVIDERS_BY_HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from adapters.types import Json, LLMResponse, Message

_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")

_FLUSH_S = 2.0  # closing a provider waits this long for callbacks that are slow, such as uploads

_LITELLM_CLASSES: Mapping[type[errors.APIError], str] = {
    errors.AuthenticationError: "AuthenticationError",
    errors.RateLimitError: "RateLimitError",
    errors.ContextWindowExceededError: "ContextWindowExceededError",
    errors.ContentFilterError: "ContentPolicyViolationError",
    errors.BadRequestError: "BadRequestError",
    errors.NotFoundError: "NotFoundError",
    errors.APITimeoutError: "Timeout",
    errors.APIConnectionError: "APIConnectionError",
    errors.InternalServerError: "InternalServerError",
}
"""LiteLLM's class for each error, subclasses first; any other is an ``APIError`` with its status."""

_PROVIDERS_BY_HOST: Mapping[str, str] = {**PROVIDERS_BY_HOST, "openrouter.ai": "openrouter"}
"""LiteLLM's provider by host. Any other server is not priced: a private one may serve a model of a famous name."""

_UNPRICED_PROVIDER = "custom_openai"


def _never_fails(
    method: Callable[Concatenate[RequestReport, _P], None],
) -> Callable[Concatenate[RequestReport, _P], None]:
    """Log an error instead of raising it: a report must not fail the call that it is about."""

    def guarded(self: RequestReport, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - LiteLLM and its callbacks raise anything
            _logger.warning("LiteLLM's callbacks could not be called (%s).", type(error).__name__)

    return guarded


class RequestReport:
    """The report of one request. It ends with ``succeeded``, ``interrupted`` or ``failed``; only the first one counts.

    Args:
        route: LiteLLM's prefix of the model, such as ``openai/``, or "" if the model has it.
        model: Name of the model.
        base_url: Address of the server, or "".
        messages: The messages as they are sent; copied, because callbacks may change theirs.
        body: The other fields of the request.
        stream: Whether the response is streamed.
        metadata: The caller's ``metadata``: user, tags, trace ids.
        attempt: Number of the request within its call, from 1.
    """

    def __init__(
        self,
        *,
        route: str,
        model: str,
        base_url: str,
        messages: list[Message],
        body: Mapping[str, Json],
        stream: bool,
        metadata: Mapping[str, Json],
        attempt: int,
    ) -> None:
        self._began = datetime.now()  # noqa: DTZ005 - LiteLLM compares it with times that have no zone
        self._model = model
        self._full_model = f"{route}{model}"
        self._base_url = base_url
        host = urlsplit(base_url).hostname or ""
        named = self._full_model.partition("/")[0] if not route else ""
        self._provider = named or _PROVIDERS_BY_HOST.get(host, _UNPRICED_PROVIDER)
        self._metadata = {**metadata, "attempt": attempt}
        self._record: Any = None
        self._start([dict(message) for message in messages], dict(body), stream=stream)

    @_never_fails
    def _start(self, messages: list[Message], body: dict[str, Json], *, stream: bool) -> None:
        """Create LiteLLM's logging object, which also initialises callbacks that are registered by name."""
        from litellm.utils import Rules, function_setup

        call_id = str(uuid.uuid4())
        record, _ = function_setup(
            "acompletion",
            Rules(),
            self._began,
            model=self._full_model,
            messages=messages,
            stream=stream,
            litellm_call_id=call_id,
            metadata=self._metadata,
        )
        record.stream_options = body.get("stream_options")
        record.update_environment_variables(
            model=self._model,
            user=body.get("user"),
            optional_params=body,
            litellm_params={
                "api_base": self._base_url,
                "metadata": self._metadata,
                "acompletion": True,  # the asynchronous handlers deliver, once
                "litellm_call_id": call_id,
                "model": self._full_model,
            },
            custom_llm_provider=self._provider,
        )
        self._record = record
        sent = {"model": self._model, "messages": messages, **body}
        arguments = {"api_base": self._base_url, "headers": {}, "complete_input_dict": sent}
        record.pre_call(input=messages, api_key="", additional_args=arguments)

    @_never_fails
    def first_token(self) -> None:
        """Note the time of the first useful token."""
        if self._record is not None and self._record.completion_start_time is None:
            now = datetime.now()  # noqa: DTZ005 - as above
            self._record.completion_start_time = self._record.model_call_details["completion_start_time"] = now

    @_never_fails
    def succeeded(self, response: LLMResponse) -> None:
        """Report a response."""
        if (record := self._take()) is not None:
            _deliver_success(record, self._response(response), self._began)

    @_never_fails
    def interrupted(self, response: LLMResponse) -> None:
        """Report a response that the caller left, as a success marked ``interrupted``; its usage is unknown."""
        if (record := self._take()) is not None:
            self._metadata["interrupted"] = True
            record.litellm_params["metadata"]["interrupted"] = True
            _deliver_success(record, self._response(response), self._began)

    @_never_fails
    def failed(self, error: Exception) -> None:
        """Report a failure, as the exception that LiteLLM would have raised; its text is the error's own."""
        if (record := self._take()) is not None:
            _deliver_failure(record, _as_litellm_error(error, self._full_model, self._provider), self._began)

    def _take(self) -> Any:  # noqa: ANN401 - LiteLLM's classes are unknown to mypy
        record, self._record = self._record, None
        return record

    def _response(self, response: LLMResponse) -> object:
        """Return the response as LiteLLM's class."""
        import litellm

        message: dict[str, Any] = {"role": "assistant", "content": response.content}
        if response.reasoning:
            message["reasoning_content"] = response.reasoning
        if response.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
                }
                for call in response.tool_calls
            ]
        choice = {"index": 0, "finish_reason": response.finish_reason or "stop", "message": message}
        built: Any = litellm.ModelResponse(
            id=response.id, model=response.model or self._model, created=int(self._began.timestamp()), choices=[choice]
        )
        built._hidden_params = {"api_base": self._base_url, "custom_llm_provider": self._provider}  # noqa: SLF001 - read by LiteLLM
        if (usage := response.usage) is not None:
            counted: dict[str, Any] = {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            }
            if usage.cached_tokens is not None:
                counted["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
            if usage.cache_write_tokens is not None:
                counted["cache_creation_input_tokens"] = usage.cache_write_tokens
            if usage.reasoning_tokens is not None:
                counted["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
            built.usage = litellm.Usage(**counted)
            if usage.cost is not None:
                built._hidden_params["response_cost"] = float(usage.cost)  # noqa: SLF001 - as above
        return built


async def flush() -> None:
    """Wait a bounded time until the callbacks of this event loop have received their reports."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    with contextlib.suppress(Exception):  # what is left is delivered when the process ends
        async with asyncio.timeout(_FLUSH_S):
            await GLOBAL_LOGGING_WORKER.flush()


def _deliver_success(record: Any, response: object, began: datetime) -> None:  # noqa: ANN401 - as above
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
    from litellm.litellm_core_utils.thread_pool_executor import executor

    ended = datetime.now()  # noqa: DTZ005 - as above
    GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue(
        async_coroutine=record.async_success_handler(result=response, start_time=began, end_time=ended)
    )
    if sys.modules["litellm"].success_callback:  # functions that are not asynchronous are called in a thread
        executor.submit(record.success_handler, response, began, ended, cache_hit=False)


def _deliver_failure(record: Any, error: Exception, began: datetime) -> None:  # noqa: ANN401 - as above
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
    from litellm.litellm_core_utils.thread_pool_executor import executor

    ended = datetime.now()  # noqa: DTZ005 - as above
    GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue(
        async_coroutine=record.async_failure_handler(error, "", began, ended)
    )
    if sys.modules["litellm"].failure_callback:  # as above
        executor.submit(record.failure_handler, error, "", began, ended)


def _as_litellm_error(error: Exception, model: str, provider: str) -> Exception:
    """Return an error of LiteLLM's class for ours; tracebacks, which may show the prompt, are left behind."""
    litellm: ModuleType = sys.modules["litellm"]
    status = getattr(error, "status_code", None)
    name = next((name for kind, name in _LITELLM_CLASSES.items() if isinstance(error, kind)), "APIError")
    fields: dict[str, Any] = {"message": str(error), "llm_provider": provider, "model": model}
    if name == "APIError":
        fields["status_code"] = status or 500
    translated: Exception = getattr(litellm, name)(**fields)
    return translated
