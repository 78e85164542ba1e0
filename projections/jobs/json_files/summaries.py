"""A day's summary.json, which is also the index that tells which event wrote which file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import chain, islice
from typing import IO

import msgspec

from playhead.projections.encoding import decode, encode
from playhead.streams.storage.filenames import encode_name

UNKNOWN = "unknown"
_PIECE = 256
"""Entries that are laid out at once."""
_BEFORE_JOBS, _AFTER_JOBS = b'{\n  "jobs": [\n', b"\n  ]\n}"
_BLOCK = 256 * 1024
"""Bytes that are read at once."""
_AFTER_HEAD, _AFTER_JOB, _AFTER_LAST_JOB = _BEFORE_JOBS[1:], b"\n    },\n", b"\n    }\n  ]\n}\n"
"""How a summary is laid out; a text has no newline."""


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
    def shown_scraper(self) -> str:
        """What the summary calls its scraper."""
        return UNKNOWN if self.scraper_id is None else self.scraper_id

    @property
    def file(self) -> str:
        """The file's name in its folder."""
        return encode_name(self.job_id) + ".json"


class _Summary(msgspec.Struct):
    jobs: list[Entry]


class Line(msgspec.Struct, frozen=True, gc=False):
    """An entry as a summary shows it, on one line; `escaped` if it has a lone surrogate, which has no other form."""

    text: bytes
    escaped: bool


def encode_summary(day: str, entries: Sequence[Entry]) -> bytes:
    """Lay out summary.json: the same bytes for the same jobs, in whatever order they came."""
    entries = sorted(entries, key=lambda entry: (entry.timestamp, entry.job_id))
    scrapers: dict[str, tuple[int, str, str]] = {}
    for entry in entries:
        count, first, _ = scrapers.get(entry.shown_scraper, (0, entry.timestamp, ""))
        scrapers[entry.shown_scraper] = count + 1, first, entry.timestamp
    lines = [make_line(entry) for entry in entries]
    plain = not any(line.escaped for line in lines)
    return b"".join(summary_pieces(day, scrapers, (line.text for line in lines), plain=plain))


def summary_pieces(
    day: str, scrapers: Mapping[str, tuple[int, str, str]], lines: Iterator[bytes], *, plain: bool
) -> Iterator[bytes]:
    """Lay out summary.json piece by piece: of each scraper how many jobs it has, the first and last time; the lines.

    It is `plain` unless an entry is escaped. Then everything is, to ASCII.
    """
    summary = {
        "date": day,
        "total_jobs": sum(count for count, _, _ in scrapers.values()),
        "scrapers": {
            name: {"count": count, "first_job": first, "last_job": last}
            for name, (count, first, last) in sorted(scrapers.items())
        },
        "jobs": list[Entry](),
    }
    yield _laid_out(encode(summary), plain=plain).removesuffix(b"]\n}")
    before = b"\n"
    while some := list(islice(lines, _PIECE)):
        piece = _laid_out(b'{"jobs":[' + b",".join(some) + b"]}", plain=plain)
        yield before + piece[len(_BEFORE_JOBS) : -len(_AFTER_JOBS)]
        before = b",\n"
    yield b"\n  ]\n}\n" if scrapers else b"]\n}\n"


def make_line(entry: Entry) -> Line:
    """The line of an entry."""
    if entry.scraper_id is None:
        entry = msgspec.structs.replace(entry, scraper_id=UNKNOWN)
    try:
        return Line(msgspec.json.encode(entry), escaped=False)
    except UnicodeEncodeError:
        return Line(encode(entry), escaped=True)


def decode_summary(data: bytes) -> dict[str, Entry]:
    """Read the entries by job id, as `read_summary` does.

    Raises:
        ValueError: it is not a summary.
    """
    return {entry.job_id: entry for entry in read_summary(BytesIO(data))}


def read_summary(file: IO[bytes]) -> Iterator[Entry]:
    """Read the entries one after the other; the last one of a job counts.

    A job without a scraper and one whose scraper is called `unknown` look alike here and are taken for the former.

    Raises:
        ValueError: it is not a summary.
    """
    for entry in _entries(file):
        yield msgspec.structs.replace(entry, scraper_id=None) if entry.scraper_id == UNKNOWN else entry


def _entries(file: IO[bytes]) -> Iterator[Entry]:
    """Read piece by piece what is laid out as we do it, anything else as a whole."""
    try:
        yield from _pieces(file)
    except ValueError:
        file.seek(0)
        yield from decode(file.read(), _Summary).jobs


def _pieces(file: IO[bytes]) -> Iterator[Entry]:
    blocks = iter(lambda: file.read(_BLOCK), b"")
    head, end = bytearray(), -1
    for block in blocks:
        start = max(0, len(head) - len(_AFTER_HEAD))
        head += block
        if (end := head.find(_AFTER_HEAD, start)) >= 0:
            break
    jobs = end + len(_AFTER_HEAD)
    decode(bytes(head[:jobs]) + b"]}", _Summary)
    rest = bytes(head[jobs:])
    for block in chain((b"",), blocks):
        *whole, rest = (rest + block).split(_AFTER_JOB)
        for job in whole:
            yield decode(job + b"}", Entry)
        if len(rest) > _BLOCK:
            break
    if not rest.endswith(_AFTER_LAST_JOB):
        raise ValueError("it is laid out in another way")
    yield decode(rest.removesuffix(_AFTER_LAST_JOB) + b"}", Entry)


def _laid_out(data: bytes, *, plain: bool) -> bytes:
    if plain:
        return msgspec.json.format(data, indent=2)
    return json.dumps(json.loads(data), indent=2).encode()
