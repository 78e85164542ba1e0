"""Captured content, from the command line to archives, with a real consumer, log and replay."""

import hashlib
import json
import random
import shutil
import subprocess

import pytest
from redis import Redis

from playhead.commands.app import make_app
from playhead.eventlog.reader import stat
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.storage.objects import Objects
from playhead.terminal.failures import exit_code
from tests.support.processes import Playhead
from tests.support.s3 import s3_server
from tests.support.servers import make_server, plain_client
from tests.support.users import nobody


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = make_server("valkey", tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def playhead(server, tmp_path):
    with plain_client(server.url) as client:
        client.flushall()
    return Playhead(tmp_path / "data", server.url)


def store(directory, count):
    """A recorder's content store; the captures share three seconds."""
    contents = {}
    for number in range(count):
        text = " ".join(random.Random(number).choices(["pantry", "Überall", "open"], k=40))
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        path = directory / "content" / sha256[:2] / f"{sha256}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"scraper_id": f"s{number % 2}", "source": "x"}
        path.write_text(
            json.dumps({"content": text, "metadata": metadata, "timestamp": f"2025-08-09 06:36:5{number % 3}.12"})
        )
        contents[sha256] = text.encode()
    (directory / "content" / ".gitkeep").touch()
    return contents


def files(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.glob("*.tar.gz")}


def unpacked(directory, name):
    done = subprocess.run(["tar", "xzOf", directory / name, "content.txt"], capture_output=True, check=True)
    return done.stdout


def test_a_content_store_becomes_archives_that_come_back_from_the_log_byte_for_byte(playhead, tmp_path, wait_until):
    contents = store(tmp_path / "store", 30)
    archives = tmp_path / "data" / "archives"
    imported = json.loads(playhead("capture", "--content-store", str(tmp_path / "store"), "--json").stdout)
    again = json.loads(playhead("capture", "--content-store", str(tmp_path / "store"), "--json").stdout)
    with playhead.running("log"), playhead.running("archives"):
        wait_until(lambda: len(files(archives)) == 30)
        before = files(archives)
        wait_until(lambda: stat(tmp_path / "data" / "eventlog").events == 30)
        shutil.rmtree(archives)
        playhead("replay", "--log", "--to", "archives")
        after = files(archives)
    known = json.loads(playhead("capture", "--content-store", str(tmp_path / "store"), "--json").stdout)
    verified = playhead("archives", "verify", "--json")
    listed = json.loads(playhead("archives", "list", "--scraper", "s1", "--json").stdout)

    assert {"read": 30, "captured": 30, "known": 0, "refused": 0, "skipped": 1} == imported == again
    assert {"read": 30, "captured": 0, "known": 30, "refused": 0, "skipped": 1} == known
    assert before == after
    assert sorted(contents.values()) == sorted(unpacked(archives, name) for name in after)
    assert {"archives": 30, "faults": []} == json.loads(verified.stdout)
    assert 15 == len(listed)
    assert {"s1"} == {one["scraper_id"] for one in listed}


def test_what_is_altered_missing_or_renamed_is_named_by_verify(server, playhead, tmp_path, wait_until):
    archives = tmp_path / "data" / "archives"
    large = b"large " * 100_000
    with Producer(server.url, blobs=tmp_path / "data" / "blobs") as producer:
        for number, content in enumerate((b"a", b"b", b"c", large)):
            producer.archive(content, None, scraper_id="s", time=f"2025-08-09T06:36:0{number}Z")
    with playhead.running("log"), playhead.running("archives"):
        wait_until(lambda: len(files(archives)) == 4)
        wait_until(lambda: stat(tmp_path / "data" / "eventlog").events == 4)
    first, second, third, _ = sorted(files(archives))
    shown = playhead("archives", "show", first, "--json")
    content = playhead("archives", "show", first, "--content")
    (archives / first).write_bytes((archives / first).read_bytes()[:-1])
    (archives / second).unlink()
    (archives / third).rename(archives / third.replace("_s.", "_t."))
    (blob,) = (tmp_path / "data" / "blobs").glob("??/*.zst")
    blob.unlink()
    verified = playhead("archives", "verify", "--json", check=False)
    both = playhead("archives", "show", first, "--content", "--json", check=False)
    broken = playhead("archives", "show", first, check=False)

    faults = [(fault["kind"], fault["name"]) for fault in json.loads(verified.stdout)["faults"]]
    assert 4 == verified.returncode == broken.returncode
    assert (2, b"") == (both.returncode, both.stdout)
    assert [
        ("altered", first),
        ("misnamed", third.replace("_s.", "_t.")),
        ("missing", second),
        ("missing", third),
        ("blob", hashlib.sha256(large).hexdigest()),
    ] == faults
    assert ("s", 1) == (json.loads(shown.stdout)["scraper_id"], json.loads(shown.stdout)["size"])
    assert b"a" == content.stdout


def test_a_missing_blob_parks_its_event_with_the_hash_and_the_next_go_on(server, playhead, tmp_path, wait_until):
    archives = tmp_path / "data" / "archives"
    large = b"\xff" * 300_000
    sha256 = hashlib.sha256(large).hexdigest()
    with Producer(server.url, blobs=tmp_path / "data" / "blobs") as producer:
        producer.archive(large, None)
        shutil.rmtree(tmp_path / "data" / "blobs" / sha256[:2])
        producer.archive("after", None)
    with playhead.running("archives"):
        wait_until(lambda: len(files(archives)) == 1)
        (parked,) = json.loads(playhead("parked", "list", "archives", "--json").stdout)
        playhead("capture", "-", "--scraper", "s", stdin=large)
        wait_until(lambda: len(json.loads(playhead("parked", "list", "archives", "--json").stdout)) == 2)
        playhead("parked", "retry", "archives")
        wait_until(lambda: len(files(archives)) == 3)

    assert f"content/{sha256}" == parked["subject"]
    assert sha256 in parked["reason"]
    assert "BlobMissing" in parked["reason"]


def test_a_bucket_takes_outputs_archives_and_blobs(server, playhead, tmp_path, wait_until, monkeypatch):
    with s3_server() as environment:
        places = {
            "OUTPUT_DIR": "s3://bucket/outputs",
            "ARCHIVE_DIR": "s3://bucket/archives",
            "PLAYHEAD_BLOB_DIR": "s3://bucket/blobs",
        }
        there = Playhead(tmp_path / "data", server.url, **environment, **places)

        def listed():
            return json.loads(there("archives", "list", "--json").stdout)

        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        outputs = Objects("s3://bucket/outputs")

        large = b"\xff\0" * 200_000
        stored = json.loads(there("capture", "-", "--json", stdin=large).stdout)
        with there.running("archives"):
            wait_until(lambda: len(listed()) == 1)
        content = there("archives", "show", listed()[0]["name"], "--content").stdout

        job = '{"job_id": "7", "job": {"created_at": "2025-08-09 06:36:58"}, "result": "done"}'
        there("append", "job.completed", "--subject", "job/7", "--id", "e7", "--data", job)
        with there.running("json-files"):
            wait_until(lambda: b"daily/2025-08-09\n" == outputs.get("latest"))
        written = json.loads(outputs.get("daily/2025-08-09/processed/7.json"))
        refused = there("publish", "--to", str(tmp_path / "set"), check=False)

        assert ("e7", "done") == (written["event_id"], written["result"])
        assert 2 == refused.returncode and b"publish needs a directory" in refused.stderr
        assert ("blob", len(large)) == (stored["stored"], stored["size"])
        assert large == content
        assert b"1 archive, 0 faults" in there("archives", "verify").stdout
    assert {"data", "outputs", ".scratch"} == {path.name for path in tmp_path.glob("data/**/")}
    assert [] == [path for path in tmp_path.glob("data/**/*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "name a file"),
        (["page", "--content-store", "."], "name a file"),
        (["--content-store", "."], "not a content store"),
        (["--content-store", ".", "--scraper", "s"], "omit the other options"),
        ([".", "--id", "x"], "a directory has many"),
        (["page", "--metadata", "[]"], "not a JSON object"),
        (["page", "--time", "noon"], "not an RFC 3339 time"),
        (["--scrapper"], "unknown option --scrapper"),
    ],
)
def test_wrong_use_of_capture_says_what_to_do(arguments, problem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    (tmp_path / "page").touch()
    with pytest.raises((InvalidSetting, InvalidEvent), match=problem) as caught:
        make_app()(["capture", *arguments], result_action="return_value", exit_on_error=False)

    assert 2 == exit_code(caught.value)
    assert "" == capsys.readouterr().out


def test_a_directory_is_captured_in_order_without_links_and_hidden_files(playhead, tmp_path):
    site = tmp_path / "site"
    (site / "below").mkdir(parents=True)
    for name in ("b", "a", "below/c", ".hidden"):
        (site / name).write_text(name)
    (site / "link").symlink_to("/etc/passwd")
    (site / "there").symlink_to("/etc")
    done = playhead("capture", str(site), "--scraper", "s", "--json")

    assert ["a", "b", "below/c"] == [json.loads(line)["file"] for line in done.stdout.splitlines()]
    assert b"playhead: 3 captured, 3 skipped (hidden, a link, or not a file)\n" == done.stderr


def test_an_empty_directory_is_said_so(playhead, tmp_path):
    (tmp_path / "site").mkdir()
    done = playhead("capture", str(tmp_path / "site"))

    assert (b"", b"playhead: 0 captured\n") == (done.stdout, done.stderr)


@pytest.fixture
def server_on_a_port(tmp_path):
    """One that a user who may not enter the directory of a socket can reach."""
    server = make_server("valkey", tmp_path / "valkey", tcp=True)
    server.start()
    yield server
    server.stop()


def test_what_cannot_be_read_is_named_and_the_rest_captured(server_on_a_port, tmp_path, monkeypatch, capsys):
    site = tmp_path / "site"
    (site / "closed").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (site / name).write_text(name)
    for path, mode in ((site, 0o755), (site / "closed", 0), (site / "b", 0)):
        path.chmod(mode)
    monkeypatch.setenv("REDIS_URL", server_on_a_port.url)
    monkeypatch.chdir(site)  # nobody else may look into what is above
    with nobody():
        code = make_app()(["capture", ".", "--json"], result_action="return_value", exit_on_error=False)
    (site / "closed").chmod(0o755)
    printed = capsys.readouterr()

    assert 1 == code
    assert ["a", "c"] == [json.loads(line)["file"] for line in printed.out.splitlines()]
    assert ["b: Permission denied", "closed: Permission denied"] == sorted(
        line.removeprefix("playhead: ").removeprefix("./") for line in printed.err.splitlines()[:-1]
    )
    assert "playhead: 2 captured, 2 not readable" == printed.err.splitlines()[-1]


def test_a_stored_content_that_is_not_what_its_name_says_is_refused_and_the_others_are_taken(playhead, tmp_path):
    store(tmp_path / "store", 3)
    first, second, _ = sorted((tmp_path / "store").glob("content/??/*.json"))
    first.write_bytes(second.read_bytes())
    second.write_text("{")
    done = playhead("capture", "--content-store", str(tmp_path / "store"), "--json", check=False)

    assert 1 == done.returncode
    assert {"read": 3, "captured": 1, "known": 0, "refused": 2, "skipped": 1} == json.loads(done.stdout)
    assert first.name in done.stderr.decode() and second.name in done.stderr.decode()


def test_stores_below_a_directory_are_found_and_a_byte_order_mark_changes_nothing(playhead, tmp_path):
    store(tmp_path / "old" / "deep" / "content_store", 2)
    store(tmp_path / "old" / "content", 3)
    (tmp_path / "old" / "index.json").write_text("{}")
    (tmp_path / "old" / "README.txt").touch()
    arguments = ("capture", "--content-store", str(tmp_path / "old"), "--json")
    found = []
    for _ in range(2):
        imported = json.loads(playhead(*arguments).stdout)
        with Redis.from_url(playhead.environment["REDIS_URL"]) as redis:
            found.append((imported, redis.xlen("playhead:{content:0}")))
        for path in tmp_path.glob("old/content/content/??/*.json"):
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert [({"read": 5, "captured": 5, "known": 0, "refused": 0, "skipped": 4}, found[0][1])] * 2 == found
