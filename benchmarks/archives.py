"""The archives against the compressor alone."""

from pathlib import Path

import deflate

from benchmarks.contest import Section, Turn, hold, timed
from benchmarks.samples import in_batches
from benchmarks.stack import Stack, fresh_directory
from playhead.projections.content.archive import archive_name, make_archive
from playhead.projections.content.captured import decode_captured
from playhead.projections.content.levels import DEFAULT_LEVEL
from playhead.projections.content.projection import Archives
from playhead.streams.content.events import capture_event
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

_ROUNDS = 3
_BATCH = 500
_PARTITION = Partition("content", 0)
_PLACE = '<li class="place"><a href="/places/{0}">Pantry number {0}</a>, {1} Main Street, open {2} to {3}</li>\n'


def archives(stack: Stack, quick: bool) -> Section:
    """Archives made and synced against compressing the same tars."""
    section = Section(
        "Projection `archives`",
        "The projection itself, without Redis: events decoded, packed, compressed in threads, written, synced and "
        f"renamed, {_BATCH} a batch. The limit is libdeflate, level {DEFAULT_LEVEL}, on the same tars, ready made, in "
        "one thread.",
    )
    for size, places, count in (("4 KB", 40, 200 if quick else 5_000), ("100 KB", 1_000, 50 if quick else 1_000)):
        events = [_capture(number, places) for number in range(count)]
        tars = [_tar(event) for event in events]

        def ours(events: list[Event] = events) -> Turn:
            return _project(fresh_directory(stack.data_dir.parent, "archives"), events)

        def theirs(tars: list[bytes] = tars) -> Turn:
            with timed(len(tars)) as turn:
                for tar in tars:
                    deflate.gzip_compress(tar, DEFAULT_LEVEL)
            return turn

        found = hold(size, 1 if quick else _ROUNDS, {"archives": ours, "libdeflate alone": theirs})
        section.rates += found.rates()
        section.results.append(found.ratio("archives / libdeflate alone", "archives", "libdeflate alone"))
    return section


def _capture(number: int, places: int) -> Event:
    text = "".join(_PLACE.format(number * places + n, n * 7919 % 997, n % 12, n % 24) for n in range(places))
    return capture_event(text, f"https://example.org/{number}", blobs=None, scraper_id="places", id=f"event-{number}")


def _tar(event: Event) -> bytes:
    captured = decode_captured(event)
    assert isinstance(captured.content, bytes)
    packed = make_archive(event, captured, captured.content)
    return bytes(deflate.gzip_decompress(packed))


def _project(directory: Path, events: list[Event]) -> Turn:
    sink = Archives(directory, directory)
    sink.open(_PARTITION, 1)
    with timed(len(events)) as turn:
        for batch in in_batches(events, _BATCH):
            recorded = [Recorded(event, Position(number, 0)) for number, event in enumerate(batch)]
            sink.apply(Batch(Source(_PARTITION), recorded, recorded[-1].position))
    sink.close()
    assert len(list(directory.glob("*.tar.gz"))) == len({archive_name(one.id, decode_captured(one)) for one in events})
    return turn
