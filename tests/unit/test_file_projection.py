"""Given events, when a projection of one's own folds them, then these files stand in its directory."""

import random
import shutil
from pathlib import Path

import pytest

from playhead import Domain, FileProjection, Place
from playhead.jobs.domain import jobs
from playhead.projections.file_projection import FOLDERS_LIMIT, ProjectedFiles
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.discovery import chosen
from playhead.streams.errors import Fenced, InvalidEvent, InvalidSetting, UnsafePath
from playhead.streams.events import Recorded, new_event
from playhead.streams.jobs.events import JobCompleted
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.wiring import default_directories, place_of, sink_of

PARTITION = Partition("jobs", 0)
HOSTILE = [
    "../../evil",
    "/etc/evil",
    "a\0b",
    "x" * 300,
    "é" * 150,
    ".",
    "..",
    ".staging",
    ".staging/epoch",
    "ünï 漢字",
    "%",
    "/",
    "a//b",
    "\ud800",
]


class Named(FileProjection):
    """A file for each job id, with the ids of its events."""

    def file_of(self, event):
        return None if event.data.job_id == "nowhere" else event.data.job_id

    def fold(self, name, content, events):
        if any(event.data.job_id == "refused" for event in events):
            raise ValueError("refused")
        known = set((content or b"").decode().split())
        return " ".join(sorted(known | {event.event.id for event in events})).encode()


reports = Domain("reports", requires=["jobs"])
reports.projection("named", Named, reads=[JobCompleted])
CATALOGUE = Catalogue([jobs, reports])


def sink_in(location):
    return sink_of(Named(Place("named", catalogue=CATALOGUE, location=str(location))))


def opened(root, epoch=1):
    sink = sink_in(root)
    sink.open(PARTITION, epoch)
    return sink


def recorded(number, job_id, type="job.completed"):
    event = new_event(type, subject="subject", data={"job_id": job_id, "job": {}}, id=f"e{number:03}")
    return Recorded(event, Position(1_754_541_721_120 + number, 0))


def batch(*events):
    return Batch(Source(PARTITION), events, events[-1].position)


def tree(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] != ".staging"
    }


@pytest.fixture
def root(tmp_path):
    return tmp_path / "named"


class Silent(Named):
    """Returns no content."""

    def fold(self, name, content, events):
        return None


def test_a_fold_that_returns_no_bytes_is_an_error_that_says_so(root):
    sink = sink_of(Silent(Place("named", catalogue=CATALOGUE, location=str(root))))
    sink.open(PARTITION, 1)
    with pytest.raises(InvalidEvent, match="returned NoneType"):
        sink.apply(batch(recorded(1, "a.txt")))

    assert {} == tree(root)


def test_events_are_folded_into_the_files_that_they_belong_to(root):
    sink = opened(root)

    outcomes = [
        sink.apply(batch(recorded(1, "a.txt"), recorded(2, "below/b.txt"), recorded(3, "nowhere"))),
        sink.apply(batch(recorded(4, "a.txt"), recorded(5, "c", "job.failed"))),
    ]

    assert ["applied", "applied"] == outcomes
    assert {"a.txt": b"e001 e004", "below/b.txt": b"e002"} == tree(root)
    assert ["epoch"] == [path.name for path in (root / ".staging").iterdir()]


def test_any_redelivery_gives_the_same_bytes(tmp_path):
    events = [recorded(n, f"{n % 30}") for n in range(120)]
    trees = []
    for seed in range(3):
        root = tmp_path / str(seed)
        sink = opened(root)
        for start in range(0, len(events), 17):
            for _ in range(random.Random(seed + start).randrange(1, 4)):
                sink.apply(batch(*events[start : start + 17]))
                if seed:
                    sink.close()
                    sink = opened(root, start + 2)
        trees.append(tree(root))

    assert 30 == len(trees[0])
    assert all(trees[0] == other for other in trees)


@pytest.mark.parametrize("files", [1, 8, 9, 40])
def test_a_file_that_stays_as_it_is_is_not_written_again(root, files):
    events = [recorded(n, f"job-{n}") for n in range(files)]
    sink = opened(root)
    sink.apply(batch(*events))
    before = {path: path.stat().st_ino for path in root.glob("job-*")}

    sink.apply(batch(*events, recorded(99, "job-0")))

    after = {path: path.stat().st_ino for path in root.glob("job-*")}
    assert [root / "job-0"] == [path for path in after if after[path] != before[path]]
    assert files == len(after)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_of_an_event_never_leads_out_of_the_directory(root, name):
    outside = root.parent / "evil"
    sink = opened(root)

    class Hostile(Named):
        def file_of(self, event):
            return name

    hostile = sink_of(Hostile(Place("named", catalogue=CATALOGUE, location=str(root))))
    sink.close()
    hostile.open(PARTITION, 2)

    assert "applied" == hostile.apply(batch(recorded(1, "x")))
    assert [b"e001"] == list(tree(root).values())
    assert not outside.exists()
    assert [root] == list(root.parent.iterdir())


