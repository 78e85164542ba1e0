"""The archives against the log."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from playhead.projections.content.archive import archive_name, describe, read_archive
from playhead.projections.content.captured import Captured, decode_captured
from playhead.projections.content.errors import ArchiveAltered
from playhead.projections.encoding import decode
from playhead.projections.verification import Lack
from playhead.streams.content.events import CAPTURED
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, Recorded
from playhead.streams.storage.objects import Objects


class ArchivesVerification:
    """Compares what each archive holds with what its event writes; the content of a blob by its hash."""

    def __init__(self, destination: Path | str) -> None:
        self._objects = Objects(destination)

    def key(self, recorded: Recorded) -> str | None:
        """The event's id: every capture has an archive of its own."""
        return recorded.event.id if recorded.event.type == CAPTURED else None

    def rank(self, recorded: Recorded) -> str:
        """The order of its events."""
        return str(recorded.order)

    def mark(self, recorded: Recorded) -> str:
        """The event's id, which the name of an archive follows from."""
        return recorded.event.id

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Captures whose archive is not there, or holds something else.

        Raises:
            StoreUnavailable: the bucket cannot be asked.
        """
        for recorded in events:
            key = self.key(recorded)
            if key is None:
                continue
            try:
                captured = decode_captured(recorded.event)
            except InvalidEvent:
                continue
            name = archive_name(recorded.event.id, captured)
            place = self._objects.url(name)
            data = None if self._objects.size(name) is None else self._objects.get(name)
            if data is None:
                yield Lack("missing", key, recorded, place, "the archive is not there")
            elif (problem := _problem(recorded.event, captured, data)) is not None:
                yield Lack("altered", key, recorded, place, problem, standing=key)

    def discard(self, lack: Lack) -> bool:  # noqa: ARG002  # as in the protocol
        """Nothing: a replay writes over what is there, the bytes that follow from the event."""
        return True

    def close(self) -> None:
        """Nothing is held."""


def _problem(event: Event, captured: Captured, data: bytes) -> str | None:
    try:
        archive = read_archive(data)
    except ArchiveAltered as error:
        return str(error)
    expected = decode(describe(event, captured, archive.content), dict[str, object])
    fits = captured.fits(archive.content) and archive.metadata == expected
    return None if fits else "it holds something else than its event"
