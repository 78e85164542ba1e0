"""Connections of many tasks that one of them closes."""

import asyncio
from contextlib import suppress

from playhead.consumers.processes.broker import connect, make_broker
from playhead.streams.redis.refusals import AWAY


async def close_and_use(url: str) -> int:
    """Close a Cluster's connections again and again while tasks use them; how often the least lucky got an answer."""
    broker = make_broker(url)
    client = await connect(broker, url)
    done = asyncio.Event()

    async def use(key: str) -> int:
        times = 0
        while not done.is_set():
            with suppress(*AWAY):
                await client.get(key)
                times += 1
        return times

    users = [asyncio.create_task(use(str(number))) for number in range(20)]
    for _ in range(100):
        await client.aclose()
        await asyncio.sleep(0.002)
    done.set()
    times = await asyncio.gather(*users)
    await broker.stop()
    return min(times)
