"""How far the sinks have come, as their directories and their database say."""

from collections.abc import Callable, Iterator
from pathlib import Path

from playhead.consumers.reading.unlogged import SinkMark
from playhead.projections.staging import Checkpoint, read_checkpoints
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import resolve
from playhead.streams.partitions import partition_named
from playhead.streams.positions import Position
from playhead.wiring import place_of

_OF_DATABASE = "playhead.checks.table_marks:marks_of_database"
"""Loaded only if there is a database, as its driver takes longer to load than `status` takes for all else."""


def find_marks(settings: Settings, servers: Servers, complain: Callable[[str], object]) -> list[SinkMark]:
    """The marks of every sink that can be reached; `complain` is told of each that cannot."""
    found = list(marks_of_files(settings, servers, complain))
    if servers.database is not None:
        found += resolve(_OF_DATABASE)(servers.database, complain, servers.schema)
    return found


def marks_of_files(
    settings: Settings, servers: Servers, complain: Callable[[str], object] = lambda _: None
) -> Iterator[SinkMark]:
    """What directories of files say of themselves; `complain` is told of what cannot be read."""
    for name in installed().projections:
        location = place_of(name, settings, servers).location
        if location and "://" not in location:
            try:
                yield from [_mark(name, *one) for one in read_checkpoints(Path(location)).items()]
            except (OSError, ValueError) as error:  # msgspec's and ours are ValueErrors
                complain(
                    f"{name}: how far {location} has come cannot be read, so the log is not compared with it: {error}"
                )


def _mark(name: str, source: str, checkpoint: Checkpoint) -> SinkMark:
    if (partition := partition_named(source)) is None:
        raise ValueError(f"{source!r:.100} is no partition")
    return SinkMark(name, partition, Position.parse(checkpoint.position), checkpoint.sequence)
