"""`playhead parked`: events that a consumer set aside."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from consumers.parked import Parked, ParkedEvents
from playhead.registry import STREAMS
from playhead.settings import load, servers
from streams.connections import connect
from streams.errors import InvalidSetting
from streams.partitions import Partition

parked_app = App(name="parked", help="Events that a consumer set aside after they failed for good.")

DataDir = Annotated[Path | None, Parameter("--data-dir")]


@parked_app.command(name="list")
def list_parked(
    consumer: str | None = None,
    *,
    data_dir: DataDir = None,
    json: Annotated[bool, Parameter("--json", negative=())] = False,
) -> None:
    """List parked events with their reasons.

    Example:
        playhead parked list jobs
    """
    found = [parked for _, parked in _all(consumer, data_dir)]
    if json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    for parked in found:
        print(
            f"{parked.id}  {parked.consumer}  {parked.subject}  {parked.type}  {parked.reason_class}: {parked.reason}"
        )


@parked_app.command
def show(consumer: str, id: str, *, data_dir: DataDir = None) -> int:
    """Print every field of one parked event.

    Example:
        playhead parked show jobs 1754541721120-0
    """
    for events, parked in _all(consumer, data_dir):
        if parked.id == id and (fields := events.show(id)) is not None:
            print(msgspec.json.format(msgspec.json.encode(fields), indent=2).decode())
            return 0
    print(f"playhead: {consumer} has no parked event {id}", file=sys.stderr)
    return 1


@parked_app.command
def retry(consumer: str, id: str | None = None, *, data_dir: DataDir = None) -> int:
    """Let the consumer try parked events again, in order; all of them, or those of one event's subject.

    Example:
        playhead parked retry jobs
    """
    chosen = [(events, parked) for events, parked in _all(consumer, data_dir) if id in {None, parked.id}]
    for events, parked in chosen:
        events.request_retry(parked)
    print(f"{len(chosen)} to be tried again; `playhead parked list {consumer}` shows what stays")
    return 0 if chosen or id is None else 1


@parked_app.command
def drop(consumer: str, id: str, *, data_dir: DataDir = None) -> int:
    """Give one parked event up for this consumer; the log still has it.

    Example:
        playhead parked drop jobs 1754541721120-0
    """
    for events, parked in _all(consumer, data_dir):
        if parked.id == id:
            events.drop(parked)
            print(f"dropped {parked.type} {parked.subject}")
            return 0
    print(f"playhead: {consumer} has no parked event {id}", file=sys.stderr)
    return 1


def _all(consumer: str | None, data_dir: Path | None) -> Iterator[tuple[ParkedEvents, Parked]]:
    if consumer is not None and consumer not in STREAMS:
        raise InvalidSetting(f"there is no consumer {consumer!r}; there are {', '.join(STREAMS)}")
    settings = load(data_dir)
    client = connect(servers(settings, postgres=False).redis_url)
    for name in [consumer] if consumer else STREAMS:
        for stream in STREAMS[name]:
            for number in range(settings.partitions):
                events = ParkedEvents(client, name, Partition(stream, number))
                for parked in list(events):
                    yield events, parked
