"""A pipecat pipeline with a tool (extra ``pipecat``). Add transport, STT and TTS to make it a voice agent."""

import asyncio

from pipecat.frames.frames import EndFrame, Frame, LLMFullResponseEndFrame, LLMRunFrame, LLMTextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.workers.runner import WorkerRunner

from adapters import create_provider
from adapters.pipecat import LLMService


async def get_weather(params: FunctionCallParams, city: str) -> None:
    """Current weather in a city.

    Args:
        params: The call, to which pipecat returns the result.
        city: Name of the city.
    """
    await params.result_callback(f"It is sunny in {city}.")


class Printer(FrameProcessor):
    """Prints the text that a TTS service would speak.

    Attributes:
        answered: Is set at the end of a response with text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()
        self._has_text = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Print a text frame, and pass every frame on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame):
            self._has_text = True
            print(frame.text, end="", flush=True)
        await self.push_frame(frame, direction)
        if isinstance(frame, LLMFullResponseEndFrame) and self._has_text:
            self.answered.set()


async def main() -> None:
    """Run one turn: question, tool call, result, answer."""
    llm = LLMService(create_provider("openai_compatible", model="qwen3-8b", base_url="http://gpu-box:8000/v1"))
    context = LLMContext([{"role": "user", "content": "What is the weather in Paris?"}], tools=[get_weather])
    aggregators = LLMContextAggregatorPair(context)
    printer = Printer()
    worker = PipelineWorker(Pipeline([aggregators.user(), llm, printer, aggregators.assistant()]))
    runner = WorkerRunner()
    await runner.add_workers(worker)
    await worker.queue_frames([LLMRunFrame()])
    running = asyncio.create_task(runner.run())
    await printer.answered.wait()
    await worker.queue_frames([EndFrame()])
    await running


if __name__ == "__main__":
    asyncio.run(main())
