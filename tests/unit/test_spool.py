"""The files of a spool: order, torn tails, damage, full disks, several processes."""

import logging
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from playhead.streams.appending.spool import Spool
from playhead.streams.errors import SpoolFailed
from playhead.streams.events import new_event

ADDER = """
import sys
from playhead.streams.events import new_event
from playhead.streams.appending.spool import Spool

spool = Spool(sys.argv[1], segment_bytes=4000)
for number in range(int(sys.argv[3])):
    id = f"{sys.argv[2]}-{number}"
    spool.add([new_event("job.completed", subject=f"job/{sys.argv[2]}", data={"n": number}, id=id)])
    print(number, flush=True)
"""


def event(number, **attributes):
    attributes = {"subject": f"job/{number}", "data": {"n": number}, "id": f"id-{number}"} | attributes
    return new_event("job.completed", **attributes)


def drain(spool):
    found = []
    with spool.sending() as alone:
        assert alone
        while batch := spool.read():
            found += batch.events
            spool.advance(batch)
    return found


def segments(spool):
    return sorted(spool.directory.glob("0*.jsonl"))


def test_events_come_out_as_they_went_in_and_in_order_also_by_another_process(tmp_path):
    events = [event(n, correlationid="flow", data={"text": "ü\n\t\u2028" * n}) for n in range(50)]
    odd = [event(50, data=b'{"a": "\\ud800",\r\n "b": 1e400}'), event(51, time="2025-08-09 06:36:58")]
    writer = Spool(tmp_path / "spool", segment_bytes=2000)
    for start in range(0, 50, 5):
        writer.add(events[start : start + 5])
    writer.add(odd)

    assert len(segments(writer)) > 3
    reader = Spool(tmp_path / "spool")
    assert reader.pending
    assert reader.content().events == 52
    assert drain(reader) == [*events, *odd]
    assert not reader.pending
    assert segments(reader) == []


def test_what_was_sent_is_not_read_again_and_a_number_is_never_used_twice(tmp_path):
    spool = Spool(tmp_path)
    spool.add([event(n) for n in range(1200)])
    first = spool.read()
    spool.advance(first)

    assert [event.id for event in first.events + drain(Spool(tmp_path))] == [f"id-{n}" for n in range(1200)]

    spool.add([event(7)])

    assert [path.name for path in segments(spool)] == ["00000000000000000002.jsonl"]
    assert [event.id for event in drain(spool)] == ["id-7"]


def test_a_power_failure_that_undoes_the_mark_sends_again_rather_than_never(tmp_path):
    spool = Spool(tmp_path)
    spool.add([event(n) for n in range(600)])
    spool.advance(spool.read())
    (tmp_path / "sent").write_bytes(b"\0" * 42)

    assert len(drain(Spool(tmp_path))) == 600


def test_a_tail_torn_at_any_byte_is_cut_and_nothing_else(tmp_path, caplog):
    whole = Spool(tmp_path / "whole")
    whole.add([event(1), event(2)])
    content = segments(whole)[0].read_bytes()
    start = content.index(b"\n") + 1
    for end in range(start + 1, len(content)):
        torn = Spool(tmp_path / str(end))
        (torn.directory / "00000000000000000001.jsonl").write_bytes(content[:end])
        torn.add([event(3)])

        expected = ["id-1", "id-2", "id-3"] if end == len(content) - 1 else ["id-1", "id-3"]
        assert expected == [event.id for event in drain(torn)], end
    assert "cut 1 bytes" in caplog.text


def test_a_flipped_bit_anywhere_costs_no_other_event_and_the_line_is_kept_and_reported(tmp_path, caplog):
    whole = Spool(tmp_path / "whole")
    whole.add([event(1), event(2), event(3)])
    content = segments(whole)[0].read_bytes()
    start, end = content.index(b"\n") + 1, content.index(b"\n", content.index(b"\n") + 1)
    for offset in range(start, end):
        flipped = bytearray(content)
        flipped[offset] ^= 1
        damaged = Spool(tmp_path / str(offset))
        (damaged.directory / "00000000000000000001.jsonl").write_bytes(flipped)
        caplog.clear()

        assert ["id-1", "id-3"] == [event.id for event in drain(damaged)], offset
        kept = (damaged.directory / "damaged.jsonl").read_bytes()
        assert bytes(flipped[start : end + 1]) == kept
        assert [logging.ERROR] == [record.levelno for record in caplog.records]
        assert 0 < damaged.content().damaged <= 2  # a bit may make a line break of a byte


def test_a_full_disk_raises_and_leaves_nothing_of_the_batch(tmp_path):
    spool = Spool(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def add_with_little_room(events):
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
        try:
            spool.add(events)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(SpoolFailed, match="free space"):
        add_with_little_room([event(n) for n in range(100)])
    assert not spool.pending

    spool.add([event(1)])
    with pytest.raises(SpoolFailed, match="free space"):
        add_with_little_room([event(n) for n in range(100)])
    spool.add([event(2)])

    assert ["id-1", "id-2"] == [event.id for event in drain(spool)]


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SpoolFailed, match="file/spool"):
        Spool(tmp_path / "file" / "spool")


def test_processes_share_a_spool_and_each_keeps_its_order(tmp_path):
    def add(name):
        subprocess.run([sys.executable, "-c", ADDER, str(tmp_path), name, "60"], check=True, stdout=subprocess.DEVNULL)

    found = []
    with ThreadPoolExecutor(3) as pool:
        adding = [pool.submit(add, name) for name in "abc"]
        spool = Spool(tmp_path)
        while not all(one.done() for one in adding):
            found += drain(spool)
        for one in adding:
            one.result()
    found += drain(spool)

    for name in "abc":
        mine = [event.id for event in found if event.subject == f"job/{name}"]
        assert [f"{name}-{n}" for n in range(60)] == mine


def test_kill_9_while_adding_loses_nothing_that_was_acknowledged(tmp_path):
    acknowledged = 0
    for life in range(3):
        adding = subprocess.Popen(
            [sys.executable, "-c", ADDER, str(tmp_path), str(life), "100000"], stdout=subprocess.PIPE
        )
        for _ in range(20):
            acknowledged = int(adding.stdout.readline())
        adding.kill()
        rest = adding.communicate()[0].split(b"\n")[:-1]  # lines, without what was cut while it was printed
        acknowledged = int(rest[-1]) if rest else acknowledged
        mine = [event.id for event in drain(Spool(tmp_path)) if event.subject == f"job/{life}"]

        assert [f"{life}-{n}" for n in range(len(mine))] == mine
        assert acknowledged < len(mine) <= acknowledged + 2


def test_only_the_owner_may_look_into_a_spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    spool.add([event(1)])

    assert spool.directory.stat().st_mode & 0o077 == 0
    assert segments(spool)[0].stat().st_mode & 0o077 == 0


def test_two_cannot_send_at_once(tmp_path):
    with Spool(tmp_path).sending() as first, Spool(tmp_path).sending() as second:
        assert (first, second) == (True, False)
