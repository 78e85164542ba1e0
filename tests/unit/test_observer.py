"""What a reader did, as the metrics of its process."""

import pytest
from prometheus_client import CollectorRegistry

from playhead.consumers.processes.metrics import PrometheusObserver
from playhead.streams.events import Recorded, new_event
from playhead.streams.names import Metric
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source


@pytest.mark.parametrize(("stream", "skipped"), [("jobs", 1), ("invoices", 0)])
def test_events_of_a_stream_outside_the_catalogue_are_counted_as_applied_and_none_as_unknown(stream, skipped):
    registry = CollectorRegistry()
    observer = PrometheusObserver("revenue", registry)
    event = new_event("invoice.paid", subject="invoice/1", data={})
    partition = Partition(stream, 0)
    observer.applied(Batch(Source(partition), [Recorded(event, Position(1, 0))], Position(1, 0)), 0.1)
    labels = {"projection": "revenue", "partition": str(partition)}

    assert 1 == registry.get_sample_value(f"{Metric.EVENTS_APPLIED}", labels)
    assert skipped == registry.get_sample_value(f"{Metric.EVENTS_SKIPPED}", labels)
