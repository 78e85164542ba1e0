"""The main job through the command line, on real processes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.stack import Stack


@pytest.fixture
def recorded(tmp_path) -> Path:
    """A day of recorder files in the shapes that real ones have."""
    day = tmp_path / "old" / "daily" / "2025-08-09"
    for number in range(60):
        scraper = "freshtrak" if number % 3 else None
        folder = day / "scrapers" / scraper if scraper else day / "processed"
        folder.mkdir(parents=True, exist_ok=True)
        job_id = f"17547214{number:02d}.200222"
        job = {
            "id": job_id,
            "prompt": "Convert",
            "format": {},
            "provider_config": {},
            "metadata": {"scraper_id": scraper} if scraper else {},
            "created_at": f"2025-08-09 06:36:{number:02d}.200226",
        }
        result = ['{"organizations": []}', "```json\n[]\n```", "Invalid JSON response", 'NUL \x00, \ud800, "NaN"'][
            number % 4
        ]
        (folder / f"{job_id}.json").write_text(
            json.dumps({"job_id": job_id, "job": job, "result": result, "error": None})
        )
    (day / "summary.json").write_text('{"date": "2025-08-09", "total_jobs": 99}')
    return day


def test_an_old_tree_is_imported_once_and_everything_comes_back_from_the_log(stack, recorded):
    first = stack.json("replay", "--directory", str(recorded))
    stack.caught_up()
    tree, rows, log = stack.tree(), stack.rows(), stack.log()
    day = "daily/2025-08-09/"
    originals = {
        day + str(path.relative_to(recorded)): json.loads(path.read_bytes()) for path in recorded.glob("**/*.json")
    }
    del originals[day + "summary.json"]

    assert (60, 60, 0, 0) == (first["read"], first["imported"], first["replayed"], first["failed"])
    assert {"summary": 1} == first["skipped"]
    assert originals.keys() == tree.keys() - {day + "summary.json"}
    for name, original in originals.items():
        assert original == {member: json.loads(tree[name])[member] for member in original}
    assert json.loads(tree[day + "summary.json"])["total_jobs"] == 60
    assert len(rows) == 60
    assert {"events": 60, "faults": []}.items() <= stack.json("log", "verify").items()

    again = stack.json("replay", "--directory", str(recorded))
    stack.caught_up()

    assert (0, 60) == (again["imported"], again["replayed"])
    assert (tree, rows, log) == (stack.tree(), stack.rows(), stack.log())

    shutil.rmtree(stack.directory / "outputs")
    stack.empty_table()
    stack.json("replay", "--log")
    stack.caught_up()

    assert (tree, rows, log) == (stack.tree(), stack.rows(), stack.log())

    stack.empty_table()
    stack.json("replay", "--directory", str(stack.directory / "outputs"))
    stack.caught_up()

    assert (rows, log) == (stack.rows(), stack.log())


def test_kill_9_of_every_process_during_an_import_changes_nothing_about_its_end(stack, recorded):
    importing = subprocess.Popen(
        [sys.executable, "-m", "playhead", "replay", "--directory", str(recorded), "--data-dir", str(stack.directory)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    stack.wait_until(lambda: len(stack.log()) > 0 or importing.poll() is not None)
    stack.kill_everything()
    importing.wait(60)

    stack.start()
    stack.wait_until(lambda: stack.playhead("replay", "--directory", str(recorded)).returncode == 0)
    stack.caught_up()

    assert len(stack.rows()) == 60
    assert len(stack.tree()) == 61
    assert {"events": 60, "faults": []}.items() <= stack.json("log", "verify").items()


def test_a_bad_event_is_parked_and_the_rest_flows(stack):
    good = stack.playhead(
        "append", "job.completed", "--subject", "job/1", "--data", '{"job_id": "1", "job": {}, "result": 1}'
    )
    bad = stack.playhead("append", "job.completed", "--subject", "job/2", "--data", '{"no": "job id"}')
    behind = stack.playhead(
        "append", "job.completed", "--subject", "job/2", "--data", '{"job_id": "2", "job": {}, "result": 1}'
    )
    last = stack.playhead(
        "append", "job.completed", "--subject", "job/3", "--data", '{"job_id": "3", "job": {}, "result": 1}'
    )
    stack.caught_up()
    parked = {one["name"]: one["parked"] for one in stack.json("status")["consumers"] if one["partition"] == "jobs/0"}

    assert [0, 0, 0, 0] == [one.returncode for one in (good, bad, behind, last)]
    assert {"log": 0, "json-files": 2, "jobs": 2, "organizations": 2} == parked
    assert len(stack.rows()) == 2

    bad_one, waiting = stack.json("parked", "list", "jobs")
    position = bad.stdout.decode().strip()
    head, row, _ = stack.playhead("parked", "list", "jobs").stdout.decode().splitlines()
    shown = json.loads(stack.playhead("parked", "show", "jobs", bad_one["id"]).stdout)

    assert ("refused", "behind") == (bad_one["reason_class"], waiting["reason_class"])
    assert (["ID", "POSITION"], [bad_one["id"], position]) == (head.split()[:2], row.split()[:2])
    assert (bad_one["id"], position, "job/2") == (shown["parked_id"], shown["parked_position"], shown["ce_subject"])

    replayed = stack.playhead("replay", "--log", "--to", "jobs")
    assert (1, True) == (replayed.returncode, b"`playhead parked list` has the reasons" in replayed.stderr)
    unknown = stack.playhead("parked", "retry", "jobs", "1-1")
    assert (1, b"", True) == (unknown.returncode, unknown.stdout, b"has no parked event 1-1" in unknown.stderr)
    stack.playhead("parked", "retry", "jobs")
    stack.wait_until(lambda: b"still parked" in stack.messages())

    assert len(stack.json("parked", "list", "jobs")) == 2

    dropped = stack.playhead("parked", "drop", "jobs", bad_one["id"])
    assert (0, True) == (dropped.returncode, b"`playhead parked retry jobs`" in dropped.stdout)
    stack.playhead("parked", "retry", "jobs")
    stack.wait_until(lambda: stack.json("parked", "list", "jobs") == [])

    assert len(stack.rows()) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["append", "job.completed", "--subject", "job/1", "--data", "{"], 2, b"data"),
        (["append", "job.completed", "--data", "{}"], 2, b"subject"),
        (["append", "job.completed", "--subject", "job/1", "--time", "noon", "--data", "{}"], 2, b"time"),
        (["replay", "--directory", "/does/not/exist"], 2, b"not a directory"),
        (["run", "nobody"], 2, b"nobody"),
    ],
)
def test_bad_input_gets_one_clear_line(stack, arguments, code, message):
    done = stack.playhead(*arguments)

    assert code == done.returncode
    assert message in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_without_servers_the_exit_code_is_3(tmp_path, wait_until):
    done = Stack(tmp_path / "nothing", wait_until).playhead("status")

    assert done.returncode == 3
    assert b"playhead up" in done.stderr
