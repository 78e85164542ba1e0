"""The table `jobs` against the log."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from playhead.projections.jobs.result import decode_job_result
from playhead.projections.postgres import Connection
from playhead.projections.table_verification import TableVerification
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.jobs.events import Job

_STANDING = (Path(__file__).parent / "standing.sql").read_bytes()


class JobsVerification(TableVerification[Job]):
    """Reads which event wrote each row; what the row says beyond that is not compared."""

    table = "jobs"

    def key(self, recorded: Recorded) -> str | None:
        """The job's id, read as leniently as the projection reads it."""
        if recorded.event.type not in self.types:
            return None
        try:
            return decode_job_result(recorded.event.data).job_id
        except InvalidEvent:
            return None

    def key_of(self, data: Job, /) -> str | None:
        """The job's id."""
        return data.job_id or ""

    def standing(self, connection: Connection, keys: Sequence[str]) -> Mapping[str, str]:
        """The order of the event that wrote each row."""
        return dict(connection.execute(_STANDING, (list(keys),)).fetchall())
