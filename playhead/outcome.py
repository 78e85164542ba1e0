"""How a command ends: its exit code, and an error as one line on stderr."""

import os
import sys

import psycopg
from cyclopts import App, CycloptsError
from redis.exceptions import ClusterDownError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from eventlog.errors import LogCorrupt
from playhead.embedded.errors import EmbeddedServerError
from playhead.settings import ServersNotRunning
from streams.errors import InvalidEvent, InvalidSetting, PlayheadError, RedisUnavailable, StoreUnavailable

DONE, FAILED, USAGE, UNREACHABLE, CORRUPT, BEHIND = 0, 1, 2, 3, 4, 5
INTERRUPTED, PIPE_CLOSED = 130, 141
"""128 and the number of SIGINT or SIGPIPE, as a shell would say."""


def run(app: App) -> int:
    """Run the command line and give its exit code; an unexpected error rises, with its traceback."""
    try:
        code = app(result_action="return_value", error_formatter=_usage)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as exit_:  # cyclopts' own, after --help, a usage error or Ctrl-C
        return exit_.code if isinstance(exit_.code, int) else FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return PIPE_CLOSED
    except (PlayheadError, EmbeddedServerError, RedisError, psycopg.Error, OSError) as error:
        print(f"playhead: {_message(error)}", file=sys.stderr)
        return exit_code(error)
    return code if isinstance(code, int) else DONE


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
        case LogCorrupt():
            return CORRUPT
        case InvalidEvent() | InvalidSetting():
            return USAGE
        case _:
            return FAILED


def _message(error: BaseException) -> str:
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return f"Postgres cannot be reached: {_one_line(error)}; see that it runs, and check DATABASE_URL"
    if isinstance(error, psycopg.Error):
        return f"Postgres refused: {_one_line(error)}"
    if isinstance(error, ResponseError):
        return f"Redis refused: {_one_line(error)}"
    if isinstance(error, RedisError):
        return f"Redis cannot be reached: {_one_line(error)}; see that it runs, and check REDIS_URL"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def _one_line(error: BaseException) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _usage(error: CycloptsError) -> str:
    return f"playhead: {_one_line(error)} See `playhead --help`."
