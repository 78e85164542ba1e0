"""Given captures, when they are applied in some order, then these archives stand in the directory."""

import hashlib
import io
import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
import time

import pytest

from playhead.projections.content.archive import archive_name, parse_name, read_archive
from playhead.projections.content.captured import decode_captured
from playhead.projections.content.errors import ArchiveAltered
from playhead.projections.content.levels import HIGHEST_LEVEL, LOWEST_LEVEL
from playhead.projections.content.projection import Archives
from playhead.projections.content.verification import ArchivesVerification
from playhead.projections.failures import classify
from playhead.projections.verification import Held, Remark, Stray
from playhead.streams.content.events import CAPTURED, capture_event
from playhead.streams.errors import BlobAltered, BlobMissing, InvalidEvent, StoreUnavailable
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.blobs import Blobs, blob_name
from playhead.streams.storage.claims import INLINE_LIMIT

PARTITION = Partition("content", 0)
WRITER = """
import os, pathlib, random, sys
from playhead.projections.content.projection import Archives
from playhead.projections.content.archive import archive_name, make_archive
from playhead.projections.content.captured import decode_captured
from playhead.streams.content.events import capture_event
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

root, program = pathlib.Path(sys.argv[1]), sys.argv[2]
content = random.randbytes(200_000)
sink = Archives(root, root)
sink.open(Partition("content", 0), 1)
print(flush=True)
for number in range(10_000):
    event = capture_event(content, None, blobs=None, id=str(number % 5), time="2025-08-09T06:36:58Z")
    if program == "ours":
        recorded = Recorded(event, Position(1, 0))
        sink.apply(Batch(Source(Partition("content", 0)), [recorded], Position(1, 0)))
    else:
        captured = decode_captured(event)
        with open(root / archive_name(event.id, captured), "wb", buffering=0) as file:
            archive = make_archive(event, captured, captured.content)
            for start in range(0, len(archive), 512):
                file.write(archive[start : start + 512])
"""
TIME = "2025-08-09T06:36:58.200226Z"
LARGE = b"large " * INLINE_LIMIT
HOSTILE = ["../../evil", "a/b", "a\0b", "x" * 300, "é" * 150, ".", "..", ".hidden", "ünï 漢字", "%", "unknown", "a.b~c"]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


class Place:
    """A directory of archives, and a blob store."""

    def __init__(self, directory):
        self.archives, self.blobs = directory / "archives", directory / "blobs"

    def sink(self, level=6):
        sink = Archives(self.archives, self.blobs, level)
        sink.open(PARTITION, 1)
        return sink

    def capture(self, content, number=0, *, url="https://example.org", **options):
        options = {"id": f"e{number}", "time": TIME, "scraper_id": "news"} | options
        return capture_event(content, url, options.pop("metadata", None), blobs=Blobs(self.blobs), **options)

    def apply(self, *events, level=6):
        sink = self.sink(level)
        recorded = [Recorded(event, Position(1_754_541_721_120 + n, 0)) for n, event in enumerate(events)]
        assert sink.apply(Batch(Source(PARTITION), recorded, recorded[-1].position)) == "applied"
        sink.close()

    def files(self):
        return {path.name: path.read_bytes() for path in self.archives.iterdir() if path.is_file()}

    def only(self):
        ((name, data),) = self.files().items()
        return name, read_archive(data)


def raw(data, id="e1", type=CAPTURED):
    return Event(id=id, source="other", type=type, time=TIME, subject="content/x", data=json.dumps(data).encode())


def test_an_archive_holds_the_content_and_all_that_is_known_of_it(place):
    place.apply(place.capture("Caffè", metadata={"page": 3, "tags": ["a"]}))
    name, archive = place.only()

    expected = {
        "event_id": "e0",
        "event_time": TIME,
        "source_url": "https://example.org",
        "scraper_id": "news",
        "captured_at": TIME,
        "sha256": hashlib.sha256("Caffè".encode()).hexdigest(),
        "size": 6,
        "encoding": "utf-8",
        "metadata": {"page": 3, "tags": ["a"]},
    }
    assert re.fullmatch(r"20250809_063658_news\.[0-9a-f]{12}\.tar\.gz", name)
    assert ("Caffè".encode(), expected) == (archive.content, archive.metadata)


