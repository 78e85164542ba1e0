"""A worker process whose handler waits for the file `go`, dies at the file `die`, and may be naive."""

import asyncio
import os
import sys
from pathlib import Path

from playhead.streams.appending.producer import Producer
from playhead.streams.events import new_event
from tests.support.workers import Enrich, working


async def main(url, directory, kind):
    async def work(task):
        (directory / f"started-{os.getpid()}").touch()
        while not (directory / "go").exists():  # another process makes it
            if (directory / "die").exists():
                os._exit(9)
            await asyncio.sleep(0.01)
        if kind == "naive":  # it appends by itself, whoever has the event by now
            with Producer(url) as producer:
                producer.append_events(
                    [new_event("note.enriched", subject="note/0", data={}, causationid=task.cause.event.id)]
                )

    async with working(url, Enrich(work), owner=str(os.getpid())):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
