"""Entry point: exit codes and the form of errors."""

import sys

import psycopg
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from eventlog.errors import LogCorrupt
from playhead.commands import app
from playhead.embedded.errors import EmbeddedServerError
from playhead.settings import ServersNotRunning
from streams.errors import InvalidEvent, InvalidSetting, PlayheadError, RedisUnavailable

FAILED, USAGE, UNREACHABLE, CORRUPT, INTERRUPTED = 1, 2, 3, 4, 130


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


def run() -> int:
    """Run the command line; an error becomes one line on stderr and an exit code."""
    try:
        code = app(result_action="return_value")
    except KeyboardInterrupt:
        return INTERRUPTED
    except (
        ServersNotRunning,
        RedisUnavailable,
        RedisConnectionError,
        RedisTimeoutError,
        psycopg.OperationalError,
    ) as error:
        return _fail(error, UNREACHABLE)
    except LogCorrupt as error:
        return _fail(error, CORRUPT)
    except (InvalidEvent, InvalidSetting) as error:
        return _fail(error, USAGE)
    except (PlayheadError, EmbeddedServerError, OSError) as error:
        return _fail(error, FAILED)
    return code if isinstance(code, int) else 0


def _fail(error: Exception, code: int) -> int:
    print(f"playhead: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
