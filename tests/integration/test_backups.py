"""Backups of a log, blobs and recordings, into directories and buckets, and restores of them."""

import hashlib
import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from playhead.backups.errors import BackupAhead, BackupDamaged, LogNotEmpty, OtherHistory, OtherRestoreUnfinished
from playhead.backups.restoration import find_run, restore
from playhead.backups.runs import File, Part, Place, Run, encode_run
from playhead.backups.store import Store
from playhead.backups.verification import verify
from playhead.commands.backup import backup as backup_command
from playhead.commands.backup import backup_verify
from playhead.commands.restore import restore as restore_command
from playhead.eventlog import restoring
from playhead.eventlog.asides import ASIDES, AsideNote, note_asides, read_asides
from playhead.eventlog.errors import LogInUse, RestoreUnfinished
from playhead.eventlog.gaps import GAPS, Gap, note_gap
from playhead.eventlog.segments import partition_count, partition_directory
from playhead.eventlog.verification import verify as verify_log
from playhead.eventlog.writer import LogWriter
from playhead.settings.settings import load
from playhead.streams.errors import ForeignPlace, InvalidSetting, Untrusted
from playhead.streams.events import Recorded
from playhead.streams.installation import PlaceMark
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.recordings.files import Chunk
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.blobs import Blobs
from playhead.testing.kills import FILE_POINTS
from tests.support.backups import ID, JOBS, Data
from tests.support.events import job
from tests.support.kills import kill_at
from tests.support.s3 import s3_server

CHUNK = Chunk("m", "ann", 0)
OTHER_ID = "0198-other"


@pytest.fixture
def data(tmp_path) -> Data:
    data = Data(tmp_path / "data")
    data.append(1, 2, seal=True)
    data.append(3, 4)
    data.put_blob(b"content")
    data.recordings.write(data.recordings.pcm(CHUNK), b"\0\0" * 100, modified=1_754_541_721_000_001)
    data.recordings.write("recordings/m/ann-1.mp3", b"mp3")
    PlaceMark("EVENT_LOG_DIR", data.log).write(ID)
    return data


@pytest.fixture
def other(tmp_path) -> Data:
    return Data(tmp_path / "other")


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patched, s3_server() as environment:
        for name, value in environment.items():
            patched.setenv(name, value)
        yield "s3://bucket"


@pytest.fixture(params=["directory", "bucket"])
def target(request, tmp_path):
    if request.param == "directory":
        return tmp_path / "backup"
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


@pytest.fixture
def backup(tmp_path) -> Path:
    return tmp_path / "backup"


def stored(target) -> set[str]:
    return {one.name for one in Store(str(target))._blobs.objects.list()}  # noqa: SLF001  # how much a run added


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def begin_again(other: Data, target, run: int | None = None) -> None:
    """As if the restore of a run had been killed before its end."""
    with restoring.marked(other.log) as mark:
        mark.note(encode_run(find_run(Store(str(target)), run))[0])


def part_with(target: Path, content: bytes) -> Path:
    blobs = Blobs(target / "parts")
    blob = blobs.put(content)
    return target / "parts" / blob.sha256[:2] / f"{blob.sha256}.zst"


def test_everything_comes_back_as_it_was_and_the_log_goes_on(data, other, target):
    data.back_up(target)

    restored = other.restore(target)

    assert data.tree() == other.tree()
    assert restored.is_whole
    assert [("jobs/0", 4, "4-0")] == [(one.partition, one.events, one.last) for one in restored.partitions]
    assert ID == PlaceMark("", other.log).read()
    started_at = (other.recordings.directory / other.recordings.pcm(CHUNK)).stat().st_mtime_ns
    assert 1_754_541_721_000_001_000 == started_at, "it says when the audio began"
    other.append(5, 6, seal=True)
    assert [1, 2, 3, 4, 5, 6] == other.numbers()
    assert [] == verify_log(other.log).faults
    assert 2 == other.back_up(target).run