def test_tar_lists_the_two_members_of_an_owner_and_a_time_that_never_change(place):
    place.apply(place.capture("page"))
    ((name, data),) = place.files().items()
    listed = subprocess.run(["tar", "tzf", place.archives / name], capture_output=True, text=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in tar}

    assert ("content.txt\nmetadata.json\n", "") == (listed.stdout, listed.stderr)
    assert {(0, 0, 0, "", "", 0o644)} == members
    assert b"\x1f\x8b\x08\x00\0\0\0\0" == data[:8], "a gzip header without time and name"


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff\xfe\0binary", b"a" * INLINE_LIMIT, LARGE, b"\xff" + LARGE])
def test_content_is_kept_exactly_whatever_it_is(place, content):
    event = place.capture(content)
    place.apply(event)
    _, archive = place.only()

    assert content == archive.content
    assert archive.metadata["encoding"] == ("binary" if b"\xff" in content else "utf-8")
    assert isinstance(json.loads(event.data)["content"], dict) == (len(content) > INLINE_LIMIT)


def test_captures_of_one_second_have_the_same_names_and_bytes_in_every_order(place):
    events = [place.capture(f"page {n % 7}", n, scraper_id=f"s{n % 2}", metadata={"n": n}) for n in range(40)]
    place.apply(*events)
    first = place.files()
    for seed in range(3):
        shutil.rmtree(place.archives)
        shuffled = random.Random(seed).sample(events, len(events))
        for start in range(0, len(shuffled), 9):
            place.apply(*shuffled[start : start + 9])

        assert first == place.files(), f"seed {seed}"
    assert 40 == len(first)


def test_the_bytes_are_these_with_the_pinned_compressor(place):
    """A change means that archives written so far are not what a rebuild makes of them any more."""
    text = " ".join(random.Random(1).choices(["pantry", "street", "open", "Tuesday", "10", "12", "\n"], k=5_000))
    place.apply(place.capture(text, metadata={"n": 1}))
    ((_, data),) = place.files().items()

    assert "7cd1452fdf1796cea194286d55d3adc537a76ea9dd4aa490c078836093d44af1" == hashlib.sha256(data).hexdigest()


def test_a_level_changes_the_bytes_and_not_what_they_hold(place):
    event = place.capture("".join(random.Random(1).choices("abcdef ", k=50_000)))
    place.apply(event, level=LOWEST_LEVEL)
    ((name, fast),) = place.files().items()
    place.apply(event, level=HIGHEST_LEVEL)

    assert len(place.files()[name]) < len(fast)
    assert read_archive(fast) == read_archive(place.files()[name])


@pytest.mark.parametrize("scraper", [*HOSTILE, "", None])
@pytest.mark.parametrize("url", ["https://example.org/../../etc", "a\0b", "u" * 300, "", None])
def test_a_name_stays_in_the_directory_and_tells_its_scraper(place, scraper, url):
    place.apply(place.capture("page", scraper_id=scraper, url=url))
    name, archive = place.only()

    assert (scraper, url) == (archive.metadata["scraper_id"], archive.metadata["source_url"])
    assert sorted(path.name for path in place.archives.iterdir()) == sorted([".staging", name])
    assert sorted(path.name for path in place.archives.parent.iterdir()) == ["archives"]
    assert name == archive.name
    assert len(name) <= 255
    named = parse_name(name).scraper_id
    assert named == (scraper or "unknown") if len(name) < 200 else named is None


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {},
        {"content": None},
        {"content": 7},
        {"content": {"sha256": 1}},
        {"content": {"sha256": "../../../etc/passwd", "size": 3}},
        {"content": {"sha256": "0" * 64, "size": -1}},
        {"content": {"sha256": "0" * 64, "size": 2**60}},
        {"content": "%%", "encoding": "base64"},
        {"content": "x", "encoding": "rot13"},
    ],
)
def test_what_is_no_capture_is_refused_for_good(place, payload):
    with pytest.raises(InvalidEvent) as caught:
        place.apply(raw(payload))

    assert "permanent" == classify(caught.value)
    assert {} == place.files()


