"""How far the sinks have come, as their directories and their database say."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from playhead.consumers.reading.unlogged import SinkMark
from playhead.projections.staging import read_checkpoints
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
    """The marks of every sink that can be reached; `complain` is told of a Postgres that cannot."""
    found = list(marks_of_files(settings, servers))
    if servers.database is not None:
        found += resolve(_OF_DATABASE)(servers.database, complain, servers.schema)
    return found


def marks_of_files(settings: Settings, servers: Servers) -> Iterator[SinkMark]:
    """What directories of files say of themselves."""
    for name in installed().projections:
        location = place_of(name, settings, servers).location
        if location and "://" not in location:
            for source, checkpoint in read_checkpoints(Path(location)).items():
                with suppress(ValueError):  # an error of ours is one
                    position = Position.parse(checkpoint.position)
                    if (partition := partition_named(source)) is not None:
                        yield SinkMark(name, partition, position, checkpoint.sequence)