def test_blobs_come_from_a_bucket_and_go_back_into_one(data, other, backup, bucket, monkeypatch):
    monkeypatch.setenv("PLAYHEAD_BLOB_DIR", f"{bucket}/before")
    data.settings = load(data.directory)
    data.put_blob(b"in a bucket")
    data.back_up(backup)
    again = data.back_up(backup)
    monkeypatch.setenv("PLAYHEAD_BLOB_DIR", f"{bucket}/after")
    other.settings = load(other.directory)

    other.restore(backup)

    assert 0 == sum(one.copied for one in again.places if one.setting != "EVENT_LOG_DIR")
    blob = Blobs(f"{bucket}/before").put(b"in a bucket")
    assert b"in a bucket" == Blobs(f"{bucket}/after").get(blob.sha256, blob.size)


def test_a_run_adds_only_what_is_new(data, other, target):
    first = data.back_up(target)
    before = stored(target)
    second = data.back_up(target)
    unchanged = stored(target)
    data.append(5)
    data.put_blob(b"new")

    third = data.back_up(target)

    assert {"PLAYHEAD_CURSORS_DIR": 0, "EVENT_LOG_DIR": 3, "PLAYHEAD_BLOB_DIR": 1, "PLAYHEAD_RECORDINGS_DIR": 2} == {
        one.setting: one.copied for one in first.places
    }
    assert (before, 0) == (unchanged, second.added_bytes)
    assert 4 == len(stored(target) - before), "the end of the active segment, the blob, and two listings"
    active = next((data.log / "jobs/0").glob("*.jsonl"))
    assert len(active.read_bytes().splitlines()[-1]) < third.added_bytes < 3000
    assert third.run == 3
    other.restore(target)
    assert data.tree() == other.tree()


def test_every_earlier_run_can_be_restored(data, tmp_path, backup):
    ages = [data.tree()]
    data.back_up(backup)
    for number in (5, 6):
        data.append(number, seal=number == 6)
        data.put_blob(b"%d" % number)
        ages.append(data.tree())
        data.back_up(backup)

    found = []
    for run in (1, 2, 3):
        restored = Data(tmp_path / str(run))
        restored.restore(backup, run)
        found.append(restored.tree())

    assert ages == found


def test_a_torn_last_line_is_left_out_and_written_again(data, other, backup):
    active = next((data.log / "jobs/0").glob("*.jsonl"))
    with active.open("ab") as file:
        file.write(b'{"position":"5-0","crc32c":"00')

    data.back_up(backup)
    other.restore(backup)

    assert [1, 2, 3, 4] == other.numbers()
    other.append(5)
    assert [1, 2, 3, 4, 5] == other.numbers()


def test_the_number_of_partitions_comes_back(data, other, backup):
    partition_directory(data.log, Partition("jobs", 3)).mkdir()

    data.back_up(backup)
    other.restore(backup)

    assert 4 == partition_count(other.log, "jobs")


def test_what_is_noted_beside_the_segments_comes_back_and_grows_by_its_end(data, other, backup):
    directory = partition_directory(data.log, JOBS)
    note_gap(directory, Gap(Position(1, 0), Position(2, 0), 1))
    note_asides(directory, [AsideNote(1, "jobs", "1-0", "parked", "a reason" * 1000)])
    data.back_up(backup)
    note_asides(directory, [AsideNote(2, "jobs", "1-0", "dropped")])

    done = data.back_up(backup)
    other.restore(backup)

    assert ["parked", "dropped"] == [one.became for one in read_asides(partition_directory(other.log, JOBS)).notes]
    assert data.tree() == other.tree()
    assert done.added_bytes < 3000


def test_sealed_segments_that_were_moved_elsewhere_are_followed(data, other, backup, tmp_path):
    sealed = next((data.log / "jobs/0").glob("*.zst"))
    sealed.rename(tmp_path / "elsewhere")
    sealed.symlink_to(tmp_path / "elsewhere")

    data.back_up(backup)
    other.restore(backup)

    assert [1, 2, 3, 4] == other.numbers()


