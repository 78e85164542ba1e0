"""The domain: what a package declares of its streams, events, projections, workers and everything around them.

A declaration is cheap: refer to heavy code as `"module:attribute"`, which is imported when it is used.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, overload

import msgspec

from playhead.streams.domains import settings as reading
from playhead.streams.domains.event_types import Stream
from playhead.streams.domains.settings import Setting
from playhead.streams.errors import DomainInvalid, DomainNotLoaded, InvalidSetting

Target = str | Callable[..., Any]
"""Something to call, or where it is: `"module:attribute"`."""
Read = type[msgspec.Struct] | str | Stream
"""An event type by its Struct or its name, or a whole stream."""
Reads = Read | Sequence[Read]
Extension = Literal["check", "demo", "observer", "files", "capture", "routes", "pages"]
SINGLE: tuple[Extension, ...] = ("files", "capture")
"""Extensions of which all installed domains together declare one."""
INTERVAL = "a number of seconds above 0"

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """A projection: `target` makes its sink from a `Place`.

    `place` is the setting of the directory or bucket that it writes to, None if it writes to tables. `verification`
    makes what `verify` compares it by, from the same `Place`.
    """

    name: str
    target: Target
    reads: Sequence[Read]
    place: Setting[Any] | None
    verification: Target | None


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker: `target` is the work itself, a function of a `Task`; or `handler` makes a Handler from a `Place`.

    The work on an event ends with one of the types in `ends`. `failed` takes the task and a reason, and makes the event
    that says so when the work is given up. `lacks` takes the settings and says why the worker cannot run here, or None.
    """

    name: str
    on: Sequence[Read]
    ends: Sequence[Read]
    target: Target | None
    handler: Target | None
    failed: Target | None
    lacks: Target | None
    max_attempts: int | None


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """Work that is called by the clock: `target` makes, from a `Place`, the function that does one round."""

    name: str
    target: Target
    every: float | Setting[float]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command, or a cyclopts app of several; `help` is its first sentence in the list of all."""

    name: str
    target: str
    help: str


class Domain:
    """What a package adds to Playhead: declare it once, as an attribute of a module.

    `migrations` is the directory of its numbered SQL files, relative to that module's. `requires` names the domains
    whose events or tables this one reads.

    Raises:
        DomainInvalid: the declaration contradicts itself, or `migrations` is relative to a module without a file.
    """

    def __init__(self, name: str, *, migrations: str | None = None, requires: Iterable[str] = ()) -> None:
        _check_name("domain", name)
        module = sys._getframe(1).f_globals  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as NamedTuple does
        self.name = name
        self.requires = tuple(requires)
        self.module = str(module["__name__"])
        self.migrations = None if migrations is None else _beside(module, migrations)
        self.streams: dict[str, Stream] = {}
        self.projections: dict[str, Projection] = {}
        self.workers: dict[str, Worker] = {}
        self.clocks: dict[str, Clock] = {}
        self.commands: dict[str, Command] = {}
        self.settings: dict[str, Setting[Any]] = {}
        self.extensions: dict[Extension, list[Target]] = {}

    def __str__(self) -> str:
        return f"{self.name} ({self.module})"

    @property
    def package(self) -> str:
        """The package that it comes from."""
        return self.module.partition(".")[0]

    def stream(self, stream: str | Stream) -> Stream:
        """Declare a stream by name, or a `Stream` that exists; declare event types on the stream that this returns."""
        made = Stream(stream) if isinstance(stream, str) else stream
        _check_name("stream", made.name)
        self._check_new(made.name, self.streams)
        self.streams[made.name] = made
        return made

    @overload
    def projection(
        self,
        name: str,
        target: Target,
        *,
        reads: Reads,
        place: Setting[Any] | None = None,
        verification: Target | None = None,
    ) -> None: ...

    @overload
    def projection(
        self,
        name: str,
        *,
        reads: Reads,
        place: Setting[Any] | None = None,
        verification: Target | None = None,
    ) -> Callable[[_Decorated], _Decorated]: ...

    def projection(
        self,
        name: str,
        target: Target | None = None,
        *,
        reads: Reads,
        place: Setting[Any] | None = None,
        verification: Target | None = None,
    ) -> Callable[[Any], Any] | None:
        """Declare a projection: decorate its class, or pass `"module:Class"`."""

        def declare(target: Target) -> None:
            self._check_consumer(name)
            self.projections[name] = Projection(
                name=name, target=target, reads=_several(reads), place=place, verification=verification
            )

        return _decorator(declare, target)

    @overload
    def worker(
        self,
        name: str,
        target: Target,
        *,
        on: Reads,
        ends: Reads,
        failed: Target | None = None,
        lacks: Target | None = None,
        max_attempts: int | None = None,
    ) -> None: ...

    @overload
    def worker(
        self,
        name: str,
        *,
        on: Reads,
        ends: Reads,
        handler: Target,
        lacks: Target | None = None,
        max_attempts: int | None = None,
    ) -> None: ...

    @overload
    def worker(
        self,
        name: str,
        *,
        on: Reads,
        ends: Reads,
        failed: Target | None = None,
        lacks: Target | None = None,
        max_attempts: int | None = None,
    ) -> Callable[[_Decorated], _Decorated]: ...

    def worker(
        self,
        name: str,
        target: Target | None = None,
        *,
        on: Reads,
        ends: Reads,
        handler: Target | None = None,
        failed: Target | None = None,
        lacks: Target | None = None,
        max_attempts: int | None = None,
    ) -> Callable[[Any], Any] | None:
        """Declare a worker: decorate its function, pass `"module:function"`, or pass a factory of a `Handler`.

        `on` names the events that it works on. The work on an event is over when an event in `ends` is appended that
        was caused by it, so the function returns one of these, as a Struct or from `task.event`.

        A failed attempt is repeated up to `max_attempts` or PLAYHEAD_MAX_ATTEMPTS times, whichever is more. Then the
        event is parked, and `failed(task, reason)` returns a Struct to append, such as `ReceiptFailed`, or None. Name
        its type in `ends` if the work must not start again after Redis lost its state.
        """

        def declare(target: Target | None) -> None:
            self._check_consumer(name)
            self.workers[name] = Worker(
                name=name,
                on=_several(on),
                ends=_several(ends),
                target=target,
                handler=handler,
                failed=failed,
                lacks=lacks,
                max_attempts=max_attempts,
            )

        if handler is not None:
            if target is not None or failed is not None:
                raise DomainInvalid(f"{name} has a handler=, which is the work and gives up itself: omit the other one")
            return declare(None)
        return _decorator(declare, target)

    def clock(self, name: str, target: Target, *, every: float | Setting[float]) -> None:
        """Declare work that runs every `every` seconds: `target` takes a `Place` and returns the function to call.

        The function does one round in a thread, and may return the seconds until the next one. A round that raises is
        logged, and the next one follows within 10 seconds, or later if rounds go on failing.
        """
        self._check_consumer(name)
        seconds = every.parse(every.default) if isinstance(every, Setting) else every
        if not is_interval(seconds):
            default = f"the default of {every.name}, " if isinstance(every, Setting) else ""
            raise DomainInvalid(f"every= of the clock {name} must be {INTERVAL}, not {default}{seconds!r}")
        self.clocks[name] = Clock(name=name, target=target, every=every)

    def command(self, target: str, *, help: str, name: str | None = None) -> None:
        """Declare a command, or a cyclopts app of several, below the domain's name or another."""
        name = name or self.name
        _check_name("command", name)
        self._check_new(name, self.commands)
        self.commands[name] = Command(name=name, target=target, help=help)

    @overload
    def setting(self, name: str, default: bool, help: str, *, read: None = None) -> Setting[bool]: ...
    @overload
    def setting(self, name: str, default: int, help: str, *, read: None = None) -> Setting[int]: ...
    @overload
    def setting(self, name: str, default: float, help: str, *, read: None = None) -> Setting[float]: ...
    @overload
    def setting(
        self, name: str, default: str, help: str, *, read: None = None, secret: bool = False
    ) -> Setting[str]: ...
    @overload
    def setting(
        self, name: str, default: object, help: str, *, read: Callable[[str], reading.Value_co], secret: bool = False
    ) -> Setting[reading.Value_co]: ...

    def setting(
        self,
        name: str,
        default: object,
        help: str,
        *,
        read: Callable[[str], Any] | None = None,
        secret: bool = False,
    ) -> Setting[Any]:
        """Declare a setting: an environment variable, and a key of `playhead.toml`.

        `help` is a sentence for users. `read` converts text to the value, by default to the type of the default. If it
        raises, the setting is refused with its message; `InvalidSetting` says what the text must be.

        Raises:
            DomainInvalid: the name is no environment variable, or `read` refuses the default.
        """
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        return self._new_setting(Setting(name, shown, help, read or reading.reader_of(default), secret=secret))

    def directory(self, name: str, below: str, help: str, *, title: str) -> Setting[Path]:
        """Declare the setting of a directory, by default `below` the data directory."""
        return self._new_setting(Setting(name, "", help, Path, below=below, title=title))

    def location(self, name: str, below: str, help: str, *, title: str) -> Setting[str]:
        """Declare the setting of a directory or an `s3://` URL, by default `below` the data directory."""
        return self._new_setting(Setting(name, "", help, reading.location, below=below, title=title))

    def extend(self, what: Extension, target: Target) -> None:
        """Declare an extension of another kind, a function or where it is.

        - `check(settings: SettingValues) -> Iterable[Check]`: lines of `playhead doctor`.
        - `demo(demo: Demo) -> None`: a step of `playhead demo`.
        - `observer(projection: str, registry: CollectorRegistry) -> Callable[[Batch], None] | None`: called once in the
          process of each projection, gives what sees every batch that it applied, such as metrics; None for nothing.
        - `files(settings: SettingValues) -> FileSource`, of `playhead.eventlog.replay.files`: what `playhead replay
          --file` and `--directory` read. The domain `jobs` declares it, and only one domain may.
        - `capture(content, source_url, metadata, *, blobs, scraper_id, source, id, time) -> Event`: makes the event of
          `Producer.archive`. The domain `content` declares it, and only one domain may.
        - `routes`, `pages`: reserved for the HTTP API and the console; not served yet.

        Raises:
            DomainInvalid: there is no such kind.
        """
        if what not in get_args(Extension):
            raise DomainInvalid(f"there is no extension {what!r}; there are {', '.join(get_args(Extension))}")
        self.extensions.setdefault(what, []).append(target)

    def _new_setting(self, setting: Setting[reading.Value_co]) -> Setting[reading.Value_co]:
        if not _VARIABLE.fullmatch(setting.name):
            raise DomainInvalid(
                f"the name of a setting is an environment variable, such as INVOICES_CURRENCY, not {setting.name!r}"
            )
        self._check_new(setting.name, self.settings)
        if setting.below is None:
            try:
                setting.parse(setting.default)
            except InvalidSetting as error:
                raise DomainInvalid(
                    f"the default of the setting {setting.name} is {setting.default!r}; {error}"
                ) from error
        self.settings[setting.name] = setting
        return setting

    def _check_consumer(self, name: str) -> None:
        _check_name("consumer", name)
        self._check_new(name, self.projections, self.workers, self.clocks)

    def _check_new(self, name: str, *declared: dict[str, Any]) -> None:
        if any(name in each for each in declared):
            raise DomainInvalid(f"the domain {self.name} declares {name} twice")


