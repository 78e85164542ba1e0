"""The commands that people type."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from redis import Redis

from consumers.process import ProcessSettings, run_consumer
from consumers.reader import ReaderSettings
from eventlog.reader import read, stat, verify
from playhead import messages
from playhead.demo import run_demo
from playhead.embedded.servers import embedded_servers
from playhead.parking import parked_app
from playhead.registry import CONSUMERS, readers_by_stream
from playhead.replaying import replay_app
from playhead.settings import Servers, Settings, load, servers
from playhead.status import read_status
from playhead.supervisor import Supervisor
from projections.failures import is_transient
from projections.migrations import upgrade
from streams import telemetry
from streams.connections import connect
from streams.errors import InvalidEvent, InvalidSetting
from streams.names import TRACER
from streams.producer import Producer

app = App(name="playhead", help="Records what background jobs did, for ever, and derives everything else from it.")
log_app = App(name="log", help="The event log by itself.")
app.command(log_app)
app.command(replay_app)
app.command(parked_app)

DataDir = Annotated[Path | None, Parameter("--data-dir", help="Directory of the embedded servers and all data.")]
Json = Annotated[bool, Parameter("--json", negative=(), help="Print JSON.")]
CAUGHT_UP, NOT_CAUGHT_UP, CORRUPT = 0, 5, 4


@app.command
def up(*, data_dir: DataDir = None) -> int:
    """Start the embedded stack and every consumer, until Ctrl-C.

    Example: playhead up --data-dir playhead-data
    """
    settings = load(data_dir)
    messages.configure(settings.log_format)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with embedded_servers(
        settings.data_dir, redis=settings.redis_url is None, postgres=settings.database_url is None
    ) as running:
        reached = Servers(
            settings.redis_url or str(running.redis_url), settings.database_url or str(running.database_url)
        )
        upgrade(reached.database_url)
        print(f"playhead: up in {settings.data_dir}; Ctrl-C stops it", file=sys.stderr)
        return Supervisor(settings, reached).run()


@app.command
def demo() -> int:
    """Show the whole product on embedded servers, in a fresh directory.

    Example: playhead demo
    """
    messages.configure()
    return run_demo()


@app.command
def run(name: str, *, data_dir: DataDir = None) -> int:
    """Run one consumer process until it is told to stop.

    Example: playhead run json-files
    """
    if name not in CONSUMERS:
        raise InvalidSetting(f"there is no consumer {name!r}; there are {', '.join(CONSUMERS)}")
    settings = load(data_dir)
    messages.configure(settings.log_format)
    telemetry.set_up(f"{TRACER}-{name}")
    reached = servers(settings)
    process = ProcessSettings(
        redis_url=reached.redis_url,
        partitions=settings.partitions,
        http_host=settings.http_host,
        http_port=settings.http_port,
        reader=ReaderSettings(lease=settings.lease_seconds),
        trim=readers_by_stream() if name == "log" else {},
    )
    return asyncio.run(run_consumer(CONSUMERS[name](settings, reached), process, is_transient))


@app.command
def append(
    type: str | None = None,
    *,
    subject: str | None = None,
    data: str | None = None,
    id: str | None = None,
    time: str | None = None,
    data_dir: DataDir = None,
) -> None:
    """Append one event, or many as JSON lines with type, subject and data on stdin; prints the positions.

    Example: playhead append job.completed --subject job/1 --data '{"job_id": "1", "job": {}, "result": "ok"}'
    """
    settings = load(data_dir)
    telemetry.set_up(f"{TRACER}-append")
    with Producer(servers(settings).redis_url, partitions=settings.partitions) as producer:
        if type is not None:
            if subject is None:
                raise InvalidEvent("subject", "is missing; pass --subject, such as job/1")
            content = Path(data[1:]).read_bytes() if data and data.startswith("@") else (data or "{}").encode()
            print(producer.append(type, subject=subject, data=content, id=id, time=time))
            return
        for number, line in enumerate(sys.stdin.buffer, 1):
            print(_append_line(producer, line, number))


@app.command
def status(*, data_dir: DataDir = None, json: Json = False) -> int:
    """Show positions, lag and health of every consumer; exit code 5 while one is behind.

    Example: playhead status --json
    """
    settings = load(data_dir)
    found = read_status(_redis(settings), settings.partitions)
    if json:
        print_json(found)
    else:
        print(f"{'CONSUMER':<14}{'STATE':<10}{'POSITION':<20}{'LAG':>8}{'SECONDS':>9}{'PARKED':>8}")
        for one in found.consumers:
            lag = "?" if one.lag_events is None else str(one.lag_events)
            seconds = "?" if one.lag_seconds is None else f"{one.lag_seconds:.0f}"
            print(f"{one.name:<14}{one.state:<10}{one.position:<20}{lag:>8}{seconds:>9}{one.parked:>8}")
            if one.problem:
                print(f"  {one.problem}")
        print("caught up" if found.caught_up else "not caught up")
    return CAUGHT_UP if found.caught_up else NOT_CAUGHT_UP


@app.command
def env(*, data_dir: DataDir = None) -> None:
    """Print the URLs of the servers, for eval.

    Example: eval "$(playhead env)" && redis-cli -u "$REDIS_URL" ping
    """
    reached = servers(load(data_dir))
    print(f"export REDIS_URL='{reached.redis_url}'\nexport DATABASE_URL='{reached.database_url}'")


@log_app.command(name="stat")
def log_stat(*, data_dir: DataDir = None) -> None:
    """Show how many events the log has, by stream and partition, as JSON."""
    print_json(stat(load(data_dir).event_log_dir))


@log_app.command(name="verify")
def log_verify(*, data_dir: DataDir = None, json: Json = False) -> int:
    """Read the whole log and check every checksum; exit code 4 where something is wrong.

    Example: playhead log verify --json
    """
    found = verify(load(data_dir).event_log_dir)
    if json:
        print_json(found)
    else:
        for fault in found.faults:
            print(f"{fault.file}:{fault.line}: {fault.problem}", file=sys.stderr)
        print(f"{found.events} events, {len(found.faults)} faults")
    return CORRUPT if found.faults else 0


@log_app.command(name="cat")
def log_cat(*, data_dir: DataDir = None) -> None:
    """Print every event of the log as CloudEvents JSON lines."""
    from eventlog.lines import encode_line

    for _, recorded in read(load(data_dir).event_log_dir):
        sys.stdout.buffer.write(encode_line(recorded))


def print_json(value: object) -> None:
    """Print a record as JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _redis(settings: Settings) -> Redis:
    client = connect(servers(settings).redis_url)
    if not isinstance(client, Redis):
        raise InvalidSetting("this command does not read from Redis Cluster yet")
    return client


class _Line(msgspec.Struct):
    type: str
    subject: str
    data: msgspec.Raw
    id: str | None = None
    time: str | None = None


def _append_line(producer: Producer, line: bytes, number: int) -> str:
    try:
        one = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError as error:
        raise InvalidEvent(f"line {number}", str(error)) from error
    return str(producer.append(one.type, subject=one.subject, data=bytes(one.data), id=one.id, time=one.time))
