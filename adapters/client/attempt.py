"""One try: send the request, turn payloads into events, and end well or with the error that says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.errors import APIConnectionError, APIError, UpstreamError
from adapters.response.chunks import parse_chunk
from adapters.transport.endpoint import RedactedDict
from adapters.types import ResponseDone, TextDelta, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from adapters.request.chat_request import ChatRequest
    from adapters.response.assembler import ResponseAssembler
    from adapters.transport.body import ResponseBody
    from adapters.transport.deadlines import Deadlines
    from adapters.transport.provider_transport import ProviderTransport
    from adapters.types import Json, StreamEvent


async def attempt(
    connection: ProviderTransport, request: ChatRequest, answer: ResponseAssembler, deadlines: Deadlines
) -> AsyncGenerator[StreamEvent, None]:
    """Send one request and read its answer.

    Args:
        connection: The way to the server.
        request: What is sent.
        answer: Grows with what comes; good for one try.
        deadlines: The clock of this try.

    Yields:
        ``TextDelta`` as it comes, then ``ToolCallDone`` for each call, then one ``ResponseDone``. Texts that arrived
        together are one.

    Raises:
        CallInsteadOfText: If text was wanted, and the model wants to call a tool instead; before any event.
        APIError: If it failed, also after some text.
    """
    body: ResponseBody | None = None
    trouble: APIError | None = None
    try:
        try:
            body = await connection.ask(
                RedactedDict({"messages": request.messages, **request.body}),
                RedactedDict(request.headers),
                stream=request.stream,
                deadlines=deadlines,
            )
            answer.request_id = body.request_id
        except APIError as error:
            trouble = _unless_rescued(error, answer)
        while body is not None and trouble is None and not answer.has_ended:
            payloads = await body.read()
            text = _take(payloads, answer, deadlines, body)
            trouble = _trouble_of(body, answer)
            if text and not body.is_whole:
                deadlines.pause()
                yield TextDelta(text, answer.id)
                deadlines.resume()
            if not payloads:
                break
        for event in _end(answer, trouble, whole=body is not None and body.is_whole):
            yield event
    finally:
        if body is not None and answer.is_over:
            body.release()
        elif body is not None:
            body.close()


def _take(payloads: list[Json], answer: ResponseAssembler, deadlines: Deadlines, body: ResponseBody) -> str:
    """Feed the answer with what the body has brought; returns the text that it may speak now."""
    texts = []
    for payload in payloads:
        chunk = parse_chunk(payload)
        texts.append(answer.feed(chunk, whole=body.is_whole))
        if chunk.is_useful:
            deadlines.token_received()
    if answer.is_over and not body.has_ended:
        deadlines.response_complete()
    return "".join(texts)


def _trouble_of(body: ResponseBody, answer: ResponseAssembler) -> APIError | None:
    """The error that what was read last amounts to, or None if it is, or may become, a good answer."""
    if body.trouble is None:
        if body.has_ended:
            answer.end()
        return answer.failed() if answer.has_failed else None
    if answer.is_over and isinstance(body.trouble, APIConnectionError):
        return None  # it had said before that it was finished
    return _unless_rescued(body.trouble, answer)


def _unless_rescued(error: APIError, answer: ResponseAssembler) -> APIError | None:
    """The error, unless the server put into it what the model wrote and it could not read (Groq)."""
    cause = error.__cause__
    return None if isinstance(cause, UpstreamError) and answer.recover(cause) else error


def _end(answer: ResponseAssembler, trouble: APIError | None, *, whole: bool) -> Iterator[StreamEvent]:
    """The end of the answer: what was held back, then the calls and the whole, or the error.

    Before the first text is given out, another try is worth more than words that are held back.

    Args:
        answer: The answer, which takes no more chunks.
        trouble: Why nothing more came, or None.
        whole: Whether it came in one piece. Then its text is given out only if all of it is good.
    """
    if trouble is not None and (whole or not answer.has_text):
        raise trouble
    text = answer.flush()
    if text and not whole:
        yield TextDelta(text, answer.id)
    if trouble is not None:
        raise trouble
    response = answer.build().response
    if whole and response.content:
        yield TextDelta(response.content, answer.id)
    for tool_call in response.tool_calls:
        yield ToolCallDone(tool_call, answer.id)
    yield ResponseDone(response)
