"""Appending by Struct, and what the declaration of a type does to an append."""

import msgspec
import pytest

from playhead.streams.appending.producer import Producer
from playhead.streams.domains.discovery import chosen
from playhead.streams.domains.domain import Domain
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import new_event

invoices = Domain("invoices")
stream = invoices.stream("invoices")
PAID = {"number": "7", "amount": 1, "currency": "EUR"}


@stream.event("invoice.paid", version=2, subject="invoice/{number}")
class InvoicePaid(msgspec.Struct, frozen=True):
    number: str
    amount: int
    currency: str


@stream.upcaster("invoice.paid", version=1)
def in_euros(data):
    return data | {"currency": "EUR"}


@pytest.fixture
def producer(redis_server):
    with chosen([invoices]), Producer(redis_server.url) as producer:
        yield producer


def entries(redis, name="invoices"):
    return [fields for _, fields in redis.xrange(f"playhead:{{{name}:0}}")]


def test_a_struct_is_appended_as_the_event_it_was_declared_as(redis, producer):
    producer.append(InvoicePaid("7", 1200, "USD"), correlationid="c")
    (found,) = entries(redis)

    assert (b"invoice.paid", b"invoice/7", b"c") == (
        found[b"ce_type"],
        found[b"ce_subject"],
        found[b"ce_correlationid"],
    )
    assert b"invoice.paid/2" == found[b"ce_dataschema"]
    assert {"number": "7", "amount": 1200, "currency": "USD"} == msgspec.json.decode(found[b"body"])


def test_the_subject_of_a_declared_type_comes_from_its_payload(redis, producer):
    producer.append("invoice.paid", data=PAID)
    producer.append("invoice.paid", data={"number": "8", "amount": 1}, dataschema="invoice.paid/1")

    assert [b"invoice/7", b"invoice/8"] == [found[b"ce_subject"] for found in entries(redis)]
    with pytest.raises(InvalidEvent, match="amount"):
        producer.append("invoice.paid", data={"number": "9"})
    with pytest.raises(InvalidEvent, match="job_id"):
        producer.append("job.completed", data={"result": 1})
    with pytest.raises(InvalidEvent, match="subject: is missing"):
        producer.append("invoice.lost", data={}, stream="invoices")
    assert 2 == len(entries(redis))


def test_data_beside_a_struct_is_refused(redis, producer):
    with pytest.raises(InvalidEvent, match="omit them"):
        producer.append(InvoicePaid("7", 1, "EUR"), data={"number": "8"})
    assert [] == entries(redis)


def test_a_batch_takes_structs_and_events(redis, producer):
    made = new_event("invoice.paid", subject="invoice/7", data=PAID)
    positions = producer.append_events([InvoicePaid("8", 5, "EUR"), made])

    assert [str(position).encode() for position in positions] == [at for at, _ in redis.xrange("playhead:{invoices:0}")]
    assert [b"invoice/8", b"invoice/7"] == [found[b"ce_subject"] for found in entries(redis)]


def test_unknown_members_of_a_payload_are_kept(redis, producer):
    data = {"number": "7", "amount": 1, "currency": "EUR", "note": {"by": "ann"}}
    producer.append("invoice.paid", subject="invoice/7", data=data)

    assert data == msgspec.json.decode(entries(redis)[0][b"body"])


@pytest.mark.parametrize("data", [{"number": "7"}, {"number": 7, "amount": 1, "currency": "EUR"}, [], "7", None])
def test_a_payload_that_is_not_of_its_type_is_refused_and_nothing_appended(redis, producer, data):
    good = new_event("invoice.paid", subject="invoice/1", data=PAID)
    with pytest.raises(InvalidEvent, match="InvoicePaid") as refused:
        producer.append_events([good, new_event("invoice.paid", subject="invoice/7", data=data)])

    assert "data" == refused.value.field
    assert [] == entries(redis)


def test_a_payload_of_an_older_version_is_checked_as_what_it_is_upcast_to_and_kept_as_it_is(redis, producer):
    producer.append("invoice.paid", subject="invoice/7", data={"number": "7", "amount": 1}, dataschema="invoice.paid/1")

    assert {"number": "7", "amount": 1} == msgspec.json.decode(entries(redis)[0][b"body"])


def test_a_type_that_no_domain_declares_needs_a_stream_that_one_does(redis, producer):
    with pytest.raises(InvalidEvent, match="--stream NAME"):
        producer.append("invoice.lost", subject="invoice/7", data={})
    with pytest.raises(InvalidEvent, match="no consumer reads it"):
        producer.append("invoice.lost", subject="invoice/7", data={}, stream="nowhere")
    with pytest.raises(InvalidEvent, match="belongs to the stream invoices"):
        producer.append("invoice.paid", subject="invoice/7", data=PAID, stream="jobs")
    producer.append("invoice.lost", subject="invoice/7", data={}, stream="invoices")

    assert [b"invoice.lost"] == [one[b"ce_type"] for one in entries(redis)]


def test_an_event_without_a_declared_type_waits_in_the_spool_with_its_stream(redis_server, redis, tmp_path):
    redis_server.stop()
    with chosen([invoices]), Producer(redis_server.url, spool=tmp_path) as producer:
        assert producer.append("invoice.lost", subject="invoice/7", data={}, stream="invoices") is None
        producer.append(InvoicePaid("7", 1, "EUR"))
        producer.close(0)
    redis_server.start()
    with Producer(redis_server.url, spool=tmp_path) as producer:
        producer.flush()

    assert [b"invoice.lost", b"invoice.paid"] == [one[b"ce_type"] for one in entries(redis)]


def test_a_struct_that_is_no_event_is_refused(producer):
    class Plain(msgspec.Struct):
        number: str

    with pytest.raises(InvalidEvent, match="not declared as an event"):
        producer.append(Plain("7"))
