"""Whether the log or the database holds what no installed domain declares: then a domain is not loaded here."""

from collections.abc import Iterator
from pathlib import Path

from playhead.checks.check import Check
from playhead.eventlog.reader import partitions
from playhead.projections.migrations import applied
from playhead.projections.postgres import Connection
from playhead.streams.domains.discovery import installed

_ADVICE = "install the package of its domain, or name it in PLAYHEAD_DOMAINS or playhead.toml"


def undeclared_streams(log: Path) -> list[str]:
    """Streams of the log that no installed domain declares."""
    return sorted({partition.stream for partition in partitions(log)} - set(installed().streams))


def check_streams(log: Path) -> Iterator[Check]:
    """Look at the log's streams; one that is not there yet has none."""
    for stream in undeclared_streams(log) if log.is_dir() else ():
        yield Check(f"stream {stream}", "warn", "the log has it, and no installed domain declares it", _ADVICE)


def check_migrations(connection: Connection) -> Iterator[Check]:
    """Look at the migrations of the database."""
    scopes = {name.partition("/")[0] for name in applied(connection) if "/" in name}
    for domain in sorted(scopes - {one.name for one in installed().domains}):
        yield Check(f"domain {domain}", "warn", "the database has its tables, and it is not installed", _ADVICE)
