"""Directories and buckets keep objects alike."""

import hashlib
import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from playhead.projections.content.archive import read_archive
from playhead.projections.content.projection import Archives
from playhead.projections.failures import classify
from playhead.streams.content.events import capture_event
from playhead.streams.errors import BlobMissing, InvalidSetting, StoreUnavailable
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.blobs import Blobs, blob_name
from playhead.streams.storage.claims import INLINE_LIMIT
from playhead.streams.storage.objects import Objects
from tests.support.s3 import s3_server

NAMES = ["plain", "ab/cd", "20250809_063658_%2E%2Fx.0123456789ab.tar.gz", "a~b c", "ünï"]


@pytest.fixture(scope="module")
def s3():
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["directory", "s3"])
def location(request, tmp_path, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return str(tmp_path / "objects") if request.param == "directory" else f"s3://bucket/{tmp_path.name}"


@pytest.fixture
def bucket(tmp_path, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{tmp_path.name}"


@pytest.mark.parametrize("name", NAMES)
def test_an_object_is_kept_under_its_very_name(location, name):
    objects = Objects(location)
    objects.prepare()
    before = objects.get(name), objects.size(name), list(objects.list())
    objects.put(name, b"first")
    objects.put(name, b"first")
    objects.put(name, b"second")

    assert (None, None, []) == before
    assert (b"second", 6) == (objects.get(name), objects.size(name))
    assert [(name, 6)] == [(one.name, one.size) for one in objects.list()]


def test_an_object_may_come_in_parts_and_is_listed_with_its_size_and_time(location):
    objects = Objects(location)

    objects.publish(
        [objects.stage_parts("a/b", (part for part in (b"one", b"two")), modified=1_754_541_721_000_001_000)]
    )

    listed = list(objects.list())
    assert b"onetwo" == objects.get("a/b")
    assert [("a/b", 6)] == [(one.name, one.size) for one in listed]
    expected = 1_754_541_721_000_001_000 if objects.directory else time.time_ns()
    assert abs(listed[0].modified - expected) < (1 if objects.directory else 3600 * 1e9)


def test_what_is_staged_is_not_seen_before_it_is_published(tmp_path):
    objects = Objects(tmp_path / "objects")
    staged = [objects.stage(f"{n}", b"x") for n in range(20)]
    before = list(objects.list())
    objects.publish(staged)

    assert [] == before
    assert 20 == len(list(objects.list()))
    assert [] == list((tmp_path / "objects" / ".staging").iterdir())


def test_threads_and_forked_processes_may_keep_the_same_content_at_once(tmp_path):
    blobs = Blobs(tmp_path / "blobs")
    contents = [bytes([n]) * 1000 for n in range(5)]
    blobs.put(b"before the fork")
    children = [forked(lambda: [blobs.put(one) for one in contents]) for _ in range(2)]
    threads = [threading.Thread(target=lambda: [blobs.put(one) for one in contents]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [0, 0] == [os.waitpid(child, 0)[1] for child in children]
    for content in contents:
        assert content == blobs.get(hashlib.sha256(content).hexdigest(), 1000)


def test_the_same_content_is_stored_once(location):
    blobs = Blobs(location)
    first, second = blobs.put(b"page"), blobs.put(b"page")

    assert first == second
    assert [blob_name(hashlib.sha256(b"page").hexdigest())] == [one.name for one in blobs.objects.list()]


def test_archives_and_blobs_may_be_in_a_bucket(bucket):
    content = b"large " * INLINE_LIMIT
    event = capture_event(content, None, blobs=Blobs(f"{bucket}/blobs"), id="e1", scraper_id="../x")
    sink = Archives(f"{bucket}/archives", f"{bucket}/blobs")
    sink.open(Partition("content", 0), 1)
    batch = Batch(Source(Partition("content", 0)), [Recorded(event, Position(1, 0))], Position(1, 0))
    outcomes = [sink.apply(batch), sink.apply(batch)]
    sink.close()
    archives = Objects(f"{bucket}/archives")
    (found,) = archives.list()

    assert ["applied", "applied"] == outcomes
    assert sink.directory is None
    assert content == read_archive(archives.get(found.name)).content


def test_a_second_write_of_the_same_bytes_adds_no_version_and_other_bytes_do(bucket):
    objects = Objects(bucket)
    objects.put("name", b"same")
    tag = etag(objects, "name")
    objects.put("name", b"same")
    same = etag(objects, "name")
    objects.put("name", b"other")

    assert tag == same != etag(objects, "name")
    assert b"other" == objects.get("name")


def test_a_store_without_conditional_writes_is_written_plainly(bucket, monkeypatch):
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    objects = Objects(bucket)
    objects.put("name", b"first")
    objects.put("name", b"second")

    assert b"second" == objects.get("name")


def test_a_bucket_or_directory_that_is_not_there_is_waited_for_and_no_missing_blob(s3, tmp_path, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    for nowhere in ("s3://nobucket/blobs", tmp_path / "nowhere"):
        with pytest.raises(StoreUnavailable) as caught:
            Blobs(nowhere).get("0" * 64, 1)

        assert "transient" == classify(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(BlobMissing):
        Blobs("s3://bucket/blobs").get("0" * 64, 1)


def test_a_server_that_is_away_is_waited_for(monkeypatch, s3):
    for name, value in (s3 | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).items():
        monkeypatch.setenv(name, value)
    objects = Objects("s3://bucket/x")
    for call in (lambda: objects.put("a", b""), lambda: objects.get("a"), lambda: list(objects.list())):
        with pytest.raises(StoreUnavailable) as caught:
            call()

        assert "transient" == classify(caught.value)


def test_a_bucket_that_was_used_before_a_fork_says_so_instead_of_waiting_for_ever(bucket):
    objects = Objects(bucket)
    objects.put("name", b"before")

    def use():
        with pytest.raises(StoreUnavailable, match="forked"):
            objects.put("name", b"after")

    assert 0 == os.waitpid(forked(use), 0)[1]


@pytest.mark.parametrize("location", ["ftp://host/x", "s3://", "s3:///x", "gs://bucket/x", "s3://key:secret@bucket/x"])
def test_another_form_is_refused_with_the_forms_there_are(location):
    with pytest.raises(InvalidSetting, match="s3://bucket/prefix"):
        Objects(location)


def etag(objects, name):
    return objects._bucket._find(name)[1]  # noqa: SLF001  # no caller is told the tag


def forked(work):
    """A child that does the work, and ends with 0 if it could; SIGALRM ends it if it hangs."""
    if (child := os.fork()) == 0:
        signal.alarm(20)
        with suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return child
