"""The worker `sweep`, which is called by the clock."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import structlog

from playhead.consumers.recordings.progress import Progress
from playhead.consumers.recordings.sweep import Sweep
from playhead.projections.migrations import require_upgraded
from playhead.projections.postgres import connect
from playhead.recordings.domain import RECORDINGS_DIR, SWEEP_SECONDS
from playhead.settings.core import REDIS_TIMEOUT
from playhead.streams.domains.place import Place
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.redis.connections import connect as connect_redis

LONGEST_PAUSE = 3600.0
_PAUSES = 24
_WHERE_LEFT = 60.0


def sweep(place: Place) -> Callable[[], float]:
    """What sweeps once, and gives the seconds until the next time: fewer if sessions were left alone.

    Several at once do no harm: the same session ends by the same event.
    """
    settings = place.settings
    older = settings[SWEEP_SECONDS]
    every = min(older / _PAUSES, LONGEST_PAUSE)
    producer = place.producer()
    sessions = Sweep(
        RecordingFiles(settings[RECORDINGS_DIR]),
        Progress(connect_redis(place.redis_url, settings[REDIS_TIMEOUT])),
        producer.append_events,
        older=timedelta(seconds=older),
    )
    log = structlog.get_logger().bind(projection=place.name)

    def once() -> float:
        with closing(connect(place.database_url, f"playhead-{place.name}", schema=place.schema)) as connection:
            require_upgraded(connection)
            swept, left = sessions.run(connection)
        for one in swept:
            log.info("a session that never ended is ended", finished=one.finished, expired=one.expired)
        pause = min(every, _WHERE_LEFT) if left else every
        for reason in sorted({one.reason for one in left}):
            log.warning(
                "sessions are left alone",
                reason=reason,
                count=sum(one.reason == reason for one in left),
                retry_in_seconds=round(pause, 1),
            )
        return pause

    return once
