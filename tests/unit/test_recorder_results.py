"""Job results in recorder files: told by what they hold, read as they are meant, and nothing left out unsaid."""

import json
from pathlib import Path

import pytest

from playhead.eventlog.jobs.recorder_files import RecorderFiles
from playhead.eventlog.replay.chosen_files import ChosenFiles
from playhead.eventlog.replay.files import Found
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.streams.events import Event, Recorded, format_time, new_event
from playhead.streams.jobs.outcomes import is_error, meaning_of, meanings_of
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.file_tree import Skipped

CREATED = "2025-08-09T00:00:00.000000Z"
MARK = b"\xef\xbb\xbf"
PLAIN = b'{"job_id":"bom","job":{"id":"bom","created_at":"2025-08-09T00:00:00Z"},"result":{"a":1.10,"b":-0,"c":1E5}}'


def result(job_id: object = "a", **changed: object) -> dict[str, object]:
    return {"job_id": job_id, "job": {"id": "x", "created_at": "2025-08-09T00:00:00Z"}, "result": 1} | changed


def recorded(number: int, name: str, scraper: str | None) -> Recorded:
    data = {"job_id": name, "job": {"created_at": CREATED, "metadata": {"scraper_id": scraper}}}
    event = new_event("job.completed", subject=f"job/{name}", data=data, id=f"event-{number}")
    return Recorded(event, Position(number, 0))


def examined(directory: Path, content: bytes, name: str = "one.json", **statuses: str) -> list[Found | Skipped]:
    (directory / name).write_bytes(content)
    with RecorderFiles(directory, meanings_of(statuses)) as files:
        return list(files.examine(name))


def events(directory: Path) -> list[Event]:
    """What the files of a directory give, each read again from its place, as an import does."""
    with RecorderFiles(directory) as files:
        names = [name for name in files.names() if isinstance(name, str)]
        found = [one for name in names for one in files.examine(name) if isinstance(one, Found)]
        return [files.event(one.name, "run", start=one.start, length=one.length) for one in found]


def skipped(directory: Path) -> list[Skipped]:
    with RecorderFiles(directory) as files:
        names = list(files.names())
        within = [one for name in names if isinstance(name, str) for one in files.examine(name)]
        return [one for one in (*names, *within) if isinstance(one, Skipped)]


def test_a_job_called_summary_is_a_job(tmp_path):
    (tmp_path / "processed").mkdir()
    content = b'{"job_id":"summary","job":{"id":"summary","created_at":"2025-08-09T00:00:00Z"},"result":1}\n'
    (tmp_path / "processed" / "summary.json").write_bytes(content)

    (event,) = events(tmp_path)

    assert ("job/summary", content.strip()) == (event.subject, event.data)


@pytest.mark.parametrize("name", ["summary.json", "a.json", "2025-08-09.JSON"])
def test_a_summary_of_ours_is_no_job_whatever_it_is_called(tmp_path, name):
    content = {"date": "2025-08-09", "total_jobs": 1, "scrapers": {}, "jobs": [{"job_id": "a", "scraper_id": "s"}]}

    assert [Skipped(name, "summary", spare=True)] == examined(tmp_path, json.dumps(content).encode(), name)


def test_what_playhead_writes_is_read_again_whatever_the_jobs_are_called(tmp_path):
    names = ["summary", "latest", "..", ".staging", "a/b", "daily", "2025-08-09", "x.json", "7", "é", "s" * 300]
    jobs = [
        Recorded(
            new_event(
                "job.completed",
                subject=f"job/{name}",
                data={"job_id": name, "job": {"created_at": CREATED, "metadata": {"scraper_id": scraper}}},
                id=f"{name} {scraper}",
            ),
            Position(1 + number, 0),
        )
        for number, (name, scraper) in enumerate(
            (name, name if number % 2 else None) for number, name in enumerate(names)
        )
    ]
    partition = Partition("jobs", 0)
    sink = JsonFiles(tmp_path)
    sink.open(partition, 1)
    sink.apply(Batch(Source(partition), jobs, jobs[-1].position))
    sink.close()

    found = events(tmp_path)

    assert sorted((one.event.id, one.event.subject) for one in jobs) == sorted((one.id, one.subject) for one in found)
    assert {("summary", True), ("symbolic link", True)} == {(one.reason, one.spare) for one in skipped(tmp_path)}


