"""`playhead spool`: what waits on disk for Redis; and the producer of the command line."""

from pathlib import Path

from playhead.settings.core import SPOOL_DIR
from playhead.settings.producers import make_producer
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, load
from playhead.streams.appending.producer import Producer
from playhead.streams.appending.spool import Spool
from playhead.streams.errors import InvalidSetting
from playhead.streams.names import ProducerVariable
from playhead.terminal import diagnostics
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import counted, print_json, print_lines

IN_SPOOL = "spooled"
"""What `append` prints if an event has no position yet."""

_CORRUPT = 4


def open_producer(settings: Settings) -> Producer:
    """Make the producer that the settings ask for."""
    return make_producer(servers(settings, postgres=False).redis_url, settings)


def spool(
    directory: Path | None = None, /, *, flush: bool = False, data_dir: DataDir = None, json: Json = False
) -> int:
    """Show the events that wait in a spool for Redis; exit code 4 if some are damaged.

    Args:
        directory: The spool of a producer; PLAYHEAD_SPOOL_DIR if omitted.
        flush: Send them first; exit code 3 if Redis is still unavailable.

    Example:
        playhead spool --flush
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    chosen = directory or settings.spool_dir
    if chosen is None:
        raise InvalidSetting(f"there is no spool: name its directory, or set {ProducerVariable.SPOOL_DIR}")
    if not chosen.is_dir():
        raise InvalidSetting(f"there is no spool in {chosen}: it is not a directory")
    if not Spool.used(chosen):
        raise InvalidSetting(f"there is no spool in {chosen}: no producer has kept events there")
    if flush:
        with open_producer(settings.replaced(SPOOL_DIR, chosen)) as producer:
            producer.flush()
    found = Spool(chosen).content()
    if json:
        print_json(found)
    else:
        oldest = f", the oldest of {found.oldest}" if found.oldest else ""
        print_lines(f"{counted(found.events, 'event')} ({found.bytes} bytes) waiting in {found.directory}{oldest}")
        if found.damaged:
            print_lines(f"{found.damaged} damaged lines are in {found.directory}/damaged.jsonl")
    return _CORRUPT if found.damaged else 0