def test_links_and_fifos_are_named_and_left_out(data, other, backup, tmp_path):
    (tmp_path / "secret").write_text("secret")
    before = data.tree()
    folder = data.directory / "recordings/recordings/m"
    (folder / "link.mp3").symlink_to(tmp_path / "secret")
    (data.directory / "recordings/elsewhere").symlink_to(tmp_path)
    os.mkfifo(folder / "fifo.mp3")
    (folder / "caf\udce9.mp3").write_bytes(b"")

    done = data.back_up(backup)
    other.restore(backup)

    assert [
        "PLAYHEAD_RECORDINGS_DIR: elsewhere",
        "PLAYHEAD_RECORDINGS_DIR: recordings/m/caf\\xe9.mp3",
        "PLAYHEAD_RECORDINGS_DIR: recordings/m/fifo.mp3",
        "PLAYHEAD_RECORDINGS_DIR: recordings/m/link.mp3",
    ] == [one.rpartition(": ")[0] for one in done.omitted]
    assert before == other.tree()


def test_what_is_altered_or_missing_in_a_backup_is_named(data, other, backup):
    data.back_up(backup)
    recording, blob = part_with(backup, b"mp3"), next((data.directory / "blobs").rglob("*.zst"))
    altered = recording.read_bytes()
    recording.write_bytes(bytes([altered[0], altered[1] ^ 1]) + altered[2:])
    part_with(backup, blob.read_bytes()).unlink()

    found = verify(Store(str(backup)))
    restored = other.restore(backup)

    name = str(blob.relative_to(data.directory / "blobs"))
    assert {"recordings/m/ann-1.mp3", name} == {one.file for one in found.damaged}
    assert {"recordings/m/ann-1.mp3", name} == {one for place in restored.places for one in place.damaged}
    assert not restored.is_whole
    assert {"recordings/recordings/m/ann-1.mp3", f"blobs/{name}"} == data.tree().keys() - other.tree().keys()
    assert [1, 2, 3, 4] == other.numbers()


def test_a_removed_part_is_copied_again(data, other, backup):
    data.back_up(backup)
    part_with(backup, b"mp3").unlink()

    data.back_up(backup)

    assert [] == verify(Store(str(backup))).damaged
    other.restore(backup)
    assert data.tree() == other.tree()


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_log_that_is_damaged_in_the_backup_is_not_restored_in_part(data, other, backup, damage):
    data.back_up(backup)
    active = next((data.log / "jobs/0").glob("*.jsonl"))
    data.append(5)
    data.back_up(backup)
    new = part_with(backup, active.read_bytes().splitlines(keepends=True)[-1])
    new.unlink()
    if damage == "altered":
        new.write_bytes(b"something else")

    with pytest.raises(BackupDamaged, match=new.name):
        other.restore(backup)

    assert not other.directory.exists() or {} == other.tree()
    other.restore(backup, 1)
    assert [1, 2, 3, 4] == other.numbers()


def test_a_damaged_run_is_named_and_the_one_before_can_be_restored(data, other, backup):
    data.back_up(backup)
    data.back_up(backup)
    last = max((backup / "runs").glob("*.json"))
    last.write_bytes(last.read_bytes().replace(b"EVENT_LOG_DIR", b"EVENT_LOG_DIS"))

    with pytest.raises(BackupDamaged, match=last.name):
        other.restore(backup)
    with pytest.raises(BackupDamaged, match=last.name):
        data.back_up(backup)

    assert [last.name in one.problem for one in verify(Store(str(backup))).damaged] == [True]
    other.restore(backup, 1)
    assert data.tree() == other.tree()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "", "a//b", ".playhead-installation", "a/.lock"])
def test_a_name_that_leads_elsewhere_is_refused(data, other, backup, tmp_path, name):
    store = Store(str(backup))
    store.prepare()
    listing = store.keep_listing([File(name, 0, [store.keep(b"evil")])])
    run = Run(
        format=1,
        number=1,
        installation=None,
        began="",
        ended="",
        partitions={},
        places=[Place("PLAYHEAD_RECORDINGS_DIR", 1, 4, listing)],
    )
    store.write_run(run)

    with pytest.raises(BackupDamaged):
        other.restore(backup)

    assert [] == list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "run",
    [
        {"partitions": {"../../evil": 1}},
        {"places": [Place("EVENT_LOG_DIR", 1, 0, [Part("../../../evil", 1)])]},
        {"places": [Place("EVENT_LOG_DIR", 1, 0, [Part("0" * 64, 1 << 60)])]},
    ],
)
def test_a_run_that_nobody_wrote_is_refused(other, backup, tmp_path, run):
    store = Store(str(backup))
    store.prepare()
    made = {"format": 1, "number": 1, "installation": None, "began": "", "ended": "", "partitions": {}, "places": []}
    store.write_run(Run(**made | run))

    with pytest.raises((BackupDamaged, InvalidSetting)):
        other.restore(backup)

    assert [] == list(tmp_path.rglob("*evil*"))


