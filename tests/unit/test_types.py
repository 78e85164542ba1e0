"""What a type checker says of a program that uses the public API."""

import json
import subprocess
import sys

import pytest

from playhead.streams.events import new_event

PROGRAM = """
from collections.abc import AsyncIterator, Iterator
from playhead import AsyncProducer, Event, Producer
from playhead.streams.events import new_event
from playhead.streams.jobs.events import JobCompleted

def events() -> Iterator[Event]:
    yield new_event("t", subject="s", data={}, dataschema="t/1", correlationid="c")
    yield Event(id="1", source="s", type="t", time="", subject="s", data=b"", extensions={"retries": 5, "urgent": True})

async def async_events() -> AsyncIterator[Event]:
    yield new_event("t", subject="s", data={})

def good(producer: Producer) -> None:
    producer.append("t", subject="s", data={}, correlationid="c", traceparent=None)
    producer.append(JobCompleted(job_id="1"), correlationid="c")
    producer.append_events(events())

async def good_too(producer: AsyncProducer) -> None:
    await producer.append("t", subject="s", data={}, correlationid="c")
    await producer.append(JobCompleted(job_id="1"), tracestate="x")
    await producer.append_events(async_events())

def bad(producer: Producer) -> None:
    producer.append("t", subject="s", data={}, corelationid="c")  # wrong
    producer.append("t", subject="s", data={}, retries=5)  # wrong
    producer.append("t", subjet="s", data={})  # wrong
    producer.append(JobCompleted(job_id="1"), corelationid="c")  # wrong
    producer.append("t", subject="s", data={}, dataschema=1)  # wrong
    producer.archive("text", None, sraper_id="s")  # wrong
    producer.append_events([{"type": "t"}])  # wrong
    producer.append_events(async_events())  # wrong
    new_event("t", subject="s", data={}, corelationid="c")  # wrong
    JobCompleted(jobid="1")  # wrong
    Producer("redis://localhost", partition=4)  # wrong

async def bad_too(producer: AsyncProducer) -> None:
    await producer.append("t", subject="s", data={}, corelationid="c")  # wrong
    await producer.append(JobCompleted(job_id="1"), corelationid="c")  # wrong
    await producer.archive("text", None, sraper_id="s")  # wrong
"""


def test_a_keyword_with_a_typo_is_found_by_the_type_checker(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = ["--outputjson", "--pythonpath", sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run([sys.executable, "-m", "pyright", *arguments], cwd=tmp_path, capture_output=True, check=False)

    wrong = {number for number, line in enumerate(PROGRAM.splitlines()) if line.endswith("# wrong")}
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert wrong == {one["range"]["start"]["line"] for one in found if one["severity"] == "error"}


@pytest.mark.parametrize("name", ["corelationid", "retries"])
def test_a_keyword_with_a_typo_is_an_error_when_it_runs_too(name):
    with pytest.raises(TypeError, match=name):
        new_event("t", subject="s", data={}, **{name: "c"})
