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

    POSITION is what `playhead append` printed. The other commands take the ID. If two partitions have the same one,
    write STREAM/NUMBER/ID, such as jobs/3/1754541721120-0.

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
    found = _one(consumer, id, data_dir)
    if found is None or (fields := found[0].show(found[1].id)) is None:
        return _not_there(consumer, id)
    parked = found[1]
    about = {"parked_id": parked.id, "parked_position": parked.appended}
    about |= {"parked_class": parked.reason_class, "parked_reason": parked.reason}
    print_json(about | fields | about)
    return 0


@parked_app.command
def retry(consumer: str, id: str | None = None, /, *, data_dir: DataDir = None) -> int:
    """Let the consumer retry its parked events in order: all of them, or those of one event's subject.

    Args:
        consumer: The consumer that parked them.
        id: An event's id, as `playhead parked list` prints it; all events if omitted.

    Example:
        playhead parked retry jobs
    """
    if id is None:
        chosen = list(_all(consumer, data_dir))
    elif (found := _one(consumer, id, data_dir)) is None:
        return _not_there(consumer, id)
    else:
        chosen = [found]
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
    found = _one(consumer, id, data_dir)
    if found is None or not found[0].drop(found[1]):
        return _not_there(consumer, id)
    events, parked = found
    print_lines(f"dropped {parked.type} {parked.subject}")
    waiting = sum(parked.blocks and one.subject == parked.subject for one in events)
    if waiting:
        print_lines(
            f"{waiting} more of {parked.subject} parked: `playhead parked retry {consumer}` applies what it can"
        )
    return 0


def _one(consumer: str, id: str, data_dir: Path | None) -> tuple[ParkedEvents, Parked] | None:
    """The parked event with an id, None if there is none.

    Raises:
        InvalidSetting: each of several partitions has one.
    """
    named = ((one, {one[1].id, f"{one[1].partition}/{one[1].id}"}) for one in _all(consumer, data_dir))
    found = [one for one, names in named if id in names]
    if len(found) > 1:
        names = ", ".join(f"{parked.partition}/{parked.id}" for _, parked in found)
        raise InvalidSetting(f"{id} is the id of several events that {consumer} parked: write one of {names}")
    return found[0] if found else None


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
