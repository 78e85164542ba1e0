"""A day's summary.json, which is also the index that tells which event wrote which file."""

from typing import Any

import msgspec

from playhead.projections.encoding import decode, encode, indent
from playhead.streams.storage.filenames import encode_name

UNKNOWN = "unknown"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """The newest result of a job on a day: `order` is `str(Recorded.order)`, which sorts like the order itself."""

    job_id: str
    scraper_id: str | None
    timestamp: str
    event_id: str
    order: str

    @property
    def folder(self) -> tuple[str, ...]:
        """The directory of the job's file, below the day's."""
        return ("processed",) if self.scraper_id is None else ("scrapers", encode_name(self.scraper_id))

    @property
    def file(self) -> str:
        """The file's name in its folder."""
        return encode_name(self.job_id) + ".json"


class _Summary(msgspec.Struct):
    jobs: list[Entry]


def encode_summary(day: str, entries: list[Entry]) -> bytes:
    """Lay out summary.json: the same bytes for the same jobs, in whatever order they came."""
    entries = sorted(entries, key=lambda entry: (entry.timestamp, entry.job_id))
    scrapers: dict[str, dict[str, Any]] = {}
    for entry in entries:
        scraper = scrapers.setdefault(
            UNKNOWN if entry.scraper_id is None else entry.scraper_id, {"count": 0, "first_job": entry.timestamp}
        )
        scraper["count"] += 1
        scraper["last_job"] = entry.timestamp
    jobs = [
        msgspec.structs.replace(entry, scraper_id=UNKNOWN) if entry.scraper_id is None else entry for entry in entries
    ]
    summary = {
        "date": day,
        "total_jobs": len(entries),
        "scrapers": {name: scrapers[name] for name in sorted(scrapers)},
        "jobs": jobs,
    }
    return indent(encode(summary))


def decode_summary(data: bytes) -> dict[str, Entry]:
    """Read the entries by job id.

    A job without a scraper and one whose scraper is called `unknown` look alike here and are taken for the former.

    Raises:
        ValueError: it is not a summary.
    """
    entries = (
        msgspec.structs.replace(entry, scraper_id=None) if entry.scraper_id == UNKNOWN else entry
        for entry in decode(data, _Summary).jobs
    )
    return {entry.job_id: entry for entry in entries}
