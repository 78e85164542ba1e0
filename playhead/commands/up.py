"""`playhead up`: the whole product in one terminal."""

import shlex
from collections.abc import Sequence

from playhead.embedded.servers import embedded_servers, ended_server
from playhead.embedded.supervisor import Supervisor
from playhead.projections.migrations import upgrade
from playhead.settings.core import DEFAULT_DATA_DIR
from playhead.settings.masking import mask
from playhead.settings.producers import refuse_other_partitions
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings, declared, load
from playhead.streams.domains.discovery import installed
from playhead.terminal import diagnostics
from playhead.terminal.options import DataDir
from playhead.terminal.output import say
from playhead.wiring import default_directories, lacking


def up(*, data_dir: DataDir = None) -> int:
    """Start the embedded servers and every consumer, until Ctrl-C.

    A second Ctrl-C does not wait for batches in progress; nothing is lost.

    Example:
        playhead up --data-dir playhead-data
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    with embedded_servers(
        settings.data_dir, redis=settings.redis_url is None, postgres=settings.database_url is None
    ) as running:
        reached = Servers(settings.redis_url or running.redis_url, settings.database_url or running.database_url)
        refuse_other_partitions(reached.redis_url, settings)
        upgrade(reached.database_url)
        missing = lacking(settings)
        for name, problem in missing.items():
            say(f"{name} is not started: {problem}")
        names = [name for name in installed().consumers if name not in missing]
        say(f"servers are up; starting {', '.join(names)}; Ctrl-C stops everything")
        return Supervisor(settings, reached, names).run(
            on_ready=lambda addresses, failing: _say_where(settings, reached, addresses, failing),
            trouble=lambda: ended_server(settings.data_dir),
        )


def _say_where(settings: Settings, reached: Servers, addresses: dict[str, str], failing: Sequence[str]) -> None:
    here = "" if settings.data_dir == DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(settings.data_dir))}"
    places = [
        *((one.title, settings[one]) for one in declared().values() if one.title is not None),
        *((f"{name} files", place) for name, place in default_directories(settings).items()),
        ("Redis", mask(reached.redis_url)),
        ("Postgres", mask(reached.database_url)),
        *((name, f"{address}/metrics") for name, address in addresses.items()),
    ]
    width = max(len(name) for name, _ in places)
    lines = [
        "every consumer is ready" + (f", but these keep ending: {', '.join(failing)}" if failing else ""),
        *(f"  {name:<{width}} {place}" for name, place in places),
        f"next, in another terminal: playhead status{here}, playhead append --help, playhead env{here} for passwords",
    ]
    say(*lines)
