"""The process of the worker `sweep`, which is called by the clock instead of by events."""

from contextlib import closing
from datetime import timedelta

import msgspec
import structlog

from playhead.consumers.processes.clock import run_clock
from playhead.consumers.processes.service import ServiceSettings
from playhead.consumers.recordings.progress import Progress
from playhead.consumers.recordings.sweep import Sweep
from playhead.projections.migrations import require_upgraded
from playhead.projections.postgres import connect
from playhead.streams.appending.producer import Producer
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.redis.connections import connect as connect_redis

NAME = "sweep"
_LONGEST_PAUSE, _PAUSES = 3600.0, 24
_WHERE_LEFT = 60.0


class SweepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions without a sign of life for `older` seconds are ended; it is looked for them every `every` seconds."""

    older: float = 86400.0
    every: float = _LONGEST_PAUSE

    @classmethod
    def after(cls, older: float) -> "SweepSettings":
        """Look often enough that no session is left for much longer than so many seconds."""
        return cls(older=older, every=min(older / _PAUSES, _LONGEST_PAUSE))


async def run_sweep(
    files: RecordingFiles, database_url: str, settings: ServiceSettings, sweeping: SweepSettings
) -> int:
    """Sweep until SIGTERM or SIGINT; returns the exit code, as `run_service`.

    Raises:
        AddressTaken: another program listens there.
    """
    with closing(Sweeper(files, database_url, settings, sweeping)) as sweeper:
        return await run_clock(NAME, sweeper.sweep, sweeping.every, settings)


class Sweeper:
    """Sweeps when it is called. Several at once do no harm: the same session ends by the same event."""

    def __init__(
        self, files: RecordingFiles, database_url: str, settings: ServiceSettings, sweeping: SweepSettings
    ) -> None:
        self._database_url, self._every = database_url, sweeping.every
        self._producer = Producer(settings.redis_url, partitions=settings.partitions, timeout=settings.redis_timeout)
        self._redis = connect_redis(settings.redis_url, settings.redis_timeout)
        self._sweep = Sweep(
            files,
            Progress(self._redis),
            self._producer.append_events,
            older=timedelta(seconds=sweeping.older),
            partitions=settings.partitions,
        )
        self._log = structlog.get_logger().bind(projection=NAME)

    def sweep(self) -> float:
        """Sweep once, and give the seconds until the next time: fewer if sessions were left alone."""
        with closing(connect(self._database_url, "playhead-sweep")) as connection:
            require_upgraded(connection)
            swept, left = self._sweep.run(connection)
        for one in swept:
            self._log.info("a session that never ended is ended", finished=one.finished, expired=one.expired)
        pause = min(self._every, _WHERE_LEFT) if left else self._every
        for reason in sorted({one.reason for one in left}):
            self._log.warning(
                "sessions are left alone",
                reason=reason,
                count=sum(one.reason == reason for one in left),
                retry_in_seconds=round(pause, 1),
            )
        return pause

    def close(self) -> None:
        """Close the connections."""
        self._producer.close()
        self._redis.close()
