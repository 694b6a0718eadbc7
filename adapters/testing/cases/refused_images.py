"""Servers and models without vision: images that tools returned are named once the server has refused them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.request.messages import TOOL_IMAGES
from adapters.testing.answers import answer, reply
from adapters.testing.case import Failure, Success, WireCase
from adapters.testing.cases.common import SUNNY

if TYPE_CHECKING:
    from adapters.testing.server import Seen
    from adapters.types import Message

_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
_MESSAGES: Final[tuple[Message, ...]] = (
    {"role": "user", "content": "What does the camera show?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "camera", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "call00001", "name": "camera", "content": "[image, image/png]"},
    {"role": "user", "content": [{"type": "text", "text": TOOL_IMAGES}, _IMAGE]},
)

_REFUSALS: Final = (
    ("llama-cpp", "500 Internal Server Error", "image input is not supported - hint: you may need the mmproj"),
    ("openrouter", "404 Not Found", "No endpoints found that support image input"),
    ("vllm", "400 Bad Request", "At most 0 image(s) may be provided in one prompt."),
    ("vllm-text-model", "400 Bad Request", "qwen3-8b is not a multimodal model"),
    ("lm-studio", "400 Bad Request", "Model does not support images. Please use a model that does."),
    ("sglang", "400 Bad Request", "This model does not support multimodal inputs"),
    ("mistral", "400 Bad Request", "Image input is not enabled for this model"),
    ("openai", "400 Bad Request", "Invalid content type. image_url is only supported by certain models."),
    (
        "groq",
        "400 Bad Request",
        "'messages.3' : the following must be satisfied[('messages.3.content' : value must be a string)]",
    ),
    (
        "deepseek",
        "422 Unprocessable Entity",
        "Failed to deserialize the JSON body: messages[3]: unknown variant `image_url`, expected `text`",
    ),
    ("mlx-lm", "400 Bad Request", "Only 'text' content type is supported."),
    ("ollama", "500 Internal Server Error", "this model is missing data required for image input"),
)


def _named(seen: Seen) -> bool:
    """Whether the image was sent once, and named in each request after it."""
    first, *others = [body["messages"] for body in seen.bodies]
    return (
        first[3]["content"][1] == _IMAGE
        and all("image_url" not in str(messages) for messages in others)
        and all(messages[3]["content"] == f"{TOOL_IMAGES}\n[image, image/png]" for messages in others)
    )


def _case(server: str, status: str, message: str) -> WireCase:
    refusal = reply({"error": {"message": message, "code": int(status[:3])}}, status)
    return WireCase(
        f"{server}-without-images",
        "the model has no vision",
        [refusal, answer(SUNNY)],
        Success(text=SUNNY),
        messages=_MESSAGES,
        turns=2,
        requests=3,
        saw=_named,
    )


CASES: Final = (
    *(_case(*refusal) for refusal in _REFUSALS),
    WireCase(
        "images-of-the-user-stay",
        "the user's own image is never replaced in silence: the error says that the model cannot see it",
        [reply({"error": {"message": "image input is not supported"}}, "500 Oops"), answer(SUNNY)],
        Failure("BadRequestError", status_code=500, retryable=False, says=("the model cannot see images",)),
        messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, _IMAGE]}],
    ),
    WireCase(
        "images-of-the-user-stay-beside-those-of-tools",
        "one image of the user's own among those of tools: one request, because a second would be refused, too",
        [reply({"error": {"message": "image input is not supported"}}, "500 Oops"), answer(SUNNY)],
        Failure("BadRequestError", status_code=500, retryable=False, says=("the model cannot see images",)),
        messages=(*_MESSAGES, {"role": "assistant", "content": SUNNY}, {"role": "user", "content": [_IMAGE]}),
    ),
    WireCase(
        "sound-of-the-user-stays",
        "the user's own sound is never replaced in silence",
        [reply({"error": {"message": "audio input is not supported"}}, "500 Oops"), answer(SUNNY)],
        Failure("BadRequestError", status_code=500, retryable=False, says=("the model cannot hear audio",)),
        messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}],
    ),
    WireCase(
        "vllm-fewer-images",
        "the server accepts images, but not so many",
        [
            reply(
                {"error": {"message": "At most 1 image(s) may be provided in one prompt.", "code": 400}},
                "400 Bad Request",
            )
        ],
        Failure("BadRequestError", status_code=400),
        messages=_MESSAGES,
    ),
)
