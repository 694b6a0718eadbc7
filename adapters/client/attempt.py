"""One attempt: send the request, turn payloads into events, and end with the response or with the error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from adapters.errors import APIConnectionError, APIError
from adapters.response.chunks import parse_chunk
from adapters.transport.endpoint import RedactedDict
from adapters.types import ResponseDone, TextDelta, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from adapters.request.chat_request import ChatRequest
    from adapters.response.assembler import ResponseAssembler
    from adapters.transport.body import Body
    from adapters.transport.deadlines import Deadlines
    from adapters.transport.provider_transport import ProviderTransport
    from adapters.types import Json, StreamEvent


async def attempt(
    transport: ProviderTransport, request: ChatRequest, assembler: ResponseAssembler, deadlines: Deadlines
) -> AsyncGenerator[StreamEvent, None]:
    """Send one request and read its response.

    Args:
        transport: The connections to the server.
        request: The request.
        assembler: Collects the response; used for one attempt.
        deadlines: The time limits of the attempt.

    Yields:
        ``TextDelta`` as text arrives, then ``ToolCallDone`` for each call, then one ``ResponseDone``. Texts that
        arrived together are one event.

    Raises:
        CallInsteadOfTextError: If calls are forbidden and the model calls a tool; before any event.
        APIError: If the attempt failed, possibly after some text.
    """
    body: Body | None = None
    error: APIError | None = None
    try:
        try:
            body = await transport.send(
                RedactedDict({"messages": request.messages, **request.body}),
                RedactedDict(request.headers),
                stream=request.stream,
                deadlines=deadlines,
            )
            deadlines.head_at_s = time.monotonic()
            assembler.request_id = body.request_id
        except APIError as failed:
            error = _unless_recovered(failed, assembler)
        while body is not None and error is None and not assembler.has_ended:
            payloads = await body.read()
            is_end = not payloads
            text = _feed(payloads, assembler, deadlines, body)
            error = _error_of(body, assembler)
            if text and not body.is_whole:
                deadlines.pause()
                yield TextDelta(text, assembler.id, assembler.usage)
                deadlines.resume()
            del text  # an error tracker that records variables must not see the response
            if is_end:
                break
        for event in _finish(assembler, error, whole=body is not None and body.is_whole):
            yield event
    finally:
        if body is not None and assembler.is_over:
            body.release()
        elif body is not None:
            body.close()
        deadlines.release()


async def read_first_token(transport: ProviderTransport, request: ChatRequest, deadlines: Deadlines) -> None:
    """Send one request and read its response up to the first useful token.

    A response that ends there, as one of one token does, leaves its connection for the next request.

    Args:
        transport: The connections to the server.
        request: A streamed request.
        deadlines: The time limits of the request.

    Raises:
        APIError: If there is no response, or it brings an error before its first token.
    """
    body: Body | None = None
    tokens = 0
    try:
        body = await transport.send(
            RedactedDict({"messages": request.messages, **request.body}),
            RedactedDict(request.headers),
            stream=True,
            deadlines=deadlines,
        )
        while payloads := await body.read():
            tokens += sum(parse_chunk(payload).is_useful for payload in payloads)
            payloads.clear()  # an error tracker that records variables must not see the response
            if tokens > 1 and not body.has_ended:
                return  # the server ignores the limit
            if tokens:
                deadlines.response_complete()  # the rest gets a bounded time
        if body.error is not None and not tokens:
            raise body.error
    finally:
        if body is not None and body.has_ended and body.error is None:
            body.release()
        elif body is not None:
            body.close()
        deadlines.release()


def _feed(payloads: list[Json], assembler: ResponseAssembler, deadlines: Deadlines, body: Body) -> str:
    """Feed payloads to the assembler and return the text that may be spoken now."""
    texts = []
    try:
        for chunk in map(parse_chunk, payloads):
            texts.append(assembler.feed(chunk, whole=body.is_whole))
            if chunk.is_useful:
                deadlines.token_received()
                if deadlines.output_at_s is None and (texts[-1] or chunk.calls or assembler.has_begun_call):
                    deadlines.output_at_s = deadlines.silent_since_s
    except APIError:
        payloads.clear()  # an error tracker that records variables must not see the response
        texts.clear()
        raise
    if assembler.is_over and not body.has_ended:
        deadlines.response_complete()
    return "".join(texts)


def _error_of(body: Body, assembler: ResponseAssembler) -> APIError | None:
    """Return the error after the last read, or None if the response is good or may still become so."""
    if body.error is None:
        if body.has_ended:
            assembler.has_ended = True
        return assembler.failed() if assembler.has_failed else None
    if assembler.is_over and isinstance(body.error, APIConnectionError):
        return None  # the response was complete before the connection broke
    return _unless_recovered(body.error, assembler)


def _unless_recovered(error: APIError, assembler: ResponseAssembler) -> APIError | None:
    """Return the error, or None if it quotes a generation that can be used (Groq's ``tool_use_failed``)."""
    upstream = error._upstream
    return None if upstream is not None and assembler.recover(upstream) else error


def _finish(assembler: ResponseAssembler, error: APIError | None, *, whole: bool) -> Iterator[StreamEvent]:
    """Yield held-back text, the calls and the response, or raise the error.

    Held-back text is not emitted before an error if there was no text yet: another attempt is worth more. For the same
    reason the text of a response that came in one piece is emitted only if all of it is good.

    Args:
        assembler: The response, which takes no more chunks.
        error: Why nothing more came, or None.
        whole: Whether the response came in one piece.
    """
    if error is not None and (whole or not assembler.has_text):
        raise error
    text = assembler.flush()
    if text and not whole:
        yield TextDelta(text, assembler.id)
    del text  # an error tracker that records variables must not see it
    if error is not None:
        raise error
    response = assembler.build().response
    if whole and response.content:
        yield TextDelta(response.content, assembler.id)
    for tool_call in response.tool_calls:
        yield ToolCallDone(tool_call, assembler.id)
    yield ResponseDone(response)