def test_a_link_in_the_way_of_a_restore_is_not_followed(data, other, backup, tmp_path):
    data.back_up(backup)
    (tmp_path / "outside").mkdir()
    (other.directory / "recordings").mkdir(parents=True)
    (other.directory / "recordings/recordings").symlink_to(tmp_path / "outside")

    with pytest.raises(ConnectionError, match="link"):
        other.restore(backup)

    assert [] == list((tmp_path / "outside").iterdir())


def test_a_log_with_events_is_not_written_over(data, other, backup):
    data.back_up(backup)
    other.append(1)
    before = other.tree()

    with pytest.raises(LogNotEmpty, match="move the log away"):
        other.restore(backup)

    assert before == other.tree()
    other.append(2)


def test_a_log_writer_that_waits_for_its_first_event_is_in_the_way(data, other, backup):
    data.back_up(backup)
    writer = LogWriter(other.log)
    writer.open(JOBS, 1)

    with pytest.raises(LogInUse):
        other.restore(backup)

    events = [Recorded(job(1), Position(1, 0), 1)]
    assert "applied" == writer.apply(Batch(Source(JOBS), events, events[-1].position))
    writer.close()
    assert [1] == other.numbers()


def test_files_that_are_there_are_kept(data, other, backup):
    data.back_up(backup)
    other.recordings.write("recordings/m/ann-1.mp3", b"promoted again")
    other.put_blob(b"content")

    restored = other.restore(backup)

    assert {"PLAYHEAD_RECORDINGS_DIR": (1, 0, ["recordings/m/ann-1.mp3"]), "PLAYHEAD_BLOB_DIR": (0, 1, [])} == {
        one.setting: (one.written, one.same, one.kept) for one in restored.places if one.setting != "EVENT_LOG_DIR"
    }
    assert b"promoted again" == other.recordings.read("recordings/m/ann-1.mp3")


def test_a_place_of_another_installation_is_refused(data, other, backup):
    data.back_up(backup)
    PlaceMark("", other.directory / "recordings").write(OTHER_ID)

    with pytest.raises(ForeignPlace, match=OTHER_ID):
        other.restore(backup)
    PlaceMark("", data.log).write(OTHER_ID)
    with pytest.raises(ForeignPlace, match="the backup"):
        data.back_up(backup)

    assert not other.log.exists()