def test_a_byte_order_mark_changes_neither_the_event_nor_a_number(tmp_path):
    for name, content in {
        "plain.json": PLAIN,
        "bom.json": MARK + PLAIN,
        "lines.jsonl": MARK + PLAIN + b"\r\n" + PLAIN,
        "list.json": MARK + b"[" + PLAIN + b"]",
    }.items():
        (tmp_path / name).write_bytes(content)

    found = events(tmp_path)

    assert {PLAIN} == {event.data for event in found}
    assert 5 == len(found)
    assert 1 == len({event.id for event in found})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_utf_16_says_what_to_do(tmp_path, encoding):
    (found,) = examined(tmp_path, PLAIN.decode().encode(encoding))

    assert isinstance(found, Skipped)
    assert (True, True) == (found.broken, "iconv" in found.reason)


@pytest.mark.parametrize("end", ["\\ud83d", "\\uDFFF", "é", "\\ud83d\\ude00", "\\u0000", "\\\\ud800"])
def test_numbers_stay_as_they_are_written_beside_any_text(tmp_path, end):
    content = f'{{"job_id": "a", "job":{{"created_at":"{CREATED}", "n":[1.10, -0]}}, "result":{{"c":1E5,"t":"{end}"}}}}'
    (tmp_path / "one.json").write_text(content)

    (event,) = events(tmp_path)

    assert content.replace(": ", ":").replace(", ", ",").encode() == event.data


@pytest.mark.parametrize(
    ("content", "former_id"),
    [
        (MARK + PLAIN, "cbd0692c-c801-53c6-8773-40d76c73a6ba"),
        (PLAIN.replace(b'"a":1.10', b'"a":1.10,"t":"\\ud83d"'), "9687dfb3-95e5-5c49-a476-9f4c1c9bbffe"),
        (PLAIN, None),
    ],
)
def test_what_version_0_1_0_imported_under_another_id_is_known(tmp_path, content, former_id):
    (found,) = examined(tmp_path, content)
    chosen = ChosenFiles()
    chosen.add(found)
    chosen.mark_known(former_id or found.event_id)

    assert former_id == found.former_id
    assert chosen.has(former_id or found.event_id)
    assert chosen.is_known(former_id or found.event_id)
    assert [] == list(chosen.new())


@pytest.mark.parametrize(
    ("changed", "time"),
    [
        ({"completed_at": ""}, CREATED),
        ({"completed_at": None}, CREATED),
        ({"completed_at": "  "}, CREATED),
        ({"completed_at": "noon"}, CREATED),
        ({"completed_at": 1754700000}, CREATED),
        ({"completed_at": False}, CREATED),
        ({"completed_at": {"$date": 1754700000000}}, CREATED),
        ({"completed_at": "0000-00-00 00:00:00"}, CREATED),
        ({"completed_at": "0001-01-01T00:00:00Z"}, CREATED),
        ({"completed_at": "2025-08-09T24:00:00Z"}, CREATED),
        ({"completed_at": "2025-08-09t01:00:00z"}, "2025-08-09T01:00:00.000000Z"),
        ({"completed_at": "2025-08-10"}, "2025-08-10T00:00:00.000000Z"),
        ({"completed_at": " 2025-08-10T00:00:00 "}, "2025-08-10T00:00:00.000000Z"),
        ({"completed_at": "", "job": {"created_at": "2025-08-08"}}, "2025-08-08T00:00:00.000000Z"),
        (
            {"completed_at": "", "job": {"created_at": ""}, "event_id": "01a20a9f-9df3-73ba-828d-8c852963ab73"},
            "2026-11-23T22:56:02.547000Z",
        ),
    ],
)
def test_an_empty_or_bad_time_gives_way_to_the_next_best(tmp_path, changed, time):
    (found,) = examined(tmp_path, json.dumps(result(**changed)).encode())

    assert isinstance(found, Found), found
    assert time == format_time(found.time)


@pytest.mark.parametrize("created_at", [None, "", "noon", 0, "0001-01-01T00:00:00Z"])
def test_a_result_without_any_good_time_is_named(tmp_path, created_at):
    (found,) = examined(tmp_path, json.dumps(result(completed_at="never", job={"created_at": created_at})).encode())

    assert ("time: neither completed_at nor job.created_at is there and a time", True) == (found.reason, found.broken)


