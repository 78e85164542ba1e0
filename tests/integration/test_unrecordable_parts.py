"""An outcome is recorded whatever one part of it is: too large, too long, or an object that does anything."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from rq import Queue

from playhead.adapters.functions import record_job
from playhead.adapters.rq import CALLBACKS
from playhead.streams.appending.producer import Producer
from tests.support.recorded import payloads, recorded
from tests.support.servers import plain_client

LIMIT = 20_000
LARGE = "x" * (LIMIT + 1)
SMALL = "y" * 5000
WORK = """
class Formatted(str):
    def __format__(self, spec):
        raise RuntimeError("format")

class Odd(Exception):
    def __str__(self):
        return Formatted("odd")

class Exits(Exception):
    def __str__(self):
        raise SystemExit(0)

def odd():
    raise Odd

def exits():
    raise Exits

def answer():
    return "fine"
"""


@pytest.fixture
def producer(valkey):
    with Producer(valkey.url, size_limit=LIMIT) as producer:
        yield producer


@pytest.fixture
def outcome(valkey, producer):
    """Run a job with a description, and give its one payload."""

    def outcome(function, **description):
        record_job(producer, lambda: description)(function)()
        (payload,) = payloads(valkey).values()
        return payload

    return outcome


def failing(error):
    def fail():
        raise error

    return fail


class TestTooLarge:
    def test_a_prompt_is_left_out_and_the_result_kept(self, outcome):
        payload = outcome(lambda: SMALL, id="A", prompt=LARGE, metadata={"scraper_id": "news"})

        assert (SMALL, None, None) == (payload["result"], payload["result_encoding"], payload["job"]["prompt"])
        assert (["prompt"], "news") == (payload["job"]["omitted"], payload["job"]["metadata"]["scraper_id"])

    def test_of_metadata_the_short_members_are_kept(self, outcome):
        payload = outcome(lambda: SMALL, metadata={"page": LARGE, "scraper_id": "news"})

        assert (SMALL, ["metadata"]) == (payload["result"], payload["job"]["omitted"])
        assert {"function", "scraper_id"} == payload["job"]["metadata"].keys()

    def test_all_that_is_too_large_is_left_out(self, outcome):
        payload = outcome(lambda: [LARGE], prompt=LARGE, format=LARGE, extra=LARGE)

        assert (None, "omitted", "completed") == (payload["result"], payload["result_encoding"], payload["status"])
        assert {"prompt", "format", "other members"} == set(payload["job"]["omitted"])

    def test_a_description_of_very_many_members_keeps_the_usual_ones(self, outcome):
        payload = outcome(lambda: SMALL, prompt="p", **{f"member{number}": "x" * 20 for number in range(1000)})

        assert (SMALL, "p") == (payload["result"], payload["job"]["prompt"])

    def test_an_error_is_cut_and_says_so(self, valkey):
        with Producer(valkey.url) as producer, pytest.raises(ValueError, match="x"):
            record_job(producer)(failing(ValueError("x" * 3_000_000)))()

        (payload,) = payloads(valkey).values()
        assert payload["error"].startswith("ValueError: xxx")
        assert payload["error"].endswith("(cut; it has 3000012 characters)")
        assert len(payload["error"]) < 1_100_000

    def test_an_error_over_the_limit_of_a_producer_is_cut_further(self, valkey, producer):
        with pytest.raises(ValueError, match="x"):
            record_job(producer)(failing(ValueError(LARGE)))()

        (payload,) = payloads(valkey).values()
        assert "(cut; it has 20013 characters)" in payload["error"]

    @pytest.mark.parametrize("text", ["\U0001f600", "\ud800"])
    def test_nothing_that_is_left_out_is_tried_forever(self, valkey, text):
        with Producer(valkey.url, size_limit=1000) as producer, pytest.raises(ValueError, match=text):
            record_job(producer, lambda: {"omitted": ["a" * 2000], "metadata": {"page": LARGE}})(
                failing(ValueError(text * 1000))
            )()

        (payload,) = payloads(valkey).values()
        assert "failed" == payload["status"]


class TestTooLong:
    def test_a_correlation_id_is_left_out(self, valkey, outcome, caplog):
        payload = outcome(lambda: 1, correlation_id="c" * 5000)

        (event,) = recorded(valkey)
        assert (1, None) == (payload["result"], event.correlationid)
        assert "correlation id" in caplog.text

    def test_a_job_id_is_shortened_and_stays_whole_in_the_description(self, valkey, outcome):
        whole = "j" * 4093
        payload = outcome(lambda: 1, id=whole)

        short = f"{'j' * 1000}-{sha256(whole.encode()).hexdigest()}"
        (event,) = recorded(valkey)
        assert (short, short, whole, 1) == (
            payload["job_id"],
            payload["job"]["id"],
            payload["job"]["whole_id"],
            payload["result"],
        )
        assert f"job/{short}" == event.subject

    def test_the_longest_job_id_that_fits_is_kept(self, outcome):
        assert "j" * 4092 == outcome(lambda: 1, id="j" * 4092)["job_id"]


class Formatted(str):
    __slots__ = ()

    def __format__(self, spec):
        raise RuntimeError("format")


class Hostile(Exception):
    """What its text is asked for does what it is made with."""

    def __init__(self, does):
        super().__init__()
        self.does = does

    def __str__(self):
        if isinstance(self.does, BaseException):
            raise self.does
        return self.does

    __repr__ = __str__


class Exits(dict):
    def items(self):
        raise SystemExit(3)

    def __repr__(self):
        raise SystemExit(4)


class TestObjectsThatDoAnything:
    @pytest.mark.parametrize(
        ("does", "error"),
        [
            (Formatted("text"), "Hostile: text"),
            (SystemExit(0), "Hostile: <Hostile without a form>"),
            (KeyboardInterrupt(), "Hostile: <Hostile without a form>"),
            (RuntimeError(), "Hostile: <Hostile without a form>"),
        ],
        ids=["format", "exit", "interrupt", "error"],
    )
    def test_an_exception_is_recorded_and_raised_as_it_was(self, valkey, producer, does, error):
        with pytest.raises(Hostile):
            record_job(producer)(failing(Hostile(does)))()

        (payload,) = payloads(valkey).values()
        assert ("failed", error) == (payload["status"], payload["error"])

    def test_a_result_that_exits_when_it_is_read_is_recorded(self, outcome):
        assert "<Exits without a form>" == outcome(lambda: Exits(a=1j))["result"]

    def test_parts_of_a_description_that_exit_leave_the_others(self, outcome):
        payload = outcome(lambda: 1, id=Hostile(SystemExit(1)), correlation_id=Hostile(SystemExit(2)), prompt="p")

        assert (1, "p", "<Hostile without a form>") == (payload["result"], payload["job"]["prompt"], payload["job_id"])

    @pytest.mark.parametrize("does", [SystemExit(5), Hostile(Formatted("text")), Hostile(SystemExit(6))])
    def test_a_description_that_exits_is_said_and_the_job_goes_on(self, valkey, producer, caplog, does):
        assert 1 == record_job(producer, failing(does))(lambda: 1)()

        (payload,) = payloads(valkey).values()
        assert 1 == payload["result"]
        assert "NOT recorded" in caplog.text

    def test_ctrl_c_while_a_job_is_described_passes(self, producer):
        with pytest.raises(KeyboardInterrupt):
            record_job(producer, failing(KeyboardInterrupt()))(lambda: 1)()


def test_rq_records_such_jobs_too(valkey, tmp_path):
    (tmp_path / "odd_work.py").write_text(WORK)
    with plain_client(valkey.url) as client:
        queue = Queue("work", connection=client)
        queue.enqueue("odd_work.odd", job_id="odd", **CALLBACKS)
        queue.enqueue("odd_work.exits", job_id="exits", **CALLBACKS)
        queue.enqueue("odd_work.answer", job_id="x" * 4093, **CALLBACKS)
        meta = {"playhead": {"correlation_id": "c" * 5000}}
        queue.enqueue("odd_work.answer", job_id="flow", meta=meta, **CALLBACKS)
    path = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
    subprocess.run(
        [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", valkey.url, "work"],
        env=os.environ | {"PYTHONPATH": path, "REDIS_URL": valkey.url},
        capture_output=True,
        check=True,
        timeout=120,
    )

    found = {name[:5]: payload for name, payload in payloads(valkey).items()}
    assert {"odd": "failed", "exits": "failed", "xxxxx": "completed", "flow": "completed"} == {
        name: payload["status"] for name, payload in found.items()
    }
    assert ("Odd: odd", "Exits: Exits()") == (found["odd"]["error"], found["exits"]["error"])
