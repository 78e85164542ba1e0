"""A projection of a stranger's: a file of lines for every tenth subject, each line an event's order, subject and id."""

from collections.abc import Sequence
from pathlib import Path

from playhead import Domain, FileProjection, Place, Recorded
from playhead.jobs.domain import jobs
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.jobs.events import JobCompleted

ledgers = Domain("ledgers", requires=["jobs"])


@ledgers.projection("ledger", reads=[JobCompleted])
class Ledger(FileProjection):
    def file_of(self, event: Recorded[JobCompleted]) -> str:
        return f"tenths/{event.event.subject[-1]}.txt"

    def fold(self, name: str, content: bytes | None, events: Sequence[Recorded[JobCompleted]]) -> bytes:
        lines = set((content or b"").decode().splitlines(keepends=True))
        lines |= {f"{one.order} {one.event.subject} {one.event.id}\n" for one in events}
        return "".join(sorted(lines)).encode()


CATALOGUE = Catalogue([jobs, ledgers])


def ledger_place(directory: Path) -> Place:
    return Place("ledger", catalogue=CATALOGUE, location=str(directory))


def ledger_lines(directory: Path) -> list[tuple[str, str]]:
    """Subject and event id of each line."""
    found = sorted(directory.glob("tenths/*.txt"))
    lines = [line.split() for path in found for line in path.read_text().splitlines()]
    return [(subject, event_id) for _, subject, event_id in lines]
