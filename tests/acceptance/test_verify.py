"""`playhead verify` on real processes: it finds what was taken away by hand, and brings it back."""

import json
from itertools import count
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from playhead.embedded.servers import running_servers
from playhead.eventlog.writer import LogWriter
from playhead.streams.appending.producer import Producer
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

SHIPMENTS = Partition("shipments", 0)


def test_what_was_removed_or_altered_by_hand_is_named_and_repaired(stack):
    lines = [
        {"type": "job.completed", "subject": f"job/{n}", "data": {"job_id": str(n), "job": {}, "result": again}}
        for again in ("first", "again")
        for n in range(20)
    ]
    lines.append({"type": "job.completed", "subject": "job/bad", "data": {"no": "job id"}})
    lines.append({"type": "job.completed", "subject": "job/nul", "data": {"job_id": "a\0b", "job": {}, "result": "x"}})
    appended = stack.playhead("append", stdin="\n".join(map(json.dumps, lines)).encode())
    assert appended.returncode == 0
    captured = json.loads(stack.playhead("capture", "-", "--json", stdin=b"a page").stdout)
    stack.caught_up()
    well = stack.json("verify")
    tree, rows = stack.tree(), stack.rows()
    with psycopg.connect(running_servers(stack.directory).database_url) as connection:
        connection.execute("DELETE FROM jobs WHERE job_id = '3'")
        connection.execute("DELETE FROM organization_results WHERE job_id = '4'")
    files = sorted((stack.directory / "outputs").glob("daily/*/processed/*.json"))
    files[4].unlink()
    files[5].write_bytes(files[5].read_bytes().replace(b"again", b"AGAIN"))
    (archive,) = (stack.directory / "archives").glob("*.tar.gz")
    packed = archive.read_bytes()
    archive.write_bytes(packed[:-1])

    found = stack.json("verify")
    *_, last = stack.playhead("verify").stdout.decode().splitlines()

    assert "verified 5 of 5 projections, but 5 parked: `playhead parked list`" == last
    assert [] == well["faults"]
    assert {"jobs": 42, "json-files": 42, "organizations": 42, "archives": 1, "recordings": 0} == well["checked"]
    assert ["job/bad"] * 3 + ["job/nul"] * 2 == sorted(parked["subject"] for parked in well["parked"])
    assert {
        ("missing", "json-files", key(files[4])),
        ("altered", "json-files", key(files[5])),
        ("missing", "jobs", "3"),
        ("missing", "organizations", "4"),
        ("altered", "archives", captured["id"]),
    } == {(fault["kind"], fault["projection"], fault["key"]) for fault in found["faults"]}
    assert 5 == len(found["faults"])
    assert 4 == stack.playhead("verify").returncode

    repaired = stack.playhead("verify", "--repair")

    assert (0, True) == (repaired.returncode, b"5 repaired" in repaired.stdout)
    assert (tree, rows, packed) == (stack.tree(), stack.rows(), archive.read_bytes())

    assert stack.stop() == 0
    sealed = seal_jobs(stack.directory / "eventlog")
    flip_a_bit(sealed)
    stack.start()
    stack.wait_until(lambda: sealed.name.encode() in stack.playhead("status").stdout)
    with psycopg.connect(running_servers(stack.directory).database_url) as connection:
        connection.execute("DELETE FROM jobs WHERE job_id = '5'")
    files[6].unlink()
    stack.json("verify", "--repair")
    damaged = stack.json("verify")

    assert sealed.name in {Path(fault["file"].partition(":")[0]).name for fault in damaged["faults"]}
    assert {"log"} == {fault["projection"] for fault in damaged["faults"]}

    flip_a_bit(sealed)
    found = stack.json("verify")

    assert {("missing", "json-files", key(files[6])), ("missing", "jobs", "5")} == {
        (fault["kind"], fault["projection"], fault["key"]) for fault in found["faults"]
    }
    assert 0 == stack.playhead("verify", "--repair").returncode
    assert (tree, rows) == (stack.tree(), stack.rows())


