"""Every example of a page runs, in the order of the page and in one fresh directory.

A block of Python is a program, or the file that a comment in its first line names; a block of console lines is a shell
script, and the next block begins in the directory where it ended. A comment `<!-- not run: why -->` on the line before
a block leaves it out.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from playhead.embedded.directory import load_running
from playhead.embedded.servers import running_servers
from playhead.eventlog.reader import read
from playhead.eventlog.writer import LogWriter
from playhead.settings.settings import declared
from playhead.streams.appending.producer import Producer
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.servers import make_server, plain_client

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
DOCS = Path(__file__).parents[2] / "docs"
_FILE = re.compile(r"# ([\w/]+\.py)\n")
_UP = re.compile(r"<!-- not run: it runs until Ctrl-C -->\n```console\n.*\n```\n")
_BLOCK = re.compile(r"^(<!-- not run: [^\n]+ -->\n)?```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = make_server("valkey", tmp_path_factory.mktemp("valkey"), tcp=True)  # redis-cli takes no URL of a socket
    server.start()
    yield server
    server.stop()


def run_examples(page, url, directory, database=NOWHERE):
    run_blocks(page, (DOCS / page).read_text(), url, directory, database)


def run_blocks(page, text, url, directory, database=NOWHERE) -> Path:
    """Run the blocks in a text; gives the directory where they ended."""
    programs = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "REDIS_URL": url,
        "DATABASE_URL": database,
    }
    for skipped, language, code in _BLOCK.findall(text):
        if skipped:
            continue
        if "redis-cli" in code and not shutil.which("redis-cli"):
            continue
        if (file := _FILE.match(code)) is not None:
            (directory / file[1]).parent.mkdir(exist_ok=True)
            (directory / file[1]).write_text(code)
            continue
        command = [sys.executable, "-W", "error"] if language == "python" else ["bash", "-eo", "pipefail"]
        program = code.replace("redis://localhost:6379", url)
        ended = directory / ".ended"
        done = subprocess.run(
            [*command, "-c", f"{program}\npwd > {ended}" if language == "console" else program],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page}:\n{code}\n{done.stdout}{done.stderr}"
        if language == "console":
            directory = Path(ended.read_text().removesuffix("\n"))
            ended.unlink()
    return directory


def test_the_examples_of_producers_run_and_record(server, tmp_path):
    run_examples("producers.md", server.url, tmp_path)

    with plain_client(server.url) as client:
        entries = client.xrange(Partition("jobs", 0).key)
    subjects = {fields[b"ce_subject"].decode() for _, fields in entries}
    expected = {"job/1", "job/7", "job/8", "job/9", "job/999", "job/page-999", "job/summary-front"}
    assert expected <= subjects
    assert any(b'"scraper_id":"maths"' in fields[b"body"] for _, fields in entries)


def test_the_examples_of_content_run_and_record(server, tmp_path):
    run_examples("content.md", server.url, tmp_path)

    with plain_client(server.url) as client:
        captured = [json.loads(fields[b"body"]) for _, fields in client.xrange(Partition("content", 0).key)]
    assert 7 == len(captured), "the imported content is there once"
    assert 1 == len(list(tmp_path.glob("blobs/??/*.zst")))
    assert {"city_list", "news"} == {one["scraper_id"] for one in captured}


def test_the_examples_of_backup_run_and_restore_the_log(tmp_path):
    log = LogWriter(tmp_path / "playhead-data/eventlog", streams=["jobs"])
    jobs = Partition("jobs", 0)
    log.open(jobs, 1)
    event = new_event("job.completed", subject="job/1", data={"job_id": "1"})
    log.apply(Batch(Source(jobs), [Recorded(event, Position(1, 0), 1)], Position(1, 0)))
    log.close()

    run_examples("backup.md", "", tmp_path)

    assert [1] == [recorded.sequence for _, recorded in read(tmp_path / "playhead-data/eventlog")]
    assert (tmp_path / "playhead-data.lost").is_dir()


def test_the_examples_of_reading_run_on_a_log_and_a_stream(server, tmp_path):
    log = LogWriter(tmp_path / "eventlog", streams=["jobs", "invoices"])
    jobs, invoices = Partition("jobs", 0), Partition("invoices", 0)
    with Producer(server.url) as producer, plain_client(server.url) as client:
        client.flushall()
        events = [
            new_event(
                ("job.completed", "job.failed")[number % 4 == 3],
                subject=f"job/{number if number < 9 else 'last'}",
                data={"job_id": str(number), "error": "late", "processing_time": number / 4},
            )
            for number in range(10)
        ]
        positions = producer.append_events(events)
    log.open(jobs, 1)
    recorded = [Recorded(*pair, n) for n, pair in enumerate(zip(events[:6], positions, strict=False), 1)]
    log.apply(Batch(Source(jobs), recorded, recorded[-1].position))
    paid = [{"number": "7", "euros": 3}, {"number": "8", "cents": 450}]
    recorded = [
        Recorded(
            new_event("invoice.paid", subject="invoice/7", data=data, dataschema=f"invoice.paid/{n}"), Position(n, 0), n
        )
        for n, data in enumerate(paid, 1)
    ]
    log.open(invoices, 1)
    log.apply(Batch(Source(invoices), recorded, recorded[-1].position))
    log.close()

    run_examples("reading.md", server.url, tmp_path)


def test_the_five_minutes_of_the_readme_end_in_files_of_every_job(tmp_path, wait_until):
    recorded = tmp_path / "old/outputs/daily/2025-08-09/processed/7.json"
    recorded.parent.mkdir(parents=True)
    recorded.write_text('{"job_id": "7", "job": {"id": "7", "created_at": "2025-08-09 01:00:00"}, "result": "old"}')
    clean = {name: value for name, value in os.environ.items() if name not in declared()}
    with subprocess.Popen([sys.executable, "-m", "playhead", "up"], cwd=tmp_path, env=clean) as up:
        try:
            wait_until(lambda: load_running(tmp_path / "playhead-data") is not None)
            servers = running_servers(tmp_path / "playhead-data")
            wait_until(lambda: plain_client(servers.redis_url).exists("playhead:{jobs:0}:consumers"))
            run_examples("../README.md", servers.redis_url, tmp_path, servers.database_url)
            processed = tmp_path / "playhead-data/outputs/daily/2025-08-09/processed"
            wait_until(lambda: {path.name for path in processed.glob("*.json")} == {"1.json", "7.json"})
        finally:
            up.send_signal(signal.SIGINT)


def test_the_examples_of_testing_are_tests_that_pass(tmp_path):
    run_examples("testing.md", "redis://127.0.0.1:1", tmp_path)


@pytest.mark.timeout(600)  # the ten minutes that it says
def test_the_ten_minutes_of_a_domain_of_ones_own_end_in_rows_files_and_receipts(tmp_path, wait_until):
    page = "your-own-domain.md"
    first, second, third = _UP.split((DOCS / page).read_text())
    billing = run_blocks(page, first, "redis://127.0.0.1:1", tmp_path)
    with up_in(billing, wait_until) as servers:
        acme = run_blocks(page, second, servers.redis_url, billing, servers.database_url)
        with psycopg.connect(servers.database_url) as connection:
            answers = connection.execute("SELECT * FROM billing_answers").fetchall()
    with up_in(acme, wait_until) as servers:
        run_blocks(page, third, servers.redis_url, acme, servers.database_url)
        with psycopg.connect(servers.database_url) as connection:
            revenue = connection.execute("SELECT number, amount FROM revenue ORDER BY number").fetchall()
    logged = [
        json.loads(line)["event"]
        for file in (acme / "playhead-data/eventlog/invoices/0").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]

    assert [("1", "Hello, world!")] == [row[:2] for row in answers]
    assert [("1", 1200), ("2", 350), ("3", 40)] == revenue
    assert {"1.csv", "2.csv", "3.csv"} == {path.name for path in (acme / "playhead-data/payments").glob("*.csv")}
    receipts = sorted(event["data"]["receipt"] for event in logged if event["type"] == "receipt.sent")
    assert [f"accounts@acme.example/{number}" for number in (1, 2, 3)] == receipts


@contextmanager
def up_in(directory, wait_until):
    clean = {name: value for name, value in os.environ.items() if name not in declared()}
    messages = directory.with_suffix(".messages")
    with (
        messages.open("wb") as stderr,
        subprocess.Popen([sys.executable, "-m", "playhead", "up"], cwd=directory, env=clean, stderr=stderr) as up,
    ):
        try:
            wait_until(lambda: "every consumer is ready" in messages.read_text() or up.poll() is not None)
            assert up.poll() is None, messages.read_text()
            yield running_servers(directory / "playhead-data")
        finally:
            up.send_signal(signal.SIGINT)


def test_an_example_that_fails_is_noticed(server, tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text("```python\nimport nothing_of_this_name\n```\n")
    monkeypatch.setattr(sys.modules[__name__], "DOCS", tmp_path)

    with pytest.raises(AssertionError, match="nothing_of_this_name"):
        run_examples("page.md", server.url, tmp_path)
