"""`playhead up`: the whole product in one terminal."""

import shlex
from collections.abc import Mapping
from functools import partial

import structlog

from playhead.embedded.servers import Servers as EmbeddedServers
from playhead.embedded.servers import embedded_servers, revive
from playhead.embedded.supervisor import Supervisor
from playhead.projections.migrations import upgrade
from playhead.settings.core import DEFAULT_DATA_DIR, SCHEMA
from playhead.settings.masking import mask
from playhead.settings.producers import refuse_other_partitions
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings, declared, load
from playhead.streams.domains.discovery import installed
from playhead.terminal import diagnostics
from playhead.terminal.exit_codes import DONE
from playhead.terminal.options import DataDir
from playhead.terminal.output import say
from playhead.wiring import default_directories, lacking


def up(*, data_dir: DataDir = None) -> int:
    """Start the embedded servers and every consumer, until Ctrl-C.

    Ctrl-C stops everything, with exit code 0. A second one does not wait for batches in progress; nothing is lost.

    Example:
        playhead up --data-dir playhead-data
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    with embedded_servers(
        settings.data_dir,
        redis=settings.redis_url is None,
        postgres=settings.database_url is None,
        tcp=settings.embedded_tcp,
        prepare=lambda running: _prepare(settings, _reached(settings, running)),
    ) as running:
        reached = _reached(settings, running)
        missing = lacking(settings)
        tell = partial(_tell, settings)
        for name, problem in missing.items():
            tell(f"{name} is not started: {problem}")
        names = [name for name in installed().consumers if name not in missing]
        tell(f"servers are up; starting {', '.join(names)}; Ctrl-C stops everything")
        Supervisor(settings, reached, names).run(
            on_ready=lambda addresses, failing: tell(
                "every consumer is ready" + (f", but these keep ending: {', '.join(failing)}" if failing else ""),
                _places(settings, reached, addresses),
                f"next, in another terminal: {_next(settings)}",
            ),
            on_stop=lambda stopping: tell(
                f"stopping {', '.join(stopping)}; Ctrl-C again ends them at once, which loses nothing"
            ),
            look=partial(revive, settings.data_dir, tell),
        )
    tell("stopped")
    return DONE


def _reached(settings: Settings, running: EmbeddedServers) -> Servers:
    return Servers(
        settings.redis_url or running.redis_url,
        settings.database_url or running.database_url,
        schema=settings[SCHEMA],
    )


def _prepare(settings: Settings, reached: Servers) -> None:
    refuse_other_partitions(reached.redis_url, settings)
    upgrade(reached.database_url, schema=reached.schema, tell=partial(_tell, settings))


def _tell(settings: Settings, text: str, places: Mapping[str, str] | None = None, advice: str = "") -> None:
    """Say it in the form that the messages of the consumers have, which go to stderr too."""
    places = places or {}
    if not diagnostics.is_for_people(settings.log_format):
        structlog.get_logger().info(text, **({"places": places} if places else {}))
        return
    width = max(map(len, places), default=0)
    lines = [text, *(f"  {name:<{width}} {place}" for name, place in places.items())]
    say(*lines, *([advice] if advice else []))


def _places(settings: Settings, reached: Servers, addresses: dict[str, str]) -> dict[str, str]:
    """Where everything is, by what it is."""
    return {
        **{one.title: str(settings[one]) for one in declared().values() if one.title is not None},
        **{f"{name} files": str(place) for name, place in default_directories(settings).items()},
        "Redis": mask(reached.redis_url),
        "Postgres": mask(reached.database_url),
        **{f"{name} metrics": f"{address}/metrics" for name, address in addresses.items()},
    }


def _next(settings: Settings) -> str:
    here = "" if settings.data_dir == DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(settings.data_dir))}"
    ports = "" if settings.embedded_tcp or not settings.embedded else "; PLAYHEAD_EMBEDDED_TCP=true for ports"
    return f"playhead status{here}, playhead append --help, playhead env{here} for URLs with passwords{ports}"
