"""Small files that unpack to far more than they should are a named error, in bounded memory."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import pytest
import zstandard

from playhead.eventlog.writer import LogWriter
from playhead.projections.content.archive import CONTENT, METADATA, check_archive, read_archive
from playhead.projections.content.errors import ArchiveAltered
from playhead.streams.errors import BlobAltered, StoreUnavailable
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.blobs import CONTENT_LIMIT, Blobs, blob_name
from playhead.streams.storage.directories import FILE_LIMIT
from playhead.streams.storage.objects import Objects

JOBS = Partition("jobs", 0)
MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE
DIGEST = "0" * 64


def told(statements: str, mebibytes: int, *arguments: object) -> str:
    """What a process prints that may use so much memory beyond what Python and Playhead take."""
    program = textwrap.dedent("""\
        import resource, sys
        from pathlib import Path
        from playhead.eventlog.history import tail_of
        from playhead.eventlog.verification import verify
        from playhead.projections.content.archive import check_archive, read_archive
        from playhead.streams.storage.blobs import Blobs
        from playhead.streams.storage.objects import Objects
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = size + int(sys.argv[1]) * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        place = Path(sys.argv[2])
        try:
            found = {}
        except Exception as error:
            found = type(error).__name__
        print(found)
    """).replace("{}", statements)
    command = [sys.executable, "-c", program, str(mebibytes), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


def test_a_process_that_unpacks_what_it_is_given_runs_out_of_memory(tmp_path):
    (tmp_path / "bomb").write_bytes(zstandard.compress(bytes(GIBIBYTE)))

    assert "MemoryError" == told("__import__('zstandard').decompress((place / 'bomb').read_bytes())", 256, tmp_path)


@pytest.mark.parametrize("method", ["get", "check"])
@pytest.mark.parametrize("size", [0, 1_000])
def test_of_a_blob_no_more_is_unpacked_than_its_event_says(tmp_path, method, size):
    Objects(tmp_path).put(blob_name(DIGEST), zstandard.compress(bytes(GIBIBYTE)))

    assert "BlobAltered" == told(f"Blobs(place).{method}('{DIGEST}', {size})", 32, tmp_path)


@pytest.mark.parametrize("method", ["get", "check"])
def test_an_event_that_says_too_much_of_a_blob_takes_no_memory(tmp_path, method):
    Objects(tmp_path).put(blob_name(DIGEST), zstandard.compress(b"small"))

    assert "BlobAltered" == told(f"Blobs(place).{method}('{DIGEST}', {CONTENT_LIMIT})", 32, tmp_path)


def test_a_blob_that_wants_a_window_of_gibibytes_is_refused(tmp_path):
    one_byte_often = (100_000 << 3 | 0b011).to_bytes(3, "little") + b"a"
    frame = bytes.fromhex("28B52FFD00A8") + one_byte_often
    sha256 = hashlib.sha256(b"a" * 100_000).hexdigest()
    Objects(tmp_path).put(blob_name(sha256), frame)
    with pytest.raises(BlobAltered, match="memory"):
        Blobs(tmp_path).get(sha256, 100_000)


def test_a_blob_is_checked_in_parts(tmp_path):
    blobs = Blobs(tmp_path)
    blob = blobs.put(bytes(300 * MEBIBYTE))

    assert "None" == told(f"Blobs(place).check('{blob.sha256}', {blob.size})", 32, tmp_path)


def test_of_a_blob_whose_file_is_too_large_no_more_is_read_than_is_needed(tmp_path):
    Objects(tmp_path).put(blob_name(DIGEST), b"")
    with (tmp_path / blob_name(DIGEST)).open("wb") as file:
        file.truncate(GIBIBYTE)

    assert "BlobAltered" == told(f"Blobs(place).get('{DIGEST}', 1000)", 32, tmp_path)


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    about = tarfile.TarInfo(name)
    about.size, about.type = size, kind
    return about.tobuf(tarfile.GNU_FORMAT)


def archive(content: bytes, *, about: bytes | None = None) -> bytes:
    metadata = {"sha256": hashlib.sha256(content).hexdigest(), "event_id": "e", "event_time": "2025-08-09T00:00:00Z"}
    encoded = json.dumps(metadata).encode() if about is None else about
    tar = io.BytesIO()
    for name, data in ((CONTENT, content), (METADATA, encoded)):
        tar.write(member(name, len(data)))
        tar.write(data)
        tar.write(bytes(-len(data) % 512))
    tar.write(bytes(1024))
    return gzip.compress(tar.getbuffer(), 1)


@pytest.mark.parametrize(
    "head",
    [
        member(CONTENT, 8 * GIBIBYTE * GIBIBYTE - 1),
        member(CONTENT, GIBIBYTE + 1),
        member(CONTENT, 512, tarfile.GNUTYPE_SPARSE),
        member(CONTENT, GIBIBYTE, tarfile.XHDTYPE),
        member("././@LongLink", GIBIBYTE, tarfile.GNUTYPE_LONGNAME),
        member(CONTENT, 0, tarfile.SYMTYPE),
        member(CONTENT, 0) + member(METADATA, GIBIBYTE),
        member("other", 0) * 100_000,
        b"",
    ],
    ids=["exbibytes", "over the limit", "sparse", "pax", "long name", "link", "metadata", "members", "zeros"],
)
def test_an_archive_of_another_form_is_not_unpacked(tmp_path, head):
    (tmp_path / "bomb").write_bytes(gzip.compress(head + bytes(256 * MEBIBYTE), 1))
    for reader in ("read_archive", "check_archive"):
        assert "ArchiveAltered" == told(f"{reader}(Objects(place).parts('bomb'))", 64, tmp_path)


def test_of_an_archive_no_more_is_unpacked_than_its_event_says():
    data = archive(b"content")
    with pytest.raises(ArchiveAltered, match="7 bytes, which is over the limit of 6"):
        read_archive(data, limit=6)

    assert b"content" == read_archive(data, limit=7).content


def test_an_archive_of_no_event_is_checked_without_its_content_in_memory(tmp_path):
    data = archive(bytes(160 * MEBIBYTE))
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(archive(bytes(160 * MEBIBYTE), about=b'{"sha256": "0"}'))

    assert "MemoryError" == told("len(read_archive(Objects(place).parts('a')).content)", 64, tmp_path)
    assert "b''" == told("check_archive(Objects(place).parts('a')).content", 64, tmp_path)
    assert "ArchiveAltered" == told("check_archive(Objects(place).parts('b')).content", 64, tmp_path)


def test_metadata_nested_too_deep_is_a_fault_of_the_archive():
    with pytest.raises(ArchiveAltered, match="not a JSON object"):
        check_archive(archive(b"", about=b'{"a":' * 100_000 + b"}" * 100_000))


def sealed(root: Path, content: bytes) -> Path:
    """A log of two segments, the first one sealed, which holds something else now."""
    log = LogWriter(root, segment_bytes=1)
    log.open(JOBS, 1)
    for number in (1, 2, 3):
        event = new_event("job.completed", subject="s", data={"n": number}, time="2025-08-09T00:00:00Z")
        recorded = Recorded(event, Position(1_754_541_721_120 + number, 0))
        log.apply(Batch(Source(JOBS), [recorded], recorded.position))
    log.close()
    place = root / "jobs/0"
    segment = max(place.glob("*.zst"))
    segment.write_bytes(content)
    for active in place.glob("*.jsonl"):
        active.unlink()
    return place


def packed(content: bytes, times: int) -> bytes:
    """As zstd frames, which may follow each other."""
    return zstandard.compress(content) * times


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (packed(b"\n" * 256 * MEBIBYTE, 100), "over 10000 faults; the rest is not read"),
        (packed(b"x" * 256 * MEBIBYTE, 100), "the line is over 268435456 bytes"),
        (packed(b'{"position":"1-0"}\n' * MEBIBYTE, 1_000), "over 10000 faults; the rest is not read"),
        (bytes.fromhex("28B52FFD00A8") + (1 << 3 | 0b011).to_bytes(3, "little") + b"a", "it cannot be decompressed"),
    ],
    ids=["empty lines", "one line", "lines", "window"],
)
def test_a_segment_that_unpacks_to_far_more_than_was_sealed_is_a_fault(tmp_path, content, faults):
    sealed(tmp_path, content)
    found = told("[fault.problem for fault in verify(place).faults]", 700, tmp_path)

    assert faults in found


def test_the_end_of_a_log_is_found_without_a_thousand_large_lines_in_memory(tmp_path):
    place = sealed(tmp_path, packed(b"x" * (8 * MEBIBYTE - 1) + b"\n", 200))

    assert "LogCorrupt" == told("tail_of(place)", 450, place)


def test_a_manifest_that_nobody_sealed_does_not_fill_the_memory(tmp_path):
    place = sealed(tmp_path, b"")
    with max(place.glob("*.manifest.json")).open("wb") as file:
        file.truncate(100 * GIBIBYTE)
    found = told("[fault.problem for fault in verify(place).faults]", 256, tmp_path)

    assert "the manifest cannot be read" in found


def test_a_file_larger_than_any_of_ours_is_not_read(tmp_path):
    with (tmp_path / "object").open("wb") as file:
        file.truncate(FILE_LIMIT + 1)
    with pytest.raises(StoreUnavailable, match="move it"):
        Objects(tmp_path).get("object")