@pytest.mark.parametrize("error", ["null", '""', '" "', r'"\n"', r'"\u0020"', "false", "0", "0.0", "{}", "{ }", "[]"])
def test_an_empty_error_is_none(tmp_path, error):
    content = json.dumps(result(status="completed", error="?")).replace('"?"', error).encode()

    (found,) = examined(tmp_path, content)

    assert ("job.completed", False) == (found.type, found.failed)
    assert not is_error(error.encode())


@pytest.mark.parametrize("error", ['"boom"', '"0"', r'"\u0000x"', "true", "1", '{"code": 0}', "[null]", '"\\ud800"'])
@pytest.mark.parametrize("status", ["completed", "SUCCESS", None, ""])
def test_any_other_error_is_a_failure_whatever_the_status_says(tmp_path, error, status):
    content = json.dumps(result(status=status, error="?")).replace('"?"', error).encode()

    (found,) = examined(tmp_path, content)

    assert ("job.failed", True) == (found.type, found.failed)


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (
            "completed",
            ["completed", "COMPLETE", "Done", "finished", "SUCCESS", "succeeded", "ok", "JobStatus.FINISHED"],
        ),
        (
            "failed",
            ["FAILURE", "failed", "Error", "stopped", "canceled", "CANCELLED", "REVOKED", "timeout", "timed_out"],
        ),
        (
            "failed",
            [
                "TIMED OUT",
                "timed_out",
                "time-out",
                "JobStatus.FAILED",
                "aborted",
                "crashed",
                "dead",
                "expired",
                "skipped",
            ],
        ),
        (
            "unfinished",
            ["queued", "STARTED", "PENDING", "RETRY", "deferred", "scheduled", "in_progress", "In Progress"],
        ),
        (
            "unfinished",
            [
                "RECEIVED",
                "REJECTED",
                "not_found",
                "in_progress",
                "up-for-retry",
                "waiting-children",
                "JobStatus.QUEUED",
            ],
        ),
        (None, ["", "partial", "IGNORED", "42", "no", "complet", "successfully failed", "finished.", "\0"]),
    ],
)
def test_a_status_means_what_its_queue_means_by_it(outcome, statuses):
    assert dict.fromkeys(statuses, outcome) == {status: meaning_of(status) for status in statuses}


@pytest.mark.parametrize(
    ("status", "type"), [("FAILURE", "job.failed"), ("Success", "job.completed"), (" ", "job.completed")]
)
def test_a_status_decides_what_became_of_the_job(tmp_path, status, type):
    (found,) = examined(tmp_path, json.dumps(result(status=status, result=None)).encode())

    assert type == found.type


def test_a_job_that_is_not_finished_is_no_outcome_even_with_an_error_of_its_last_attempt(tmp_path):
    (found,) = examined(tmp_path, json.dumps(result(status="RETRY", error="boom")).encode())

    assert ("unfinished job", False, False) == (found.reason, found.broken, found.spare)
    assert "'RETRY'" in found.detail


@pytest.mark.parametrize(("status", "word"), [("partial", "partial"), (42, "42"), (True, "true"), ({"a": 1}, "a1")])
def test_an_unknown_status_is_said_and_the_user_can_say_what_it_means(tmp_path, status, word):
    content = json.dumps(result(status=status)).encode()

    (unknown,) = examined(tmp_path, content)
    (completed,) = examined(tmp_path, content, **{word: "completed"})
    (failed,) = examined(tmp_path, content, **{word.upper(): "failed"})

    assert ("unknown status", False) == (unknown.reason, unknown.spare)
    assert f"--status {word}=completed" in unknown.detail
    assert ("job.completed", "job.failed") == (completed.type, failed.type)