@pytest.mark.parametrize("returned", ["", Path("2026.csv"), b"2026.csv", 7, ["2026.csv"]])
def test_a_name_that_is_empty_or_no_text_is_refused_with_what_it_must_be(root, returned):
    class Odd(Named):
        def file_of(self, event):
            return returned if event.data.job_id == "odd" else super().file_of(event)

    sink = sink_of(Odd(Place("named", catalogue=CATALOGUE, location=str(root))))
    sink.open(PARTITION, 1)
    with pytest.raises(
        InvalidEvent, match=r"file_of: must return the name of a file, or None .* it returned"
    ) as refused:
        sink.apply(batch(recorded(1, "good"), recorded(2, "odd")))

    assert "permanent" == sink.classify(refused.value)
    assert {} == tree(root)


def test_two_names_never_share_a_file(root):
    names = ["a b", "a%20b", "a/b", "a%2Fb", ".a", "%2Ea"]
    sink = opened(root)

    sink.apply(batch(*(recorded(n, name) for n, name in enumerate(names))))

    assert len(names) == len(tree(root))


def test_a_name_with_too_many_folders_is_refused_and_nothing_is_written(root):
    sink = opened(root)

    with pytest.raises(InvalidEvent, match="17 folders; 16 is the limit") as refused:
        sink.apply(batch(recorded(1, "good"), recorded(2, "a/" * (FOLDERS_LIMIT + 1))))

    assert "permanent" == sink.classify(refused.value)
    assert {} == tree(root)


def test_a_file_where_a_folder_belongs_is_the_fault_of_the_event(root):
    sink = opened(root)
    sink.apply(batch(recorded(1, "a")))

    with pytest.raises(UnsafePath) as refused:
        sink.apply(batch(recorded(2, "a/b")))

    assert "permanent" == sink.classify(refused.value)
    assert {"a": b"e001"} == tree(root)


def test_a_link_is_replaced_and_never_written_through(root):
    outside = root.parent / "outside"
    outside.write_bytes(b"kept")
    sink = opened(root)
    (root / "a").symlink_to(outside)

    sink.apply(batch(recorded(1, "a")))

    assert b"kept" == outside.read_bytes()
    assert b"e001" == (root / "a").read_bytes()
    assert not (root / "a").is_symlink()


def test_a_batch_that_the_projection_refuses_leaves_nothing_behind(root):
    sink = opened(root)

    with pytest.raises(ValueError, match="refused") as refused:
        sink.apply(batch(*(recorded(n, f"job-{n}") for n in range(20)), recorded(50, "refused")))

    assert "permanent" == sink.classify(refused.value)
    assert {} == tree(root)
    assert ["epoch"] == [path.name for path in (root / ".staging").iterdir()]


def test_a_former_owner_writes_nothing_and_may_not_come_back(root):
    former = opened(root, 1)
    former.apply(batch(recorded(1, "a")))
    successor = opened(root, 2)
    successor.apply(batch(recorded(2, "a")))

    assert "fenced" == former.apply(batch(recorded(3, "a")))
    with pytest.raises(Fenced):
        former.open(PARTITION, 1)
    assert "applied" == successor.apply(batch(recorded(4, "a")))
    assert {"a": b"e001 e002 e004"} == tree(root)


def test_an_owner_that_loses_the_directory_while_it_folds_writes_nothing(root):
    class Slow(Named):
        def fold(self, name, content, events):
            opened(root, 2).apply(batch(recorded(2, "a")))
            return super().fold(name, content, events)

    former = sink_of(Slow(Place("named", catalogue=CATALOGUE, location=str(root))))
    former.open(PARTITION, 1)

    assert "fenced" == former.apply(batch(recorded(1, "a")))
    assert {"a": b"e002"} == tree(root)


def test_a_directory_that_is_deleted_is_made_again(root):
    sink = opened(root)
    sink.apply(batch(recorded(1, "a")))
    shutil.rmtree(root)

    sink.apply(batch(recorded(2, "b")))

    assert {"b": b"e002"} == tree(root)
    assert sink.health() is None


@pytest.mark.parametrize("location", ["s3://bucket/prefix", "", "ftp://host/x"])
def test_a_place_that_is_no_directory_is_refused(location):
    with pytest.raises(InvalidSetting, match=r"the projection named (has no|keeps files in a) directory"):
        sink_in(location)


def test_the_directory_of_another_projection_is_refused(root):
    other = JsonFiles(root)
    other.open(PARTITION, 1)
    other.close()

    with pytest.raises(InvalidSetting, match="another projection") as refused:
        sink_in(root).open(PARTITION, 1)

    assert "permanent" == sink_in(root).classify(refused.value)


def test_the_place_of_a_projection_that_declares_none_is_below_the_data_directory(tmp_path):
    named_like_ours = Domain("others", requires=["jobs"])
    named_like_ours.projection("eventlog", Named, reads=[JobCompleted])
    settings = Settings({"PLAYHEAD_DATA_DIR": tmp_path, "PLAYHEAD_KEEP_CHUNKS": False}, ())
    servers = Servers(None, None, tmp_path)

    with chosen([reports, named_like_ours]):
        places = {name: place_of(name, settings, servers) for name in ("named", "eventlog")}
        directories = default_directories(settings)

    assert {"named": str(tmp_path / "named"), "eventlog": ""} == {name: one.location for name, one in places.items()}
    assert {"named": str(tmp_path / "named"), "eventlog": ""} == directories
    assert isinstance(sink_of(Named(places["named"])), ProjectedFiles)
