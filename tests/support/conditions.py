"""Waiting for a condition in a loop; outside of one, the fixture `wait_until` does it."""

import asyncio


async def until(condition, seconds=200):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # the condition is in Redis
            await asyncio.sleep(0.01)
