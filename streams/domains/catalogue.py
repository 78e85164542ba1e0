"""The catalogue: every domain that is installed, as one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from playhead.streams.domains.domain import SINGLE, Clock, Command, Domain, Extension, Projection, Read, Target, Worker
from playhead.streams.domains.event_types import EventType, Stream, event_type_of
from playhead.streams.domains.settings import Setting
from playhead.streams.errors import DomainInvalid, DomainsCollide, InvalidEvent, InvalidSetting
from playhead.streams.printable import quoted
from playhead.streams.slips import did_you_mean

_Declared = TypeVar("_Declared")

LOG = "log"
"""The consumer that writes the event log."""


class Catalogue:
    """What all domains declare together.

    Raises:
        DomainsCollide: two of them declare the same name.
        DomainInvalid: an upcaster is missing, or something reads what nobody declares.
    """

    def __init__(self, domains: Iterable[Domain]) -> None:
        self.domains = tuple(_ordered(list(domains)))
        self.streams = self._merged("stream", _streams)
        self.types = self._merged("event type", _types)
        self.projections = self._merged("projection", _projections)
        self.workers = self._merged("worker", _workers)
        self.clocks = self._merged("clock", _clocks)
        self.commands = self._merged("command", _commands)
        self.settings = self._merged("setting", _settings)
        self._merged("consumer", _consumers)
        self._check_single_extensions()
        self._check_upcasters()
        self.reads: dict[str, tuple[str, ...]] = {LOG: tuple(self.streams)}
        """The streams that each consumer reads, by its name."""
        self.kinds: dict[str, frozenset[str]] = {}
        """The event types that each projection and worker takes notice of."""
        for name, read in self._readings():
            self.reads[name], self.kinds[name] = self._read_by(name, read)
        self.reads |= dict.fromkeys(self.clocks, ())
        self.kinds |= dict.fromkeys(self.clocks, frozenset[str]())
        for worker in self.workers.values():
            if not worker.ends:
                raise DomainInvalid(
                    f"{worker.name} ends with nothing: name in ends= the event types that its work ends with, so that"
                    " finished work is not done again after Redis lost its state"
                )
            for end in worker.ends:
                if not isinstance(end, Stream):
                    self._declared(end, f"{worker.name} ends with")

    @property
    def consumers(self) -> tuple[str, ...]:
        """Every consumer that a process can be of: the log, the projections, the workers, the clocks."""
        return (LOG, *self.projections, *self.workers, *self.clocks)

    def require(self, consumer: str) -> None:
        """Refuse the name of a consumer that is not there.

        Raises:
            InvalidSetting: names those that are.
        """
        if consumer not in self.consumers:
            raise InvalidSetting(f"there is no consumer {consumer!r}; there are {', '.join(self.consumers)}")

    def domain_of(self, consumer: str) -> Domain | None:
        """The domain that declares a consumer; None for the log, which is nobody's."""
        for domain in self.domains:
            if consumer in {*domain.projections, *domain.workers, *domain.clocks}:
                return domain
        return None

    def described(self, consumer: str) -> str:
        """A projection, worker or clock as errors call it."""
        kind = "projection" if consumer in self.projections else "worker" if consumer in self.workers else "clock"
        return f"the {kind} {consumer} of the domain {self.domain_of(consumer)}"

    def rivals_of(self, worker: str) -> frozenset[str]:
        """The other workers on an event type that a worker is on: each does work of its own for the same event."""
        types = self.kinds[worker]
        return frozenset(name for name in self.workers if name != worker and not types.isdisjoint(self.kinds[name]))

    def readers_of(self, stream: str) -> tuple[str, ...]:
        """Every consumer of a stream: an entry may go only when all of them are past it."""
        return tuple(name for name, streams in self.reads.items() if stream in streams)

    @property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """Every consumer of each stream."""
        return {stream: self.readers_of(stream) for stream in self.streams}

    def extensions(self, what: Extension) -> list[Target]:
        """What the domains declare of a kind."""
        return [target for domain in self.domains for target in domain.extensions.get(what, ())]

    def extension(self, what: Extension) -> Target | None:
        """What the domains declare of a kind of which there is one."""
        return next(iter(self.extensions(what)), None)

    def stream_of(self, type: str, given: str | None = None) -> str:
        """The stream of an event type; `given` is that of a type that no domain declares.

        Raises:
            InvalidEvent: no domain declares the type or the stream, or the type belongs to another stream.
        """
        declared = self.types.get(type)
        if declared is not None:
            if given not in {None, declared.stream}:
                raise InvalidEvent("stream", f"{type} belongs to the stream {declared.stream}, not {given}")
            return declared.stream
        if given is None:
            raise InvalidEvent(
                "type",
                f"no domain declares {quoted(type)}: name its stream (`--stream NAME`, stream=...), or declare it"
                + did_you_mean(type, self.types),
            )
        if given not in self.streams:
            known = ", ".join(self.streams) or "none"
            raise InvalidEvent(
                "stream", f"no domain declares {quoted(given)}, so no consumer reads it; there are {known}"
            )
        return given

    def _merged(self, kind: str, declared_by: Callable[[Domain], Mapping[str, _Declared]]) -> dict[str, _Declared]:
        merged: dict[str, _Declared] = {}
        owners: dict[str, str] = {LOG: "playhead"} if declared_by is _consumers else {}
        for domain in self.domains:
            for name, declared in declared_by(domain).items():
                if name in owners:
                    raise DomainsCollide(
                        f"{owners[name]} and {domain} both declare the {kind} {name}: rename it in one of them"
                    )
                owners[name] = str(domain)
                merged[name] = declared
        return merged

    def _check_single_extensions(self) -> None:
        for what in SINGLE:
            owners = [domain.module for domain in self.domains for _ in domain.extensions.get(what, ())]
            if len(owners) > 1:
                raise DomainsCollide(
                    f"{owners[0]} and {owners[1]} both declare the extension {what}, of which there can be one: remove"
                    " one of them"
                )

    def _check_upcasters(self) -> None:
        for declared in self.types.values():
            if declared.gaps:
                raise DomainInvalid(
                    f"{declared.name} is at version {declared.version}, and there is no upcaster from version"
                    f" {declared.gaps[0]}: declare it with @stream.upcaster({declared.name!r},"
                    f" version={declared.gaps[0]})"
                )
        for stream in self.streams.values():
            for name, version in stream.upcasters:
                if name not in stream.types:
                    raise DomainInvalid(
                        f"an upcaster is declared for {name!r}, which is not an event type of the stream {stream.name}"
                    )
                if not 1 <= version < stream.types[name].version:
                    raise DomainInvalid(
                        f"an upcaster exists for version {version} of {name}, which is at version"
                        f" {stream.types[name].version}: increase the version of the event type, or remove the upcaster"
                    )

    def _readings(self) -> Iterator[tuple[str, Iterable[Read]]]:
        for projection in self.projections.values():
            yield projection.name, projection.reads
        for worker in self.workers.values():
            yield worker.name, worker.on

    def _read_by(self, consumer: str, reads: Iterable[Read]) -> tuple[tuple[str, ...], frozenset[str]]:
        types: list[EventType[Any]] = []
        streams: list[str] = []
        for read in reads:
            if isinstance(read, Stream):
                if self.streams.get(read.name) is not read:
                    raise DomainInvalid(
                        f"{consumer} reads the stream {read.name}, which no installed domain declares:"
                        " pass it to Domain.stream, or install the package that does"
                    )
                streams.append(read.name)
                types += read.types.values()
                continue
            types.append(self._declared(read, f"{consumer} reads"))
        if not streams and not types:
            raise DomainInvalid(f"{consumer} reads nothing: name its event types or streams")
        streams += [declared.stream for declared in types]
        return tuple(dict.fromkeys(streams)), frozenset(declared.name for declared in types)

    def _declared(self, read: type[msgspec.Struct] | str, who: str) -> EventType[Any]:
        try:
            name = read if isinstance(read, str) else event_type_of(read).name
        except InvalidEvent as error:
            raise DomainInvalid(f"{who} {error.problem}") from error
        if name in self.streams:
            raise DomainInvalid(f"{who} {name!r}, which is a stream, not an event type: pass its Stream")
        if name not in self.types:
            raise DomainInvalid(
                f"{who} {name}, which no installed domain declares: declare it with @stream.event, or install the"
                " package that does"
            )
        return self.types[name]


