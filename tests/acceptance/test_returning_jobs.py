"""A job id that occurs on four days of a recorder's tree: four runs of the job, imported, replayed and compared."""

import json
import shutil

import pytest

DAYS = ["2025-07-23", "2025-07-24", "2025-08-08", "2025-08-09"]


@pytest.fixture
def recorded(tmp_path):
    """Four days of recorder files; those of `test-job` differ in when the job was made, and in nothing else."""
    daily = tmp_path / "old" / "daily"
    for day in DAYS:
        for job_id, number in (("test-job", 0), (f"{day}.1", 1), (f"{day}.2", 2)):
            created_at = f"{day} 23:19:4{number}.337363"
            job = {"id": job_id, "prompt": "Test prompt", "format": {}, "metadata": {}, "created_at": created_at}
            path = daily / day / "processed" / f"{job_id}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                json.dumps({"job_id": job_id, "job": job, "result": "Test response", "error": None}, indent=2)
            )
        (daily / day / "summary.json").write_text(json.dumps({"date": day, "total_jobs": 36}))
    return daily


def test_each_of_its_files_is_as_it_was_and_comes_back(stack, recorded):
    first = stack.json("replay", "--directory", str(recorded))
    stack.caught_up()
    tree, rows, log = stack.tree(), stack.rows(), stack.log()
    names = {path.relative_to(recorded.parent).as_posix(): path for path in recorded.rglob("processed/*.json")}
    (row,) = [row for row in rows if "test-job" in row[0]]
    well = stack.json("verify")

    assert (12, 12, 0) == (first["read"], first["imported"], first["failed"])
    assert {*names, *(f"daily/{day}/summary.json" for day in DAYS)} == tree.keys()
    for name, path in names.items():
        assert json.loads(path.read_bytes()).items() <= json.loads(tree[name]).items()
    assert [3, 3, 3, 3] == [json.loads(tree[f"daily/{day}/summary.json"])["total_jobs"] for day in DAYS]
    assert DAYS[-1] in row[0]
    assert [] == well["faults"]

    again = stack.json("replay", "--directory", str(recorded))
    stack.json("replay", "--log")
    stack.caught_up()

    assert (0, 12) == (again["imported"], again["replayed"])
    assert (tree, rows, log) == (stack.tree(), stack.rows(), stack.log())

    shutil.rmtree(stack.directory / "outputs")
    stack.json("replay", "--log")
    stack.caught_up()

    assert tree == stack.tree()

    earlier = stack.directory / "outputs" / "daily" / DAYS[1] / "processed" / "test-job.json"
    earlier.unlink()
    (fault,) = stack.json("verify")["faults"]
    repaired = stack.json("verify", "--repair")

    assert ("missing", "json-files", f"{DAYS[1]}/test-job", str(earlier)) == (
        fault["kind"],
        fault["projection"],
        fault["key"],
        fault["file"],
    )
    assert (1, []) == (repaired["repaired"], repaired["faults"])
    assert (tree, rows) == (stack.tree(), stack.rows())


def test_a_live_result_of_a_day_replaces_that_of_the_day_and_no_other(stack, recorded):
    stack.json("replay", "--directory", str(recorded))
    stack.caught_up()
    before = stack.tree()
    job = {"id": "test-job", "metadata": {"scraper_id": "tests"}, "created_at": f"{DAYS[1]}T23:59:00Z"}
    data = json.dumps({"job_id": "test-job", "job": job, "result": "later"})
    appended = stack.playhead("append", "job.completed", "--subject", "job/test-job", "--data", data)
    stack.caught_up()
    after = stack.tree()
    old, new = f"daily/{DAYS[1]}/processed/test-job.json", f"daily/{DAYS[1]}/scrapers/tests/test-job.json"
    summary = f"daily/{DAYS[1]}/summary.json"

    assert 0 == appended.returncode
    assert {old} == before.keys() - after.keys()
    assert {new} == after.keys() - before.keys()
    assert {summary} == {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert "later" == json.loads(after[new])["result"]
    assert [] == stack.json("verify")["faults"]