@pytest.mark.parametrize("text", ["7", "-7", "0", "1754541721.120277", "123456789012345678901", "1E5"])
def test_a_job_id_that_is_a_number_is_its_digits(tmp_path, text):
    numbers = json.dumps(result("?")).replace('"?"', text).encode()
    (tmp_path / "number.json").write_bytes(numbers)
    (tmp_path / "text.json").write_bytes(json.dumps(result(text)).encode())

    number, written = events(tmp_path)

    assert f"job/{text}" == number.subject
    assert text == json.loads(number.data)["job_id"]
    assert written.id == number.id


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", b"[%b]\n"),
        ("pretty.json", b"[\n  %b\n]\n"),
        ("nested.json", b"[[%b]]"),
        ("wrapped.json", b'{"version": 1, "jobs": [%b]}'),
        ("lines.jsonl", b"%b\n"),
        ("LINES.NDJSON", b"\r\n%b\r\n\r\n"),
        ("lines.json", b"%b"),
    ],
)
def test_many_results_in_one_file_are_many_events(tmp_path, name, content):
    between = b"\n" if name.lower().startswith("lines") else b" ,\n"
    results = [result(number, result=f"{number} \N{SNOWMAN}", at=[1]) for number in range(9)]
    written = [json.dumps(one, ensure_ascii=number % 2 == 0).encode() for number, one in enumerate(results)]
    (tmp_path / name).write_bytes(MARK + content % between.join(written))

    found = events(tmp_path)

    assert [f"job/{n}" for n in range(9)] == [event.subject for event in found]
    assert [one["result"] for one in results] == [json.loads(one.data)["result"] for one in found]
    assert [] == skipped(tmp_path)


def test_results_in_a_store_are_found_at_whatever_level_and_by_whatever_name(tmp_path):
    store = {
        "_default": {"1": result("a"), "2": result("b", nested={"results": [result("inner")]})},
        "byName": {"job_id": result("c"), "x": {"y": result("d")}},
    }
    (tmp_path / "deeply" / "nested").mkdir(parents=True)
    (tmp_path / "deeply" / "nested" / "store.json").write_text(json.dumps(store))

    assert ["job/a", "job/b", "job/c", "job/d"] == [event.subject for event in events(tmp_path)]


def test_beside_results_whatever_else_might_be_one_is_counted(tmp_path):
    content = [result("a"), {"job_id": "b"}, 7, None, result("c", status="queued"), result("d", job={}), [result("e")]]
    (tmp_path / "list.json").write_text(json.dumps(content))

    assert ["job/a", "job/e"] == [event.subject for event in events(tmp_path)]
    assert {
        "list.json[1]": "not a job result",
        "list.json[2]": "not a job result",
        "list.json[3]": "not a job result",
        "list.json[4]": "unfinished job",
        "list.json[5]": "time: neither completed_at nor job.created_at is there and a time",
    } == {one.name: one.reason for one in skipped(tmp_path)}


def test_a_bad_line_is_named_and_the_others_are_read(tmp_path):
    lines = [json.dumps(result("a")), '{"job_id": "b", "job', "", '{"x": 1}', json.dumps(result("c"))]
    (tmp_path / "one.jsonl").write_text("\n".join(lines))

    found = skipped(tmp_path)

    assert ["job/a", "job/c"] == [event.subject for event in events(tmp_path)]
    assert [("one.jsonl, line 2", True), ("one.jsonl, line 4", False)] == [(one.name, one.broken) for one in found]


@pytest.mark.parametrize(
    "content",
    [
        '{"specversion":"1.0","id":"1","type":"job.completed","data":%s}',
        '{"position":"1-0","crc32c":"00000000","event":{"specversion":"1.0","data":%s}}',
        '[{"specversion":"1.0","data":%s}]',
    ],
)
def test_events_of_a_log_are_no_recorder_files_so_nothing_is_doubled(tmp_path, content):
    line = content % json.dumps(result())
    (tmp_path / "one.jsonl").write_text(f"{line}\n{line}\n")

    assert [] == events(tmp_path)
    assert 2 == len(skipped(tmp_path))


def test_what_nobody_looks_into_is_counted_and_what_stands_elsewhere_is_no_loss(tmp_path):
    for name in ("a.json", "b.JSON", "notes.txt", "noname", ".hidden.json", "c.json.gz"):
        (tmp_path / name).write_text(json.dumps(result(name)))
    (tmp_path / ".staging").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "inside.json").symlink_to("a.json")
    (tmp_path / "outside.json").symlink_to("../a.json")
    (tmp_path / "absolute.json").symlink_to(tmp_path / "a.json")

    assert ["job/a.json", "job/b.JSON"] == [event.subject for event in events(tmp_path)]
    assert {
        ("notes.txt", "other file name", False),
        ("noname", "other file name", False),
        ("c.json.gz", "other file name", False),
        (".hidden.json", "hidden", False),
        (".git", "hidden", False),
        ("inside.json", "symbolic link", True),
        ("outside.json", "symbolic link", False),
        ("absolute.json", "symbolic link", False),
    } == {(one.name, one.reason, one.spare) for one in skipped(tmp_path)}
