"""A web service that streams answers as server-sent events; ``/ready`` is for a load balancer or Kubernetes.

uvicorn web_streaming:app
curl -N -d '{"question": "Good morning!"}' http://localhost:8000/ask
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from adapters import APIError, create_provider, load_config

provider = create_provider(load_config().provider())  # config/providers.yaml, or the file of $ADAPTERS_CONFIG


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load LiteLLM before the first request, and close the connections at the end."""
    async with provider:
        await provider.prewarm()
        yield


async def events(question: str) -> AsyncIterator[str]:
    """Yield one event per piece of text, and one at the end. If the client disconnects, the request is closed."""
    try:
        async for text in provider.chat_stream([{"role": "user", "content": question}]):
            yield f"data: {json.dumps({'text': text})}\n\n"
    except APIError as error:
        yield f"data: {json.dumps({'error': str(error)})}\n\n"
    yield "data: [DONE]\n\n"


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    """What a client sends."""

    question: str


@app.post("/ask")
async def ask(body: Question) -> StreamingResponse:
    """Stream the answer to a question."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx must not buffer it
    return StreamingResponse(events(body.question), media_type="text/event-stream", headers=headers)


@app.get("/ready")
async def ready() -> dict[str, bool]:
    """Respond as soon as the service is loaded."""
    return {"ready": True}
