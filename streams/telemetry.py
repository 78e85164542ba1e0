"""Traces by OpenTelemetry's messaging conventions: `send` in a producer, `process` and `settle` in a consumer.

A program that traces already needs no `set_up`: its tracer provider is used. If there is none, nothing here costs
more than a look for one.
"""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from playhead.streams.entries import RawEntry
from playhead.streams.events import Event, Recorded
from playhead.streams.names import TRACER, Attribute, OpenTelemetryVariable, Span
from playhead.streams.partitions import Partition
from playhead.streams.printable import cut
from playhead.streams.sinks import Batch, Source

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, Tracer

_TRACEPARENT_PARTS = 4
_QUEUE, _EXPORT = 256, 64
"""Spans that wait for the collector, and that go to it at once: one may have 500 links of 800 bytes each."""
_FAREWELL_SECONDS = 2.0


def set_up(service: str) -> None:
    """Send spans to the collector at OTEL_EXPORTER_OTLP_ENDPOINT; if that is not set, do nothing.

    Spans wait in a short queue, whose oldest are dropped while the collector is away. What is still in hand when the
    process ends goes out then, within two seconds.
    """
    wanted = os.environ.get(OpenTelemetryVariable.ENDPOINT) or os.environ.get(OpenTelemetryVariable.TRACES_ENDPOINT)
    if not wanted or os.environ.get(OpenTelemetryVariable.DISABLED, "").lower() == "true":
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import set_tracer_provider

    name = os.environ.get(OpenTelemetryVariable.SERVICE_NAME) or service
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: name}),
        span_limits=SpanLimits(max_links=SpanLimits.UNSET),  # a batch has more events than the 128 links allowed
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter()
    queue = None if os.environ.get(OpenTelemetryVariable.QUEUE_SIZE) else _QUEUE
    export = None if os.environ.get(OpenTelemetryVariable.EXPORT_SIZE) else _EXPORT
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=queue, max_export_batch_size=export))
    set_tracer_provider(provider)
    _at_exit(provider.shutdown)


def _at_exit(shutdown: Callable[[], None]) -> None:
    """OpenTelemetry's own way out waits half a minute for a collector that is away."""
    ending = threading.Event()

    def wait_and_shut_down() -> None:
        ending.wait()
        shutdown()

    def end() -> None:
        ending.set()
        waiting.join(_FAREWELL_SECONDS)

    waiting = threading.Thread(target=wait_and_shut_down, daemon=True)  # none can be started any more at the end
    waiting.start()
    atexit.register(end)


@contextmanager
def sending(partition: Partition, events: Sequence[Event]) -> Generator[Sequence[Event], None, None]:
    """Open a `send` span, and give the events with its context in those that have none."""
    tracer = _tracer()
    if tracer is None:
        yield events
        return
    from opentelemetry.trace import SpanKind

    attributes = _attributes(Span.SEND, partition, len(events))
    if len(events) == 1:
        attributes[Attribute.MESSAGE_ID] = events[0].id
    with tracer.start_as_current_span(_name(Span.SEND, partition), kind=SpanKind.PRODUCER, attributes=attributes):
        yield in_context(events)


def in_context(events: Sequence[Event]) -> Sequence[Event]:
    """The events with the context of the current span in those that have none.

    An imported event keeps none: its fact happened long before this trace.
    """
    if _tracer() is None:
        return events
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    traceparent, tracestate = carrier.get("traceparent"), carrier.get("tracestate")
    if traceparent is None:
        return events
    return [
        event
        if event.traceparent is not None or event.imported is not None
        else msgspec.structs.replace(event, traceparent=traceparent, tracestate=tracestate)
        for event in events
    ]


@contextmanager
def replaying(partition: Partition, run: str, count: int) -> Generator[None, None, None]:
    """Open a `send` span of events that a replay sends again; each keeps the context of its own past."""
    if (tracer := _tracer()) is None:
        yield
        return
    from opentelemetry.trace import SpanKind

    attributes = {**_attributes(Span.SEND, partition, count), Attribute.REPLAY: run}
    with tracer.start_as_current_span(_name(Span.SEND, partition), kind=SpanKind.PRODUCER, attributes=attributes):
        yield