def test_a_capture_by_another_program_needs_only_content_and_loses_nothing(place):
    place.apply(raw({"content": "x", "scraper_id": 7, "captured_at": "yesterday", "extra": {"\ud800": 1}, "size": "?"}))
    name, archive = place.only()

    assert name.startswith("20250809_063658_unknown.")
    assert b"x" == archive.content
    assert {"scraper_id": 7, "captured_at": "yesterday", "extra": {"\ud800": 1}}.items() <= archive.metadata.items()
    assert 1 == archive.metadata["size"], "ours stands over one of the same name"


def test_other_events_of_the_stream_are_passed_over(place):
    place.apply(raw({}, type="content.removed"), place.capture("page"))

    assert 1 == len(place.files())


def test_a_missing_blob_is_refused_with_its_hash_and_the_others_of_the_batch_go_on_without_it(place):
    event = place.capture(LARGE)
    shutil.rmtree(place.blobs / blob_name(hashlib.sha256(LARGE).hexdigest())[:2])
    with pytest.raises(BlobMissing, match=hashlib.sha256(LARGE).hexdigest()) as caught:
        place.apply(place.capture("page", 1), event)
    place.apply(place.capture("page", 1))

    assert "permanent" == classify(caught.value)
    assert 1 == len(place.files())


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"", lambda data: data[:50] + b"!" + data[51:], lambda _: None]
)
def test_an_altered_blob_is_refused_with_its_hash(place, damage):
    event = place.capture(LARGE)
    path = place.blobs / blob_name(hashlib.sha256(LARGE).hexdigest())
    other = Blobs(place.blobs).put(LARGE + b"other")
    path.write_bytes(damage(path.read_bytes()) or (place.blobs / blob_name(other.sha256)).read_bytes())
    with pytest.raises(BlobAltered, match=hashlib.sha256(LARGE).hexdigest()) as caught:
        place.apply(event)

    assert "permanent" == classify(caught.value)
    assert {} == place.files()


def test_a_blob_directory_that_is_not_mounted_is_waited_for(place):
    event = place.capture(LARGE)
    shutil.move(place.blobs, place.blobs.with_name("elsewhere"))
    with pytest.raises(StoreUnavailable) as caught:
        place.apply(event)

    assert "transient" == classify(caught.value)


def test_the_directory_may_be_deleted_while_it_is_written(place):
    sink = place.sink()
    events = [place.capture(f"page {n}", n) for n in range(3)]
    for event in events:
        shutil.rmtree(place.archives)
        sink.apply(Batch(Source(PARTITION), [Recorded(event, Position(1, 0))], Position(1, 0)))
        assert 1 == len(place.files())
    sink.close()


def test_a_full_or_closed_destination_is_tried_again(place):
    place.archives.parent.mkdir(exist_ok=True)
    place.archives.write_text("a file where the directory belongs")
    with pytest.raises(StoreUnavailable) as caught:
        place.apply(place.capture("page"))

    assert "transient" == classify(caught.value)


def test_an_archive_that_was_cut_or_flipped_anywhere_is_found(place):
    place.apply(place.capture("page"))
    ((_, data),) = place.files().items()
    padded = len(data) - 9  # the last byte before the trailer ends in bits that mean nothing
    cut = [data[:length] for length in range(len(data))]
    flipped = [data[:n] + bytes([data[n] ^ 4]) + data[n + 1 :] for n in range(10, len(data)) if n != padded]

    for altered in (*cut, *flipped, data + b"!", data + data):
        with pytest.raises(ArchiveAltered):
            read_archive(altered)


