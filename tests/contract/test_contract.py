"""Every sink keeps the contract: ours, and those of a projection of one's own."""

import json
from collections import defaultdict
from pathlib import Path

import msgspec
import psycopg
import pytest

from playhead.eventlog.reader import read
from playhead.eventlog.writer import LogWriter
from playhead.projections.content.archive import read_archive
from playhead.projections.content.projection import Archives
from playhead.projections.jobs.json_files.objects import JsonObjects
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.table.projection import Jobs
from playhead.projections.organizations.projection import Organizations
from playhead.projections.recordings.projection import Recordings
from playhead.streams.events import new_event
from playhead.streams.failpoints import Point
from playhead.streams.storage.buckets import Bucket
from playhead.testing import FILE_POINTS, TABLE_POINTS, event_of, sink_of
from playhead.testing import place_of as place_in
from playhead.testing.contract import SinkContract
from tests.faults import effects
from tests.support.events import job
from tests.support.invoices import InvoicePaid, Payments, Revenue, invoices
from tests.support.places import place_of
from tests.support.s3 import s3_server

NO_JOB = new_event("job.completed", subject="s", data={"job": {}}, id="e3")


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".staging" not in path.parts
    }


@pytest.fixture
def playhead_domains():
    return [invoices]


@pytest.fixture(scope="module")
def bucket_server():
    with s3_server() as environment:
        yield environment


class InDirectory(SinkContract):
    @pytest.fixture(autouse=True)
    def directory_of_this_test(self, tmp_path):
        self.directory = tmp_path / "sink"

    def snapshot(self):
        return files_below(self.directory)


class InDatabase(SinkContract):
    points = TABLE_POINTS
    table: str
    columns: str

    @pytest.fixture(autouse=True)
    def database_of_this_test(self, playhead_database):
        self.database = playhead_database

    def query(self, statement):
        with psycopg.connect(self.database) as connection:
            return connection.execute(statement).fetchall()

    def holds(self):
        found = defaultdict(list)
        for subject, event_id in self.query(f"SELECT {self.columns} FROM {self.table} "):
            found[subject].append(event_id)
        return {subject: sorted(ids, key=lambda event_id: int(event_id[1:])) for subject, ids in found.items()}

    def snapshot(self):
        return self.query(f"SELECT * FROM {self.table} ORDER BY {self.columns}")


class OfJobs(SinkContract):
    stream = "jobs"

    def event(self, number, subject):
        return job(number, f"job/{subject}")

    def refused(self, number, subject):
        return NO_JOB


class TestTheLog(InDirectory):
    stream = "jobs"
    fence = "lock"
    keeps_all = True
    keeps_foreign = True
    points = (Point.MID_FILE, Point.BEFORE_SYNC, Point.AFTER_SYNC)

    def make_sink(self):
        return LogWriter(self.directory)

    def event(self, number, subject):
        return job(number, f"job/{subject}")

    def holds(self):
        found = defaultdict(list)
        for _, recorded in read(self.directory):
            found[recorded.event.subject.removeprefix("job/")].append(recorded.event.id)
        return found


class TestJsonFiles(OfJobs, InDirectory):
    points = FILE_POINTS

    def make_sink(self):
        return JsonFiles(self.directory)

    def holds(self):
        return newest_in(files_below(self.directory))


class TestJsonFilesInABucket(OfJobs):
    fence = "none"
    forks = False

    @pytest.fixture(autouse=True)
    def bucket_of_this_test(self, bucket_server, monkeypatch, tmp_path):
        for name, value in bucket_server.items():
            monkeypatch.setenv(name, value)
        self.location = f"s3://bucket/{tmp_path.name}"

    def make_sink(self):
        return JsonObjects(self.location)

    def snapshot(self):
        bucket = Bucket(self.location)
        return {name: bucket.get(name) for name, *_ in bucket.list()}

    def holds(self):
        return newest_in(self.snapshot())


class TestJobs(OfJobs, InDatabase):
    table, columns = "jobs", "job_id, event_id"

    def make_sink(self):
        return Jobs(place_of("jobs", self.database))


class TestOrganizations(InDatabase):
    stream = "jobs"
    table, columns = "organization_results", "job_id, event_id"

    def make_sink(self):
        return Organizations(place_of("organizations", self.database))

    def event(self, number, subject):
        return effects.organization(number, subject)

    def refused(self, number, subject):
        return NO_JOB


class TestRecordings(InDatabase):
    stream = "recordings"
    table, columns = "temp_recordings", "meeting_id, id"
    keeps_all = True

    def make_sink(self):
        return Recordings(place_of("recordings", self.database))

    def event(self, number, subject):
        return effects.chunk(number, subject)

    def refused(self, number, subject):
        return msgspec.structs.replace(self.event(number, subject), data=b"{}")


class TestArchives(InDirectory):
    stream = "content"
    fence = "none"
    keeps_all = True
    points = FILE_POINTS

    def make_sink(self):
        return Archives(self.directory, self.directory / ".blobs")

    def event(self, number, subject):
        return effects.capture(number, subject)

    def refused(self, number, subject):
        return msgspec.structs.replace(self.event(number, subject), data=b"{}")

    def holds(self):
        found = defaultdict(list)
        for path in sorted(self.directory.glob("*.tar.gz")):
            metadata = read_archive(path.read_bytes()).metadata
            found[metadata["metadata"]["subject"]].append(metadata["event_id"])
        return {subject: sorted(ids, key=lambda event_id: int(event_id[1:])) for subject, ids in found.items()}


class OfInvoices(SinkContract):
    stream = "invoices"

    def event(self, number, subject):
        return event_of(InvoicePaid(subject, number), id=f"e{number}")

    def refused(self, number, subject):
        return event_of(InvoicePaid(subject, -1), id=f"e{number}")


class TestATableOfOnesOwn(OfInvoices, InDatabase):
    table, columns = "revenue", "number, event_id"

    def make_sink(self):
        return sink_of(Revenue(place_in(invoices, "revenue", database_url=self.database)))


class TestFilesOfOnesOwn(OfInvoices, InDirectory):
    keeps_all = True
    points = FILE_POINTS

    def make_sink(self):
        return sink_of(Payments(place_in(invoices, "payments", location=self.directory)))

    def holds(self):
        found = defaultdict(list)
        for content in files_below(self.directory).values():
            for line in content.decode().splitlines():
                _, subject, _, event_id = line.split(",")
                found[subject].append(event_id)
        return found


def newest_in(files: dict[str, bytes]) -> dict[str, list[str]]:
    jobs = [json.loads(content) for name, content in files.items() if "/scrapers/" in name]
    return {one["job_id"]: [one["event_id"]] for one in jobs}