def is_interval(value: object) -> bool:
    """Whether a value is an `INTERVAL`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def resolve(target: Target, who: str | None = None) -> Any:  # whatever is declared there
    """Import what a declaration names; `who` is what is declared, as errors call it.

    Raises:
        DomainNotLoaded: it is not there, its module cannot be imported, or it cannot be called.
    """
    found: object = target
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        if not module or not attribute:
            raise DomainNotLoaded(_said(target, who, "is not the place of anything: write module:attribute"))
        try:
            with redirect_stdout(sys.stderr):  # what a module prints must not stand in the output of a command
                found = getattr(import_module(module), attribute)
        except (Exception, SystemExit) as error:
            problem = f"cannot be imported: {type(error).__name__}: {error}"
            raise DomainNotLoaded(_said(target, who, problem)) from error
    if not callable(found):
        raise DomainNotLoaded(_said(target, who, f"cannot be called: it is of type {type(found).__name__}"))
    return found


def _said(target: Target, who: str | None, problem: str) -> str:
    named = target if isinstance(target, str) else repr(target)
    return f"{named} {problem}" if who is None else f"{who} is declared as {named}, which {problem}"


def _beside(module: dict[str, Any], migrations: str) -> Path:
    if "__file__" in module:
        return Path(module["__file__"]).parent / migrations
    if (directory := Path(migrations)).is_absolute():
        return directory
    raise DomainInvalid(
        f"migrations={migrations!r} is relative to the file of the module {module['__name__']}, which has none: declare"
        " the domain in a file, or pass an absolute path"
    )


def _several(reads: Reads) -> tuple[Read, ...]:
    return (reads,) if isinstance(reads, str | Stream | type) else tuple(reads)


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise DomainInvalid(f"the name of a {kind} has lower-case letters, digits and hyphens; not {name!r}")


def _decorator(declare: Callable[[Any], None], target: Target | None) -> Callable[[Any], Any] | None:
    def decorate(decorated: Callable[..., Any]) -> Callable[..., Any]:
        declare(decorated)
        return decorated

    return decorate if target is None else declare(target)
