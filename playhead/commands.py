"""The commands that people type."""

import asyncio
import inspect
import shlex

import msgspec
from cyclopts import App, Parameter
from rich.console import Console

from playhead import messages
from playhead.appending import append
from playhead.archiving import archives_app
from playhead.capturing import capture
from playhead.checks.redis import warn_of_weakness
from playhead.configuring import config_app
from playhead.database import db_app
from playhead.demo import run_demo
from playhead.doctor import doctor
from playhead.embedded.servers import embedded_servers, ended_server
from playhead.logs import log_app
from playhead.options import DataDir, Json
from playhead.organizations import organizations_app
from playhead.output import print_json, say
from playhead.parking import parked_app
from playhead.publishing import publish
from playhead.recordings import recordings_app
from playhead.registry import CONSUMERS, STREAMS, WORKERS, lacking, readers_by_stream, work_settings
from playhead.replaying import replay_app
from playhead.settings import DEFAULT_DATA_DIR, Servers, Settings, load, mask, servers
from playhead.spooling import spool
from playhead.status import consumers, status
from playhead.supervisor import Supervisor
from playhead.verifying import verify
from projections.failures import is_transient
from projections.migrations import upgrade
from streams import telemetry
from streams.errors import InvalidSetting
from streams.names import TRACER
from streams.recording_files import RecordingFiles

app = App(
    name="playhead",
    help="Records what background jobs did, for ever, and derives everything else from it.",
    help_epilogue="Start with `playhead demo`, or `playhead up` and `playhead append --help`. Exit codes: 0 done, 1 "
    "failed, 2 usage, 3 a server cannot be reached, 4 data corrupt, 5 not caught up, 130 interrupted.",
    help_format="markdown",
    default_parameter=Parameter(negative=()),
    error_console=Console(stderr=True, soft_wrap=True),
)
app.command(append)
app.command(capture)
app.command(spool)
app.command(status)
app.command(consumers)
app.command(doctor)
app.command(verify)
app.command(publish)
for group in (log_app, replay_app, archives_app, parked_app, recordings_app, organizations_app, config_app, db_app):
    app.command(group)


@app.command
def up(*, data_dir: DataDir = None) -> int:
    """Start the embedded servers and every consumer, until Ctrl-C; a second Ctrl-C does not wait for them.

    Example:
        playhead up --data-dir playhead-data
    """
    settings = load(data_dir)
    messages.configure(settings.log_format)
    with embedded_servers(
        settings.data_dir, redis=settings.redis_url is None, postgres=settings.database_url is None
    ) as running:
        reached = Servers(settings.redis_url or running.redis_url, settings.database_url or running.database_url)
        upgrade(reached.database_url)
        missing = lacking(settings)
        for name, problem in missing.items():
            say(f"{name} is not started: {problem}")
        names = [name for name in STREAMS if name not in missing]
        say(f"servers are up; starting {', '.join(names)}; Ctrl-C stops everything")
        return Supervisor(settings, reached, names).run(
            on_ready=lambda addresses: _say_where(settings, reached, addresses),
            trouble=lambda: ended_server(settings.data_dir),
        )


def _say_where(settings: Settings, reached: Servers, addresses: dict[str, str]) -> None:
    here = "" if settings.data_dir == DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(settings.data_dir))}"
    lines = [
        "every consumer is ready",
        f"  event log    {settings.event_log_dir}",
        f"  JSON files   {settings.output_dir}",
        f"  archives     {settings.archive_dir}",
        f"  recordings   {settings.recordings_dir}",
        f"  Redis        {mask(reached.redis_url)}",
        f"  Postgres     {mask(reached.database_url)}",
        *(f"  {name:<12} {address}/metrics" for name, address in addresses.items()),
        f"next, in another terminal: playhead status{here}, playhead append --help, playhead env{here} for passwords",
    ]
    say("\n".join(lines))


@app.command
def demo() -> int:
    """Show the whole product on embedded servers, in a fresh directory.

    Example:
        playhead demo
    """
    messages.configure()
    return run_demo()


@app.command
def run(name: str, /, *, data_dir: DataDir = None) -> int:
    """Run one consumer or worker process until it is told to stop.

    Args:
        name: The consumer or worker; `playhead consumers` lists them.

    Example:
        playhead run json-files
    """
    from consumers.process import ProcessSettings, run_consumer  # FastStream takes half a second to import
    from consumers.reader import ReaderSettings
    from consumers.recordings.sweeping import NAME, SweepSettings, run_sweep
    from consumers.service import ServiceSettings
    from consumers.work.process import WorkerProcessSettings, run_worker

    if name not in STREAMS:
        raise InvalidSetting(f"there is no consumer {name!r}; there are {', '.join(STREAMS)}")
    settings = load(data_dir)
    messages.configure(settings.log_format)
    telemetry.set_up(f"{TRACER}-{name}")
    reached = servers(settings)
    warn_of_weakness(reached.redis_url)
    place = ServiceSettings(
        redis_url=reached.redis_url,
        redis_timeout=settings.redis_timeout,
        partitions=settings.partitions,
        http_host=settings.http_host,
        http_port=settings.http_port,
    )
    if name == NAME:
        files, sweeping = RecordingFiles(settings.recordings_dir), SweepSettings.after(settings.sweep_seconds)
        return asyncio.run(run_sweep(files, reached.database_url, place, sweeping))
    if name in WORKERS:
        work = WorkerProcessSettings(
            **msgspec.structs.asdict(place), work=work_settings(name, settings), event_log_dir=settings.event_log_dir
        )
        return asyncio.run(run_worker(WORKERS[name](settings, reached), work, is_transient))
    process = ProcessSettings(
        **msgspec.structs.asdict(place),
        reader=ReaderSettings(batch=settings.batch, lease=settings.lease_seconds),
        trim=readers_by_stream() if name == "log" else {},
        event_log_dir=settings.event_log_dir,
    )
    return asyncio.run(run_consumer(CONSUMERS[name](settings, reached), process, is_transient))


@app.command
def env(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Print the URLs of the servers, passwords and all, for eval.

    Example:
        eval "$(playhead env)" && redis-cli -u "$REDIS_URL" ping
    """
    reached = servers(load(data_dir))
    urls = {"REDIS_URL": reached.redis_url, "DATABASE_URL": reached.database_url}
    if json:
        print_json(urls)
    else:
        for name, url in urls.items():
            print(f"export {name}={shlex.quote(url)}")


def commands(group: App = app) -> dict[str, App]:
    """Every command below a group that does something, by what one types."""
    found: dict[str, App] = {}
    for name in group:
        if name.startswith("-"):
            continue
        below = group[name]
        if below.default_command is not None:
            found[name] = below
        found |= {f"{name} {rest}": one for rest, one in commands(below).items()}
    return found


def _show_examples() -> None:
    """Put the example of each docstring below its help, where it is not wrapped."""
    for command in commands().values():
        _, _, example = (inspect.getdoc(command.default_command) or "").partition("\nExample:\n")
        if example:
            command.help_epilogue = f"Example:\n\n```console\n{inspect.cleandoc(example)}\n```"


_show_examples()
