"""`playhead parked`: events that a consumer set aside."""

from collections.abc import Iterator
from pathlib import Path

from cyclopts import App

from playhead.consumers.reading.parked import Parked, ParkedEvents, parked_anywhere
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidSetting
from playhead.streams.redis.connections import connect
from playhead.terminal.exit_codes import FAILED
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import one_line, print_json, print_lines, print_table, say

parked_app = App(name="parked", help="List, retry and drop events that failed permanently.")


@parked_app.command(name="list")
def list_parked(
    consumer: str | None = None,
    /,
    *,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List parked events with the reason, also of consumers whose domain is not installed here.

    POSITION is what `playhead append` printed. The other commands take the ID.

    Args:
        consumer: The consumer; all of them if omitted.

    Example:
        playhead parked list jobs
    """
    found = [parked for _, parked in _all(consumer, data_dir)]
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "POSITION", "CONSUMER", "SUBJECT", "TYPE", "REASON"),
        [
            (one.id, one.appended, one.consumer, one.subject, one.type, f"{one.reason_class}: {one_line(one.reason)}")
            for one in found
        ],
    )


@parked_app.command
def show(consumer: str, id: str, /, *, data_dir: DataDir = None) -> int:
    """Print one parked event: its id, position and reason, and every field as it was appended.

    Args:
        consumer: The consumer that parked it.
        id: Its id, as `playhead parked list` prints it.

    Example:
        playhead parked show jobs 1754541721120-0
    """
    for events, parked in _all(consumer, data_dir):
        if parked.id == id and (fields := events.show(id)) is not None:
            about = {"parked_id": id, "parked_position": parked.appended}
            about |= {"parked_class": parked.reason_class, "parked_reason": parked.reason}
            print_json(about | fields | about)
            return 0
    return _not_there(consumer, id)


@parked_app.command
def retry(consumer: str, id: str | None = None, /, *, data_dir: DataDir = None) -> int:
    """Let the consumer retry its parked events in order: all of them, or those of one event's subject.

    Args:
        consumer: The consumer that parked them.
        id: An event's id, as `playhead parked list` prints it; all events if omitted.

    Example:
        playhead parked retry jobs
    """
    chosen = [(events, parked) for events, parked in _all(consumer, data_dir) if id in {None, parked.id}]
    if id is not None and not chosen:
        return _not_there(consumer, id)
    for events, parked in chosen:
        events.request_retry(parked)
    print_lines(f"{len(chosen)} will be retried; `playhead parked list {consumer}` shows those that stay parked")
    return 0


@parked_app.command
def drop(consumer: str, id: str, /, *, data_dir: DataDir = None) -> int:
    """Drop one parked event for this consumer; the log still has it.

    Events that waited behind it stay parked until `playhead parked retry`.

    Args:
        consumer: The consumer that parked it.
        id: Its id, as `playhead parked list` prints it.

    Example:
        playhead parked drop jobs 1754541721120-0
    """
    for events, parked in _all(consumer, data_dir):
        if parked.id == id and events.drop(parked):
            print_lines(f"dropped {parked.type} {parked.subject}")
            waiting = sum(parked.blocks and one.subject == parked.subject for one in events)
            if waiting:
                print_lines(
                    f"{waiting} more of {parked.subject} parked: `playhead parked retry {consumer}` applies what it can"
                )
            return 0
    return _not_there(consumer, id)


def _not_there(consumer: str, id: str) -> int:
    say(f"{consumer} has no parked event {id}; `playhead parked list {consumer}` prints ids")
    return FAILED


def _all(consumer: str | None, data_dir: Path | None) -> Iterator[tuple[ParkedEvents, Parked]]:
    """Parked events of one consumer or all, in the order of what is installed, then those of other consumers."""
    reads = installed().reads
    settings = load(data_dir)
    client = connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)
    found = parked_anywhere(client)
    if consumer is not None and consumer not in reads and consumer not in found:
        raise InvalidSetting(
            f"there is no consumer {consumer!r}; there are {', '.join(dict.fromkeys([*reads, *found]))}"
        )
    for name in [consumer] if consumer else dict.fromkeys([*reads, *found]):
        for partition in found.get(name, ()):
            events = ParkedEvents(client, name, partition)
            for parked in list(events):
                yield events, parked