def test_verification_finds_what_is_missing_or_holds_something_else_and_a_replay_mends_it(place):
    events = [place.capture(f"page {n}", n) for n in range(4)] + [place.capture(LARGE, 4), raw({}, id="no capture")]
    recorded = [Recorded(event, Position(n + 1, 0)) for n, event in enumerate(events)]
    place.apply(*events[:5])
    names = [archive_name(event.id, decode_captured(event)) for event in events[:5]]
    verification = ArchivesVerification(place.archives, place.blobs)
    before = list(verification.lacks(recorded))
    (place.archives / names[0]).unlink()
    (place.archives / names[1]).write_bytes(b"")
    (place.archives / names[2]).write_bytes((place.archives / names[3]).read_bytes())
    (place.archives / names[4]).write_bytes((place.archives / names[3]).read_bytes())
    lacks = [(lack.kind, lack.key) for lack in verification.lacks(recorded)]
    place.apply(*events[:4])
    after = [(lack.kind, lack.key) for lack in verification.lacks(recorded)]
    shutil.rmtree(place.archives)
    missing = [lack.kind for lack in verification.lacks(recorded)]
    verification.close()

    assert [] == before
    assert [("missing", "e0"), ("altered", "e1"), ("altered", "e2"), ("altered", "e4")] == lacks
    assert [("altered", "e4")] == after
    assert ["missing"] * 5 == missing


def test_verification_finds_blobs_that_are_not_what_their_claim_checks_say_and_archives_of_no_event(place):
    events = [place.capture(LARGE + b"%d" % n, n) for n in range(4)]
    recorded = [Recorded(event, Position(n + 1, 0)) for n, event in enumerate(events)]
    place.apply(*events)
    blobs = [place.blobs / blob_name(decode_captured(event).content.sha256) for event in events]
    whole = check(place, recorded[:3])
    blobs[0].unlink()
    blobs[1].write_bytes(blobs[1].read_bytes()[:-8])
    blobs[2].write_bytes(blobs[3].read_bytes())
    (place.archives / "notes.txt").write_text("by hand")
    found = check(place, recorded[:3])
    shutil.rmtree(place.blobs)

    assert [] == whole[0]
    assert [("missing", "e0", "none"), ("altered", "e1", "none"), ("altered", "e2", "none")] == found[0]
    assert [Held("e3", "e3", (place.archives / archive_name("e3", decode_captured(events[3]))).as_uri())] == [
        one for one in found[1] if isinstance(one, Held)
    ]
    assert ["notes.txt"] == [one.key for one in found[1] if isinstance(one, Stray)]
    assert [Remark("1 of the blobs are of no event of the log")] == [one for one in whole[1] if isinstance(one, Remark)]
    assert ["missing"] * 3 == [kind for kind, _, _ in check(place, recorded[:3])[0]]


def check(place, recorded):
    """What events lack, and what is held beside what they give."""
    verification = ArchivesVerification(place.archives, place.blobs)
    lacks = [(lack.kind, lack.key, lack.repair) for lack in verification.lacks(recorded)]
    held = list(verification.held())
    verification.close()
    return lacks, held


@pytest.mark.parametrize(("program", "torn"), [("ours", False), ("naive", True)])
def test_a_kill_at_any_instant_leaves_no_part_of_an_archive_to_be_seen(place, program, torn, seed):
    """The control writes archives in place, as a program without a care would."""
    found, chance = 0, random.Random(seed)
    for _ in range(200 if torn else 12):
        with subprocess.Popen([sys.executable, "-c", WRITER, place.archives, program], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(chance.uniform(0, 0.03))  # some instant of its work, not a wait for something
            child.kill()
        for data in place.files().values():
            try:
                read_archive(data)
            except ArchiveAltered:
                found += 1
        if torn and found:
            break

    assert torn == (found > 0), f"{found} parts of archives were seen"


def test_content_of_100_megabytes_goes_through(place):
    content = random.Random(0).randbytes(1024 * 1024) * 100
    place.apply(place.capture(content), level=LOWEST_LEVEL)
    _, archive = place.only()

    assert hashlib.sha256(content).digest() == hashlib.sha256(archive.content).digest()
