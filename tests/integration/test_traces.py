"""Spans as a collector gets them, from real processes."""

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from playhead.embedded.servers import embedded_servers
from playhead.streams.partitions import Partition
from tests.support.processes import JOB, Playhead
from tests.support.servers import plain_client


class Collector:
    """An OTLP/HTTP receiver that keeps the spans by service."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in request.resource_spans:
                    service = attributes_of(resource.resource)["service.name"]
                    collector.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02])
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def named(self, service: str, name: str, **attributes) -> list[Span]:
        return [
            span
            for found, span in self.spans
            if (found, span.name) == (service, name)
            and all(attributes_of(span).get(key.replace("__", ".")) == value for key, value in attributes.items())
        ]


def attributes_of(span) -> dict[str, str | int]:
    return {one.key: one.value.int_value or one.value.string_value for one in span.attributes}


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    with embedded_servers(tmp_path_factory.mktemp("valkey"), postgres=False) as running:
        yield running.redis_url


@pytest.fixture
def redis(valkey):
    with plain_client(valkey) as client:
        client.flushall()
        yield client


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def playhead(tmp_path, redis, valkey, collector):
    return Playhead(tmp_path / "data", valkey, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)


def test_one_trace_goes_from_append_through_every_projection(playhead, collector, wait_until):
    playhead("append", "job.completed", "--subject", "job/1", "--id", "one", "--data", JOB % 1)
    consumers = ("log", "json-files")
    with playhead.running("log"), playhead.running("json-files"):
        wait_until(lambda: all(collector.named(f"playhead-{name}", "settle jobs") for name in consumers))

    (send,) = collector.named("playhead-append", "send jobs")
    message = {
        "messaging.system": "redis",
        "messaging.destination.name": "jobs",
        "messaging.destination.partition.id": "0",
    }
    expected = {"messaging.operation.type": "send", "messaging.operation.name": "send", "messaging.message.id": "one"}

    assert message | expected == attributes_of(send)
    assert (Span.SPAN_KIND_PRODUCER, b"") == (send.kind, send.parent_span_id)
    for name in consumers:
        (process,) = collector.named(f"playhead-{name}", "process jobs")
        (settle,) = collector.named(f"playhead-{name}", "settle jobs")

        assert {send.trace_id} == {process.trace_id, settle.trace_id}
        assert (send.span_id, process.span_id) == (process.parent_span_id, settle.parent_span_id)
        assert [send.span_id] == [link.span_id for link in process.links]
        assert (Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_CLIENT) == (process.kind, settle.kind)
        assert {
            **message,
            "messaging.consumer.group.name": name,
            "messaging.message.id": "one",
            "playhead.projection": name,
        }.items() <= attributes_of(process).items()
        assert send.start_time_unix_nano <= process.start_time_unix_nano <= process.end_time_unix_nano


def test_a_batch_is_linked_to_the_trace_of_each_of_its_events(playhead, collector, wait_until):
    contexts = [(f"{n + 1:032x}", f"{n + 1:016x}") for n in range(200)]
    lines = [
        f'{{"type": "job.completed", "subject": "job/{n}", "data": {JOB % n}, "id": "id-{n}",'
        f' "traceparent": "00-{trace}-{span}-01"}}'
        for n, (trace, span) in enumerate(contexts)
    ]
    playhead("append", stdin="\n".join(lines).encode())
    with playhead.running("log"):
        wait_until(lambda: len(collector.named("playhead-log", "process jobs")) > 0)

    processes = collector.named("playhead-log", "process jobs")
    linked = {(link.trace_id.hex(), link.span_id.hex()) for span in processes for link in span.links}

    assert set(contexts) == linked
    assert {f"id-{n}" for n in range(200)} == {
        attributes_of(link)["messaging.message.id"] for span in processes for link in span.links
    }
    assert 200 == sum(attributes_of(span).get("messaging.batch.message_count", 1) for span in processes)
    for span in processes:
        assert b"" == span.parent_span_id or len(span.links) == 1


def test_a_replay_is_marked_and_linked_to_the_past_but_is_no_part_of_it(playhead, collector, wait_until):
    playhead("append", "job.completed", "--subject", "job/1", "--data", JOB % 1)
    with playhead.running("log"), playhead.running("json-files"):
        wait_until(lambda: collector.named("playhead-log", "settle jobs"))
        report = json.loads(playhead("replay", "--log", "--to", "json-files", "--json").stdout)
        wait_until(lambda: collector.named("playhead-json-files", "process jobs", playhead__replay=report["run"]))

    (send,) = collector.named("playhead-append", "send jobs")
    (replayed,) = collector.named("playhead-json-files", "process jobs", playhead__replay=report["run"])
    (again,) = collector.named("playhead-replay", "send jobs", playhead__replay=report["run"])

    assert 1 == report["replayed"]
    assert [send.trace_id] == [link.trace_id for link in replayed.links]
    assert send.trace_id not in {replayed.trace_id, again.trace_id}


def test_a_batch_that_fails_says_what_kind_of_error_it_was_and_nothing_of_its_payload(
    playhead, collector, wait_until, redis
):
    playhead("append", "job.completed", "--subject", "job/1", "--data", '{"canary": "xyzzy-1742"}')
    with playhead.running("json-files"):
        wait_until(lambda: redis.xlen(f"{Partition('jobs', 0).key}:parked:json-files") == 1)

    (failed,) = collector.named("playhead-json-files", "process jobs")

    assert "InvalidEvent" == attributes_of(failed)["error.type"]
    assert Status.STATUS_CODE_ERROR == failed.status.code
    assert b"xyzzy" not in b"".join(span.SerializeToString() for _, span in collector.spans)


def test_while_the_collector_is_away_work_goes_on_and_ends_in_time(tmp_path, redis, valkey, wait_until):
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        playhead = Playhead(
            tmp_path / "data",
            valkey,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_TIMEOUT="600",
        )
        key = Partition("jobs", 0).key
        with playhead.running("log") as consumer:
            lines = [f'{{"type": "job.completed", "subject": "job/{n}", "data": {JOB % n}}}' for n in range(50)]
            playhead("append", stdin="\n".join(lines).encode())
            last = redis.xinfo_stream(key)["last-generated-id"]
            wait_until(lambda: redis.xinfo_groups(key)[0]["last-delivered-id"] == last)
            consumer.process.terminate()
            consumer.process.wait(25)  # OpenTelemetry alone would wait for 30 seconds


def test_without_an_endpoint_nothing_of_the_exporter_is_loaded(valkey, redis):
    program = f"""
import sys
from playhead.streams import telemetry
from playhead.streams.appending.producer import Producer
telemetry.set_up("test")
with Producer({valkey!r}) as producer:
    producer.append("job.completed", subject="job/1", data={{}})
print(*[name for name in sys.modules if name.startswith(("opentelemetry.sdk.trace", "opentelemetry.exporter"))])
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    (entry,) = redis.xrange(Partition("jobs", 0).key)

    assert b"" == done.stdout.strip()
    assert b"ce_traceparent" not in entry[1]


def test_a_program_that_traces_already_needs_no_set_up(valkey, redis):
    program = f"""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from playhead.streams.appending.producer import Producer
trace.set_tracer_provider(TracerProvider())
with trace.get_tracer("program").start_as_current_span("work") as work, Producer({valkey!r}) as producer:
    producer.append("job.completed", subject="job/1", data={{}})
print(trace.format_trace_id(work.get_span_context().trace_id))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    (entry,) = redis.xrange(Partition("jobs", 0).key)

    assert done.stdout.strip() == entry[1][b"ce_traceparent"].split(b"-")[1]