def test_a_log_that_lacks_what_the_backup_has_is_not_backed_up(data, backup):
    data.append(5)
    data.back_up(backup)
    whole = data.tree()
    active = next((data.log / "jobs/0").glob("*.jsonl"))
    sealed = next((data.log / "jobs/0").glob("*.zst"))
    runs = files_of(backup / "runs")

    for make in (active.unlink, lambda: os.truncate(active, 10), lambda: _remove(sealed), lambda: _empty(data.log)):
        make()
        with pytest.raises(BackupAhead, match="run 1"):
            data.back_up(backup)
        for name, content in whole.items():
            (data.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (data.directory / name).write_bytes(content)

    assert runs == files_of(backup / "runs")
    assert 2 == data.back_up(backup).run


def test_a_place_that_is_not_mounted_is_not_taken_for_an_empty_one(data, backup):
    data.back_up(backup)
    (data.directory / "recordings").rename(data.directory / "unmounted")

    with pytest.raises(BackupAhead, match="recordings has no files"):
        data.back_up(backup)


def test_a_sealed_segment_that_is_damaged_is_copied_and_said(data, other, backup):
    sealed = next((data.log / "jobs/0").glob("*.zst"))
    content = bytearray(sealed.read_bytes())
    content[len(content) // 2] ^= 1
    sealed.write_bytes(content)

    done = data.back_up(backup)
    again = data.back_up(backup)
    restored = other.restore(backup)

    assert [f"{sealed} does not have the checksum of its manifest"] == done.damaged == again.damaged
    assert not restored.is_whole
    assert str(other.log) in restored.faults[0]


def test_a_target_within_the_data_or_around_it_is_refused(data, other, backup, tmp_path, bucket, monkeypatch):
    data.back_up(backup)
    (tmp_path / "link").symlink_to(data.directory)
    places = [data.directory / "recordings/backup", data.directory / "backup", data.directory, tmp_path]
    for target in [*places, tmp_path / "link", tmp_path / "link/backup"]:
        with pytest.raises(InvalidSetting, match="choose another target"):
            data.back_up(target)
    other.directory.symlink_to(backup)
    with pytest.raises(InvalidSetting, match=r"PLAYHEAD_DATA_DIR .* lie in each other"):
        other.restore(backup)
    monkeypatch.setenv("PLAYHEAD_BLOB_DIR", f"{bucket}/all")
    data.settings = load(data.directory)
    with pytest.raises(InvalidSetting, match="choose another target"):
        data.back_up(f"{bucket}/all/backup")

    assert {"parts", "runs"} == {path.name for path in backup.iterdir() if not path.name.startswith(".")}
    assert not (data.directory / "backup").exists()


@pytest.mark.parametrize("seals", [(), (1,), (2,), (1, 2)], ids=str)
def test_a_second_log_from_a_restore_does_not_go_on_in_the_runs_of_the_first(data, other, target, seals):
    data.back_up(target)
    other.restore(target)
    data.append(5, seal=1 in seals)
    other.append(6, 7, seal=2 in seals)

    first = data.back_up(target)
    with pytest.raises(BackupAhead, match=r"run 2 .* (choose|back up to) another target"):
        other.back_up(target)
    data.append(8, seal=True)
    data.append(9)
    third = data.back_up(target)

    assert (2, 3) == (first.run, third.run)
    assert [] == verify(Store(str(target))).damaged


def test_a_restore_of_what_was_lost_goes_on_in_the_same_runs(data, other, target):
    data.back_up(target)
    other.restore(target)
    for number in range(5, 9):
        other.append(number, seal=number % 2 == 0)

        assert number - 3 == other.back_up(target).run

    with pytest.raises(BackupAhead, match="run 5"):
        data.back_up(target)


def test_a_log_with_other_events_than_the_last_run_is_refused(data, other, backup):
    data.append(5)
    other.append(1, 2, seal=True)
    other.append(3, 4, 6, 7)
    PlaceMark("", other.log).write(ID)
    data.back_up(backup)
    runs = files_of(backup / "runs")

    with pytest.raises(OtherHistory, match=r"00003-00000.jsonl has other events than run 1 .*another target"):
        other.back_up(backup)
    other.append(8, seal=True)
    with pytest.raises(OtherHistory, match=r"00003-00000.jsonl has other events"):
        other.back_up(backup)

    assert runs == files_of(backup / "runs")


def test_a_backup_or_a_place_that_every_user_may_write_to_is_refused(data, other, backup):
    data.back_up(backup)
    (other.directory / "recordings").mkdir(parents=True)
    (other.directory / "recordings").chmod(0o777)

    with pytest.raises(Untrusted, match="recordings can be written"):
        other.restore(backup)
    backup.chmod(0o777)
    with pytest.raises(Untrusted, match="backup can be written"):
        data.back_up(backup)
    with pytest.raises(Untrusted, match="backup can be written"):
        other.restore(backup)

    assert not other.log.exists()


def test_nothing_is_restored_from_a_place_without_a_run(other, tmp_path):
    for number in (None, 7):
        with pytest.raises(InvalidSetting, match="has no run"):
            other.restore(tmp_path / "empty", number)

    assert not other.directory.exists()


def test_a_run_that_a_backup_lacks_is_refused_with_those_that_it_has(data, other, backup):
    data.back_up(backup)
    data.back_up(backup)

    with pytest.raises(InvalidSetting, match=r"has no run 7; it has runs 1 to 2$"):
        other.restore(backup, 7)


def test_the_log_is_not_written_before_an_interrupted_restore_has_ended(data, other, backup):
    data.back_up(backup)
    other.restore(backup)
    for path in sorted((other.log / "jobs/0").glob("*.jsonl"))[-1:]:
        path.unlink()
    begin_again(other, backup)

    with pytest.raises(RestoreUnfinished, match="playhead restore"):
        other.append(5)
    with pytest.raises(RestoreUnfinished):
        other.back_up(backup)
    restored = other.restore(backup)

    assert data.tree() == other.tree()
    assert restored.is_whole
    other.append(5)
    assert [1, 2, 3, 4, 5] == other.numbers()


@pytest.mark.parametrize(("interrupted", "wanted"), [(2, 1), (1, 2)])
def test_an_interrupted_restore_is_not_continued_with_another_run(data, other, backup, interrupted, wanted):
    data.back_up(backup)
    data.append(5, seal=True)
    data.append(1, partition=Partition("jobs", 3))
    data.back_up(backup)
    other.restore(backup, interrupted)
    begin_again(other, backup, interrupted)
    before = other.tree()

    with pytest.raises(OtherRestoreUnfinished, match=f"run {interrupted} .*interrupted.*--run"):
        other.restore(backup, wanted)

    assert before == other.tree()
    assert other.restore(backup, interrupted).is_whole
    other.log.rename(other.directory / "moved")
    assert other.restore(backup, wanted).is_whole


@pytest.mark.parametrize("torn", ["", "0000", None])
def test_a_restore_that_was_killed_before_it_wrote_anything_can_be_one_of_another_run(data, other, backup, torn):
    data.back_up(backup)
    if torn is not None:
        other.log.mkdir(parents=True)
        (other.log / ".playhead-restoring").write_text(torn)

    assert other.restore(backup).is_whole

    assert data.tree() == other.tree()


@pytest.mark.parametrize("is_interrupted", [False, True])
@pytest.mark.parametrize("name", [f"{5:020d}-00000.jsonl", ASIDES, GAPS])
def test_what_is_not_of_the_run_is_not_mixed_with_its_log(data, other, backup, name, is_interrupted):
    data.back_up(backup)
    if is_interrupted:
        other.restore(backup)
        begin_again(other, backup)
    directory = partition_directory(other.log, JOBS)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text("")
    before = other.tree()

    with pytest.raises(LogNotEmpty, match=f"{name}, which .* move the log away"):
        other.restore(backup)

    assert before == other.tree()
    assert is_interrupted == restoring.is_unfinished(other.log)
    (directory / name).unlink()
    other.restore(backup)
    assert data.tree() == other.tree()


def _remove(sealed: Path) -> None:
    sealed.unlink()
    sealed.with_suffix("").with_suffix(".manifest.json").unlink()


def _empty(log: Path) -> None:
    shutil.rmtree(log / "jobs")


@pytest.mark.parametrize("point", FILE_POINTS)
def test_a_backup_that_is_killed_leaves_the_run_before_and_the_next_one_is_whole(data, tmp_path, backup, point):
    before = data.tree()
    data.back_up(backup)
    data.append(5)
    data.put_blob(b"new")
    for number in range(1, 100):
        target = tmp_path / f"backup-{number}"
        shutil.copytree(backup, target)
        if not kill_at(point, number, lambda target=target: data.back_up(target)):
            break
        first, second = Data(tmp_path / f"{number}-first"), Data(tmp_path / f"{number}-second")

        first.restore(target)
        data.back_up(target)
        second.restore(target)

        assert first.tree() in (before, data.tree()), "the last one if it was killed behind its last step"
        assert data.tree() == second.tree()
        assert [] == verify(Store(str(target))).damaged

    assert 5 < number < 99


@pytest.mark.parametrize("point", FILE_POINTS)
def test_a_restore_that_is_killed_keeps_the_log_closed_until_it_is_done_again(data, tmp_path, backup, point):
    data.back_up(backup)
    for number in range(1, 100):
        other = Data(tmp_path / f"other-{number}")
        if not kill_at(point, number, lambda other=other: other.restore(backup)):
            break
        if restoring.is_unfinished(other.log):
            with pytest.raises(RestoreUnfinished):
                other.append(5)

            other.restore(backup)

        assert data.tree() == other.tree()
        other.append(5)
        assert [1, 2, 3, 4, 5] == other.numbers()

    assert 5 < number < 99


def test_each_backup_of_a_log_that_grows_is_a_log_with_all_that_its_events_name(data, tmp_path, backup, wait_until):
    stop, turns, failures, applied = threading.Event(), threading.Semaphore(0), list[BaseException](), [4]

    def grow() -> None:
        writer = LogWriter(data.log, segment_bytes=3000, clock=lambda: 1)
        try:
            writer.open(JOBS, 1)
            while turns.acquire() and not stop.is_set():
                numbers = range(applied[-1] + 1, applied[-1] + 4)
                for each in numbers:
                    data.put_blob(b"blob %d" % each)
                events = [Recorded(job(each), Position(each, 0), each) for each in numbers]
                writer.apply(Batch(Source(JOBS), events, events[-1].position))
                applied.append(numbers[-1])
        except BaseException as error:  # noqa: BLE001  # the test raises it
            failures.append(error)
        finally:
            writer.close()

    thread = threading.Thread(target=grow)
    thread.start()
    runs = list[int]()
    try:
        for _ in range(8):
            seen = len(applied)
            turns.release(10)  # most of them while the backup runs
            wait_until(lambda seen=seen: bool(failures) or len(applied) > seen)
            runs.append(data.back_up(backup).run)
    finally:
        stop.set()
        turns.release()
        thread.join()

    assert [] == failures
    ends = []
    for run in runs:
        restored = Data(tmp_path / str(run))
        assert restored.restore(backup, run).is_whole
        found = restored.numbers()
        ends.append(len(found))
        assert list(range(1, len(found) + 1)) == found
        for number in found[4:]:
            blob = b"blob %d" % number
            Blobs(restored.settings.blob_dir).check(hashlib.sha256(blob).hexdigest(), len(blob))
    assert sorted(set(ends)) == ends, "each has more than the one before"
    assert len(list((data.log / "jobs/0").glob("*.zst"))) > 2, "segments were sealed meanwhile"


def test_two_backups_at_once_are_both_whole(data, tmp_path, backup):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: data.back_up(backup), range(4)))

    names = Store(str(backup)).run_files()
    assert 4 == len(done)
    assert [] == verify(Store(str(backup))).damaged
    for name in names:
        other = Data(tmp_path / name)
        restore(other.settings, Store(str(backup)), Store(str(backup)).read_run(name))
        assert data.tree() == other.tree()


