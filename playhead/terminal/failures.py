"""What an error that ends a command means: its exit code, and a line on stderr."""

import os

import psycopg
from redis.exceptions import ClusterDownError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from playhead.backups.errors import BackupAhead, BackupDamaged
from playhead.embedded.errors import EmbeddedServerError
from playhead.eventlog.errors import LogCorrupt
from playhead.settings.errors import ServersNotRunning
from playhead.streams.errors import (
    DomainInvalid,
    DomainNotLoaded,
    DomainsCollide,
    InvalidEvent,
    InvalidSetting,
    PlayheadError,
    RedisUnavailable,
    StoreUnavailable,
)
from playhead.streams.redis.refusals import advice_against
from playhead.streams.storage.file_tree import shown
from playhead.terminal.exit_codes import CORRUPT, FAILED, UNREACHABLE, USAGE
from playhead.terminal.output import one_line


def exit_code(error: BaseException) -> int:
    """The exit code that an error stands for."""
    match error:
        case (
            ServersNotRunning() | RedisUnavailable() | StoreUnavailable() | RedisConnectionError() | RedisTimeoutError()
        ):
            return UNREACHABLE
        case ClusterDownError() | RedisClusterException():
            return UNREACHABLE
        case psycopg.OperationalError(sqlstate=state) if state is None or state.startswith(("08", "57P")):
            return UNREACHABLE
        case LogCorrupt() | BackupDamaged() | BackupAhead():
            return CORRUPT
        case InvalidEvent() | InvalidSetting() | DomainNotLoaded() | DomainsCollide() | DomainInvalid():
            return USAGE
        case _:
            return FAILED


def message(error: BaseException) -> str | None:
    """What there is to say of an error that may happen to anybody, on one line or more; None for an unexpected one."""
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return f"Postgres cannot be reached: {one_line(error)}; check that it runs, and check DATABASE_URL"
    if isinstance(error, psycopg.Error):
        return f"Postgres refused: {one_line(error)}"
    if isinstance(error, RedisError):
        return _of_redis(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{shown(os.fsdecode(error.filename))}: {error.strerror}"
    if isinstance(error, PlayheadError | OSError):
        return one_line(error)
    return str(error) if isinstance(error, EmbeddedServerError) else None  # ends with lines of the server's log


def _of_redis(error: RedisError) -> str:
    if not isinstance(error, ResponseError):
        return f"Redis cannot be reached: {one_line(error)}; check that it runs, and check REDIS_URL"
    advice = advice_against(error)
    return f"Redis refused: {one_line(error)}" + ("" if advice is None else f"; {advice}")
