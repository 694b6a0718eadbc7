"""A LiveKit agent with a tool (extra ``livekit``).

python livekit_agent.py dev                  serves rooms; needs LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET
python livekit_agent.py text "How are you?"  answers one question in text mode, without a room
"""

import asyncio
import sys

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, function_tool

from adapters import create_provider
from adapters.livekit import LLM


class Assistant(Agent):
    """The agent: instructions and tools."""

    def __init__(self) -> None:
        super().__init__(instructions="You are a voice assistant. Answer in one sentence.")

    @function_tool
    async def get_weather(self, city: str) -> str:
        """Current weather in a city."""
        return f"It is sunny in {city}."


def create_llm() -> LLM:
    """Create the LLM; closing it closes its provider."""
    provider = create_provider(
        "openai_compatible",
        model="qwen3-8b",
        base_url="http://gpu-box:8000/v1",
        prewarm=True,  # loads LiteLLM in the background while the rest of the agent starts
    )
    return LLM(provider)


server = AgentServer()


@server.rtc_session()
async def talk(ctx: JobContext) -> None:
    """Talk to the participants of a room."""
    llm = create_llm()
    ctx.add_shutdown_callback(llm.aclose)
    session = AgentSession(llm=llm, stt="deepgram/nova-3", tts="cartesia/sonic-3")
    await session.start(Assistant(), room=ctx.room)
    await session.generate_reply(instructions="Greet the user.")


async def answer(question: str) -> str:
    """Answer one question in text mode."""
    async with create_llm() as llm, AgentSession(llm=llm) as session:
        await session.start(Assistant())
        result = await session.run(user_input=question)
        return result.events[-1].item.text_content


if __name__ == "__main__":
    if sys.argv[1:2] == ["text"]:
        print(asyncio.run(answer(" ".join(sys.argv[2:]))))
    else:
        cli.run_app(server)