def test_a_file_from_before_1970_comes_back(data, other, backup):
    path = data.directory / "recordings/recordings/m/ann-1.mp3"
    os.utime(path, ns=(-1, -1))

    data.back_up(backup)
    other.restore(backup)

    assert -1 == (other.directory / "recordings/recordings/m/ann-1.mp3").stat().st_mtime_ns


def test_the_commands_say_what_they_did_and_what_is_wrong(data, other, backup, capfd):
    (data.directory / "recordings/link").symlink_to(backup)

    assert 1 == backup_command(str(backup), data_dir=data.directory)
    assert 1 == backup_command(str(backup), data_dir=data.directory, json=True)
    said = capfd.readouterr()
    assert 0 == backup_verify(str(backup))
    assert 0 == restore_command(str(backup), data_dir=other.directory)
    restored = capfd.readouterr()
    part_with(backup, b"mp3").unlink()
    assert 4 == backup_verify(str(backup))
    assert 4 == restore_command(str(backup), data_dir=backup.with_name("third"), run=1)
    damaged = capfd.readouterr()

    assert "PLAYHEAD_RECORDINGS_DIR: link: it is a link" in said.err
    assert "run 1: " in said.out
    assert '"run": 2' in said.out
    assert "2 runs with 12 files, 0 faults" in restored.out
    assert re.search(r"jobs/0 +4  4-0", restored.out)
    assert "run 2 is restored: 4 events" in restored.err
    assert "playhead up" in restored.err
    assert "run 1: PLAYHEAD_RECORDINGS_DIR: recordings/m/ann-1.mp3: file://" in damaged.out
    assert "not restored: recordings/m/ann-1.mp3" in damaged.err
