"""FastStream programs that read our entries and append: a real broker, started and stopped."""

import asyncio
import json
import logging

import pytest
from faststream.redis import RedisBroker, StreamSub

from playhead.adapters.faststream import appending, create_groups, decode_payload, decode_recorded, parse
from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.appending.producer import Producer
from playhead.streams.domains.discovery import chosen
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from tests.support.invoices import InvoicePaid, ReceiptSent, invoices
from tests.support.recorded import recorded
from tests.support.servers import plain_client

INVOICES = Partition("invoices", 0)


@pytest.fixture(autouse=True)
def installed_invoices():
    with chosen([invoices]):
        yield


@pytest.fixture
def paid(valkey):
    """Append an invoice."""
    with Producer(valkey.url, source="test") as producer:
        yield lambda number, **attributes: producer.append(InvoicePaid(str(number), 10 * number), **attributes)


def stream_sub(**options):
    return StreamSub(INVOICES.key, group="mail", consumer="one", max_records=100, polling_interval=50, **options)


def pending(valkey):
    with plain_client(valkey.url) as client:
        return client.xpending(INVOICES.key, "mail")["pending"]


@pytest.fixture
def run(valkey, wait_until):
    """Run a broker until a condition holds."""

    async def main(declare, until):
        async with AsyncProducer(valkey.url, source="mail") as producer:
            broker = RedisBroker(valkey.url, middlewares=[appending(producer)])
            declare(broker)
            await create_groups(broker)
            await broker.start()
            try:
                await asyncio.to_thread(wait_until, until)
            finally:
                await broker.stop()

    return lambda declare, until: asyncio.run(main(declare, until))


def test_a_subscriber_gets_every_event_with_its_payload_from_the_first_on(valkey, paid, run):
    positions = [paid(1, id="one", correlationid="flow"), paid(2)]
    events = []

    def declare(broker):
        @broker.subscriber(stream=stream_sub(), parser=parse, decoder=decode_recorded)
        async def handle(event: Recorded[InvoicePaid]):
            events.append(event)

    run(declare, lambda: len(events) == 2 and not pending(valkey))

    assert [InvoicePaid("1", 10), InvoicePaid("2", 20)] == [event.data for event in events]
    assert positions == [event.position for event in events]
    assert ("one", "flow", "test") == (events[0].event.id, events[0].event.correlationid, events[0].event.source)


def test_a_restart_goes_on_behind_what_is_acknowledged(valkey, paid, run):
    payloads = []

    def declare(broker):
        @broker.subscriber(stream=stream_sub(), parser=parse, decoder=decode_payload)
        async def handle(invoice: InvoicePaid):
            payloads.append(invoice)

    paid(1)
    run(declare, lambda: len(payloads) == 1 and not pending(valkey))
    paid(2)
    run(declare, lambda: len(payloads) == 2 and not pending(valkey))

    assert [InvoicePaid("1", 10), InvoicePaid("2", 20)] == payloads


def test_a_payload_that_looks_like_a_message_of_faststream_is_read_as_it_is(valkey, run):
    data = {"data": "odd", "headers": {"correlation_id": "stolen"}}
    bodies = []

    def declare(broker):
        @broker.subscriber(stream=stream_sub(), parser=parse, decoder=decode_payload)
        async def handle(body: dict):
            bodies.append(body)

    with Producer(valkey.url) as producer:
        producer.append("invoice.odd", subject="invoice/1", data=data, stream="invoices")
    run(declare, lambda: bool(bodies))

    assert [data] == bodies


def test_what_a_handler_publishes_is_appended_once_however_often_it_is_delivered(valkey, paid, run):
    handled = []

    def declare(broker):
        subscriber = broker.subscriber(stream=stream_sub(), parser=parse, decoder=decode_payload)

        @subscriber(filter=is_paid)
        @broker.publisher(stream=INVOICES.key)
        async def handle(invoice: InvoicePaid) -> ReceiptSent:
            handled.append(invoice)
            return ReceiptSent(invoice.number)

        @subscriber
        async def ignore(body: object):
            pass

    async def is_paid(message):
        return message.headers["type"] == "invoice.paid"

    paid(1, id="one", correlationid="flow")
    run(declare, lambda: len(recorded(valkey, INVOICES)) == 2)
    with plain_client(valkey.url) as client:
        client.xgroup_setid(INVOICES.key, "mail", "0")
    run(declare, lambda: len(handled) == 2)

    events = recorded(valkey, INVOICES)
    assert ["invoice.paid", "receipt.sent"] == [event.type for event in events]
    assert ("mail", "flow", "one", "invoice/1") == (
        events[1].source,
        events[1].correlationid,
        events[1].causationid,
        events[1].subject,
    )


def test_a_broker_appends_what_a_program_publishes_and_refuses_what_is_no_event(valkey):
    async def main():
        async with AsyncProducer(valkey.url) as producer, RedisBroker(valkey.url) as broker:
            broker.add_middleware(appending(producer))
            await broker.publish(InvoicePaid("7", 70), stream=INVOICES.key, correlation_id="flow")
            with pytest.raises(InvalidEvent, match="dict is no event"):
                await broker.publish({"number": "8"}, stream=INVOICES.key)
            await broker.publish({"number": "8"}, stream="somebody-elses")

    asyncio.run(main())

    (event,) = recorded(valkey, INVOICES)
    assert ("invoice.paid", "flow", {"number": "7", "amount": 70, "customer": "acme"}) == (
        event.type,
        event.correlationid,
        json.loads(event.data),
    )
    with plain_client(valkey.url) as client:
        assert 1 == client.xlen("somebody-elses")


def test_an_entry_that_is_no_event_stays_pending_and_is_logged(valkey, paid, run, caplog):
    caplog.set_level(logging.ERROR)
    payloads = []

    def declare(broker):
        @broker.subscriber(stream=stream_sub(), parser=parse, decoder=decode_payload)
        async def handle(invoice: InvoicePaid):
            payloads.append(invoice)

    with plain_client(valkey.url) as client:
        client.xadd(INVOICES.key, {"what": "ever"})
    paid(1)
    run(declare, lambda: len(payloads) == 1 and pending(valkey) == 1)

    assert "body" in caplog.text


def test_a_subscriber_of_batches_is_told_to_read_one_by_one(paid, run, caplog):
    caplog.set_level(logging.ERROR)

    def declare(broker):
        @broker.subscriber(stream=stream_sub(batch=True), parser=parse, decoder=decode_payload)
        async def handle(invoices: list):
            pass

    paid(1)
    run(declare, lambda: "omit `batch`" in caplog.text)