def test_what_belongs_to_a_domain_that_is_not_loaded_is_named(stack):
    log = LogWriter(stack.directory / "eventlog")
    log.open(SHIPMENTS, 1)
    event = new_event("shipment.sent", subject="shipment/1", data={})
    log.apply(Batch(Source(SHIPMENTS), [Recorded(event, Position(1, 0))], Position(1, 0)))
    log.close()
    stack.caught_up()
    with psycopg.connect(running_servers(stack.directory).database_url) as connection:
        connection.execute("INSERT INTO playhead_migrations (name, sha256) VALUES ('returns/0001_returns', '')")
    found = stack.json("verify")
    checks = {check["name"]: check["result"] for check in stack.json("doctor")["checks"]}

    assert ["shipments"] == found["undeclared"]
    assert b"the stream shipments: no installed domain declares it" in stack.playhead("verify").stdout
    assert ("warn", "warn") == (checks["stream shipments"], checks["domain returns"])


def key(file: Path) -> str:
    """The day and the job of a file."""
    return f"{file.parts[-3]}/{file.stem}"


def seal_jobs(root: Path) -> Path:
    """Seal the log's segment of the jobs, and give the sealed one."""
    log = LogWriter(root, segment_seconds=0)
    log.open(Partition("jobs", 0), 1)
    log.settle()
    log.close()
    (sealed,) = (root / "jobs" / "0").glob("*.zst")
    return sealed


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.timeout(600)
def test_what_is_appended_meanwhile_is_no_fault(stack):
    stopping, numbers = Event(), count()

    def append() -> None:
        with Producer(running_servers(stack.directory).redis_url) as producer:
            while not stopping.wait(0.2):
                number = next(numbers)
                organization = {"name": f"Org {number % 11}", "url": "https://example.org"}
                data = {"job_id": f"{number % 7}", "job": {}, "result": organization}
                new = {"job_id": f"new-{number}", "job": {}, "result": "text"}
                producer.append_events(
                    [
                        new_event("job.completed", subject=f"job/{number % 7}", data=data),
                        new_event("job.failed", subject=f"job/new-{number}", data=new),
                        new_event("content.captured", subject=f"c/{number}", data={"content": f"page {number}"}),
                    ]
                )

    appending = Thread(target=append)
    appending.start()
    try:
        stack.wait_until((stack.directory / "eventlog" / "jobs").exists)
        found = [stack.json("verify", *repair) for repair in [()] * 10 + [("--repair",)]]
    finally:
        stopping.set()
        appending.join()
    stack.caught_up()
    well = stack.json("verify")

    assert [([], [], 0)] * 11 == [(one["faults"], one["undecided"], one["repaired"]) for one in found]
    assert ([], [], 3 * next(numbers)) == (well["faults"], well["undecided"], well["events"])


def test_a_dry_run_says_what_a_repair_would_do_and_changes_nothing(stack):
    lines = [
        {"type": "job.completed", "subject": f"job/{n}", "data": {"job_id": str(n), "job": {}, "result": "first"}}
        for n in range(5)
    ]
    stack.playhead("append", stdin="\n".join(map(json.dumps, lines)).encode())
    stack.caught_up()
    files = sorted((stack.directory / "outputs").glob("daily/*/processed/*.json"))
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes().replace(b"first", b"FIRST"))
    files[2].with_name("copy.json").write_bytes(b"{}")
    tree, rows = stack.tree(), stack.rows()

    text = stack.playhead("verify", "--repair", "--dry-run")
    found = stack.json("verify", "--repair", "--dry-run")
    alone = stack.playhead("verify", "--dry-run")

    assert {("missing", "replay"), ("altered", "replace"), ("stray", "none")} == {
        (fault["kind"], fault["repair"]) for fault in found["faults"]
    }
    assert (4, 0) == (text.returncode, found["repaired"])
    said = ["would replay its events", "would take it out of the way, and replay its events", "would leave it as it is"]
    assert all(one in text.stdout.decode() for one in said)
    assert (tree, rows) == (stack.tree(), stack.rows())
    assert (2, True) == (alone.returncode, b"add --repair" in alone.stderr)
