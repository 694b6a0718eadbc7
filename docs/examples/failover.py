"""Failover between the providers of failover.yaml, with a line that says which one answered."""

import asyncio
import logging
from pathlib import Path

from adapters import AllProvidersFailedError, create_provider, load_config


async def main() -> None:
    """Ask one question."""
    logging.basicConfig(level=logging.INFO)  # the log has a line for each failover and each recovery
    config = load_config(Path(__file__).with_name("failover.yaml"))
    async with create_provider(config.provider()) as llm:
        await llm.prewarm()
        try:
            response = await llm.chat([{"role": "user", "content": "Good morning!"}])
        except AllProvidersFailedError as error:
            print(error, [str(one) for one in error.errors])
            return
        passed_over = [f"{other.provider} ({other.error or 'slower'})" for other in response.fallback_from]
        print(f"{response.provider}: {response.content}", *passed_over)


if __name__ == "__main__":
    asyncio.run(main())
