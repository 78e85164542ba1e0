"""What a run of `playhead replay` reads and for whom."""

from datetime import datetime

import msgspec
from redis import Redis, RedisCluster

from playhead.eventlog.replay import runs
from playhead.eventlog.replay.files import Meaning
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidSetting


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run reads and for whom; kept in Redis, so that the run can be gone on with."""

    file: str | None = None
    directory: str | None = None
    pattern: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    type: str | None = None
    subject: str | None = None
    scraper: str | None = None
    to: tuple[str, ...]
    include_failed: bool = False
    statuses: dict[str, Meaning] = {}
    allow_gaps: bool = False

    def leaves_out(self, type: str, subject: str, time: datetime, scraper: str | None) -> bool:
        """Whether a filter is against an event."""
        return (
            (self.since is not None and time < self.since)
            or (self.until is not None and time >= self.until)
            or self.type not in {None, type}
            or self.subject not in {None, subject}
            or self.scraper not in {None, scraper}
        )

    @property
    def filters(self) -> bool:
        """Whether anything is left out."""
        return any((self.since, self.until, self.type, self.subject, self.scraper))

    @property
    def readers(self) -> dict[str, list[str]]:
        """The projections of the run that read each stream."""
        reads = installed().reads
        streams = {stream for name in self.to for stream in reads[name]}
        return {stream: [name for name in self.to if stream in reads[name]] for stream in sorted(streams)}


def recall(client: "Redis | RedisCluster", run: str) -> Plan:
    kept = runs.recall(client, run)
    if kept is None:
        raise no_such_run(client, run)
    return msgspec.json.decode(kept, type=Plan)


def no_such_run(client: "Redis | RedisCluster", run: str) -> InvalidSetting:
    """Say which runs there are instead."""
    others = ", ".join(one.run for one in runs.unfinished(client, ())) or "none"
    return InvalidSetting(f"there is no unfinished run {run!r}; unfinished: {others}")
