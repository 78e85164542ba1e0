"""`playhead verify` on real processes: it finds what was taken away by hand, and brings it back."""

import json

import psycopg
import pytest

from playhead.embedded.servers import running_servers
from tests.acceptance.test_recorded_jobs import Stack


@pytest.fixture
def stack(tmp_path, wait_until):
    stack = Stack(tmp_path / "data", wait_until)
    stack.start()
    yield stack
    if stack.process.poll() is None:
        assert stack.stop() == 0


def test_what_was_removed_or_altered_by_hand_is_named_and_repaired(stack):
    lines = [
        {"type": "job.completed", "subject": f"job/{n}", "data": {"job_id": str(n), "job": {}, "result": again}}
        for again in ("first", "again")
        for n in range(20)
    ]
    lines.append({"type": "job.completed", "subject": "job/bad", "data": {"no": "job id"}})
    appended = stack.playhead("append", stdin="\n".join(map(json.dumps, lines)).encode())
    assert appended.returncode == 0
    captured = json.loads(stack.playhead("capture", "-", "--json", stdin=b"a page").stdout)
    stack.caught_up()
    well = stack.json("verify")
    tree, rows = stack.tree(), stack.rows()
    with psycopg.connect(running_servers(stack.directory).database_url) as connection:
        connection.execute("DELETE FROM jobs WHERE job_id = '3'")
    files = sorted((stack.directory / "outputs").glob("daily/*/processed/*.json"))
    files[4].unlink()
    files[5].write_bytes(files[5].read_bytes().replace(b"again", b"AGAIN"))
    (archive,) = (stack.directory / "archives").glob("*.tar.gz")
    packed = archive.read_bytes()
    archive.write_bytes(packed[:-1])

    found = stack.json("verify")

    assert [] == well["faults"]
    assert {"jobs": 41, "json-files": 41, "archives": 1} == well["checked"]
    assert ["job/bad", "job/bad"] == [parked["subject"] for parked in well["parked"]]
    assert {
        ("missing", "json-files", files[4].stem),
        ("altered", "json-files", files[5].stem),
        ("missing", "jobs", "3"),
        ("altered", "archives", captured["id"]),
    } == {(fault["kind"], fault["projection"], fault["key"]) for fault in found["faults"]}
    assert 4 == len(found["faults"])
    assert 4 == stack.playhead("verify").returncode

    repaired = stack.playhead("verify", "--repair")

    assert (0, True) == (repaired.returncode, b"4 repaired" in repaired.stdout)
    assert (tree, rows, packed) == (stack.tree(), stack.rows(), archive.read_bytes())

    segment = next((stack.directory / "eventlog" / "jobs" / "0").glob("*.jsonl"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    flipped = stack.playhead("verify", "--json")

    assert 4 == flipped.returncode
    assert segment.name in json.loads(flipped.stdout)["faults"][0]["file"]
    segment.write_bytes(
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
    )
