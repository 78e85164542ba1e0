"""Every meeting at a glance, and what keeps it from its end."""

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from psycopg.rows import class_row

from playhead.projections.postgres import Connection
from playhead.projections.recordings.rows import MeetingStatus

_OVERVIEW = Path(__file__).with_name("overview.sql").read_bytes()


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A meeting; `done`, `failed` and `unfinished` count its chunks, `missing` those that its recordings lack."""

    id: str
    status: MeetingStatus
    strategy: str | None
    started_at: datetime | None
    stopped_at: datetime | None
    problem: str | None
    last_event_at: datetime
    done: int
    failed: int
    unfinished: int
    recordings: int
    missing: int

    def stuck(self, now: datetime, idle: timedelta) -> str | None:
        """Why the meeting does not come to its end, None if it did, or something still happens."""
        if now - self.last_event_at < idle:
            return None
        match self.status:
            case "ACTIVE":
                return "it never ended"
            case "PROMOTION_FAILED":
                return f"its promotion failed: {self.problem}"
            case "PROMOTED":
                return f"its recordings lack {self.missing} chunks" if self.missing else None
            case _:
                return f"it is not promoted, with {self.unfinished} chunks unfinished and {self.failed} failed"


def overview(connection: Connection) -> list[Overview]:
    """Every meeting, the newest first."""
    with connection.cursor(row_factory=class_row(Overview)) as cursor:
        return cursor.execute(_OVERVIEW).fetchall()