def _ordered(domains: list[Domain]) -> Iterator[Domain]:
    """Domains in the order in which they were given, each behind those that it requires."""
    given = {domain.name: domain for domain in domains}
    if len(given) < len(domains):
        twice = next(one for one in domains if given[one.name] is not one)
        other = given[twice.name]
        if twice.module == other.module:
            raise DomainsCollide(f"{twice.module} declares the domain {twice.name} twice: rename one of them")
        raise DomainsCollide(f"{twice.module} and {other.module} both declare the domain {twice.name}")
    placed: set[str] = set()

    def place(domain: Domain, behind: tuple[str, ...]) -> Iterator[Domain]:
        if domain.name in behind:
            raise DomainInvalid(f"domains require each other: {' -> '.join((*behind, domain.name))}")
        if domain.name in placed:
            return
        for name in domain.requires:
            if name not in given:
                raise DomainInvalid(f"the domain {domain} requires {name}, which is not installed")
            yield from place(given[name], (*behind, domain.name))
        placed.add(domain.name)
        yield domain

    for domain in domains:
        yield from place(domain, ())


def _streams(domain: Domain) -> Mapping[str, Stream]:
    return domain.streams


def _types(domain: Domain) -> Mapping[str, EventType[Any]]:
    return {name: declared for stream in domain.streams.values() for name, declared in stream.types.items()}


def _projections(domain: Domain) -> Mapping[str, Projection]:
    return domain.projections


def _workers(domain: Domain) -> Mapping[str, Worker]:
    return domain.workers


def _clocks(domain: Domain) -> Mapping[str, Clock]:
    return domain.clocks


def _commands(domain: Domain) -> Mapping[str, Command]:
    return domain.commands


def _settings(domain: Domain) -> Mapping[str, Setting[Any]]:
    return domain.settings


def _consumers(domain: Domain) -> Mapping[str, Projection | Worker | Clock]:
    return {**domain.projections, **domain.workers, **domain.clocks}
