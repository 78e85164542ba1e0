"""The lease of a partition, renewed while a reader serves it."""

import asyncio
import time
from collections.abc import Callable

from redis.exceptions import ResponseError

from playhead.consumers.reading.group import Group
from playhead.streams.redis.refusals import AWAY, is_passing


async def keep_lease(group: Group, seconds: float, renewed: Callable[[], None], lost: Callable[[], None]) -> None:
    """Renew the lease until canceled; a Redis that is away is waited for as long as the lease would last.

    Raises:
        Exception: why the lease may be another's by now; `lost` was called before.
    """
    held_until = time.monotonic() + seconds
    try:
        while True:
            await asyncio.sleep(seconds / 4)
            try:
                await group.renew()
            except (*AWAY, ResponseError) as error:
                if is_passing(error) and time.monotonic() < held_until:
                    continue
                raise
            renewed()
            held_until = time.monotonic() + seconds
    except Exception:
        lost()
        raise
