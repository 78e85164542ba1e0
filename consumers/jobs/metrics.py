"""The metric of the domain `jobs`: finished jobs by scraper and status."""

from collections.abc import Callable

import msgspec
from prometheus_client import CollectorRegistry, Counter

from playhead.projections.jobs.result import decode_job_result
from playhead.streams.errors import InvalidEvent
from playhead.streams.jobs.events import stream
from playhead.streams.names import Metric
from playhead.streams.sinks import Batch

SCRAPERS = 200
"""Values of `scraper_id` in a process: they come from payloads, so later ones are counted as "other"."""

_PROJECTION = "json-files"


class _Metadata(msgspec.Struct):
    scraper_id: str | None = None


class _Job(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Payload(msgspec.Struct):
    job: _Job = msgspec.field(default_factory=_Job)


_PAYLOAD = msgspec.json.Decoder(_Payload)


def observe_jobs(projection: str, registry: CollectorRegistry) -> Callable[[Batch], None] | None:
    """What counts the jobs of each batch that `json-files` applied, None for any other projection."""
    return _JobCounter(registry).count if projection == _PROJECTION else None


class _JobCounter:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs = Counter(Metric.RECORDER_JOBS, "Finished jobs", ["scraper_id", "status"], registry=registry)
        self._scrapers: set[str] = set()

    def count(self, batch: Batch) -> None:
        if batch.source.replay is not None:
            return
        for event in (recorded.event for recorded in batch.events):
            if event.type in stream.types:
                scraper = (_scraper_of(event.data) or "unknown").encode(errors="backslashreplace").decode()
                if scraper not in self._scrapers:
                    scraper = scraper if len(self._scrapers) < SCRAPERS else "other"
                    self._scrapers.add(scraper)
                self._jobs.labels(scraper, event.type.removeprefix("job.")).inc()


def _scraper_of(data: bytes) -> str | None:
    """The scraper of a payload that json-files took; decoding all of it again would cost as much as writing it."""
    try:
        return _PAYLOAD.decode(data).job.metadata.scraper_id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:
            return decode_job_result(data).scraper_id
        except InvalidEvent:
            return None