@contextmanager
def working(worker: str, partition: Partition, cause: Recorded) -> Generator[None, None, None]:
    """Open a `process` span of a worker's work on one event, below the trace in which the event happened."""
    if (tracer := _tracer()) is None:
        yield
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    links, parent = _origins(Batch(Source(partition, cause.replay), [cause], cause.position))
    attributes = _attributes(Span.PROCESS, partition, 1)
    attributes[Attribute.GROUP] = attributes[Attribute.PROJECTION] = worker
    attributes[Attribute.POSITION] = str(cause.position)
    attributes[Attribute.MESSAGE_ID] = cause.event.id
    with tracer.start_as_current_span(
        _name(Span.PROCESS, partition),
        context=parent,
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=links,
        record_exception=False,  # its message may quote the payload
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute(Attribute.ERROR, type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise


class BatchSpans:
    """The spans of a consumer, written when their work is done, so that the read loop knows nothing of them."""

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer
        self._processed: dict[Source, Context] = {}

    def processed(self, batch: Batch, seconds: float, error: BaseException | None = None) -> None:
        """A `process` span of a batch that took so long until now, linked to the trace of each of its events.

        It is a child if all its events stem from one trace and are no replay.
        """
        tracer = _tracer()
        if tracer is None:
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        links, parent = _origins(batch)
        attributes = self._attributes(Span.PROCESS, batch)
        if len(batch.events) == 1:
            attributes[Attribute.MESSAGE_ID] = batch.events[0].event.id
        end = time.time_ns()
        span = tracer.start_span(
            _name(Span.PROCESS, batch.source.partition),
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            start_time=end - int(seconds * 1e9),
        )
        if error is None:
            self._processed[batch.source] = set_span_in_context(span)
        else:
            span.set_attribute(Attribute.ERROR, type(error).__qualname__)  # its message may quote the payload
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def settled(self, batch: Batch, seconds: float) -> None:
        """A `settle` span of the group's move past the batch, below the batch's `process` span."""
        tracer = _tracer()
        if tracer is None:
            return
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind

        end = time.time_ns()
        tracer.start_span(
            _name(Span.SETTLE, batch.source.partition),
            context=self._processed.pop(batch.source, None) or Context(),
            kind=SpanKind.CLIENT,
            attributes=self._attributes(Span.SETTLE, batch),
            start_time=end - int(seconds * 1e9),
        ).end(end)

    def _attributes(self, operation: Span, batch: Batch) -> dict[str, str | int]:
        attributes = _attributes(operation, batch.source.partition, len(batch.events))
        attributes[Attribute.GROUP] = attributes[Attribute.PROJECTION] = self._consumer
        attributes[Attribute.POSITION] = str(batch.last)
        if batch.source.replay is not None:
            attributes[Attribute.REPLAY] = batch.source.replay
        return attributes


def about(event: Recorded | RawEntry) -> dict[str, str]:
    """What a log line says of an event: its position, id and trace, as far as it has them."""
    if isinstance(event, Recorded):
        position, id_, traceparent = str(event.position), event.event.id, event.event.traceparent
    else:
        values = dict(zip(event.fields[::2], event.fields[1::2], strict=False))
        position = event.entry_id.decode()
        id_, traceparent = _text(values, b"ce_id"), _text(values, b"ce_traceparent")
    said = {"position": position}
    if id_:
        said["event_id"] = id_
    if traceparent and len(parts := traceparent.split("-")) >= _TRACEPARENT_PARTS:
        said["trace_id"] = parts[1]
    return said


def plain(error: BaseException) -> str:
    """The class and the first line of a failure: what follows in Postgres' messages quotes the row it failed on."""
    return cut(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def _text(values: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = values.get(name)
    return None if value is None else cut(value.decode("utf-8", "backslashreplace"))


def _tracer() -> "Tracer | None":
    if (trace := sys.modules.get("opentelemetry.trace")) is None:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):  # redis-py imports it for itself
        return None
    return provider.get_tracer(TRACER)


def _name(span: Span, partition: Partition) -> str:
    return f"{span} {partition.stream}"


def _attributes(operation: Span, partition: Partition, count: int) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        Attribute.SYSTEM: "redis",
        Attribute.OPERATION: operation.value,
        Attribute.OPERATION_NAME: operation.value,
        Attribute.DESTINATION: partition.stream,
        Attribute.PARTITION: str(partition.number),
    }
    if count > 1:
        attributes[Attribute.BATCH_SIZE] = count
    return attributes


def _origins(batch: Batch) -> "tuple[list[Link], Context]":
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, NonRecordingSpan, set_span_in_context

    contexts: dict[tuple[str, str | None], SpanContext | None] = {}
    found: list[SpanContext] = []
    links: list[Link] = []
    for event in (recorded.event for recorded in batch.events):
        if event.traceparent is None:
            continue
        key = (event.traceparent, event.tracestate)
        if key not in contexts:
            contexts[key] = _span_context(*key)
        if (context := contexts[key]) is not None:
            found.append(context)
            if context.trace_flags.sampled:  # of a trace that is not kept there is nothing to be linked to
                links.append(Link(context, {Attribute.MESSAGE_ID: event.id}))
    whole = batch.source.replay is None and len(found) == len(batch.events)
    if whole and len({context.trace_id for context in found}) == 1:
        return links, set_span_in_context(NonRecordingSpan(found[0]), Context())
    return links, Context()


def _span_context(traceparent: str, tracestate: str | None) -> "SpanContext | None":
    from opentelemetry.context import Context
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": traceparent} | ({"tracestate": tracestate} if tracestate else {})
    context = get_current_span(TraceContextTextMapPropagator().extract(carrier, Context())).get_span_context()
    return context if context.is_valid else None
