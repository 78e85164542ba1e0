"""Given events, when others come, then these rows and files are there: tests of one projection."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from playhead.projections.file_projection import FileProjection
from playhead.projections.migrations import migrations, upgrade
from playhead.projections.postgres import connect
from playhead.projections.table_projection import TableProjection
from playhead.projections.table_sink import TableSink
from playhead.streams.domains.domain import Domain, resolve
from playhead.streams.domains.place import Address
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.sinks import Batch, Sink, Source
from playhead.testing.deliveries import Delivery, reordered, runs_of, split
from playhead.testing.kills import FILE_POINTS, TABLE_POINTS, apply_and_die
from playhead.testing.places import place_of
from playhead.testing.timeline import Timeline
from playhead.wiring import sink_of


class ProjectionScenario:
    """One projection of a domain, fed with events as a consumer process would, without Redis.

    A payload becomes an event with an id and a time that follow from its number: `Timeline`. Missing migrations of the
    domain are applied to the database. A projection that writes to tables needs `database_url`, one that writes files
    `location`.

    Raises:
        KeyError: the domain declares no such projection.
    """

    def __init__(
        self,
        domain: Domain,
        name: str,
        *,
        database_url: Address = "",
        location: Path | str = "",
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self._target = domain.projections[name].target
        self._domain = domain
        self.place = place_of(domain, name, database_url=database_url, location=location, settings=settings)
        self._timeline = Timeline()
        self._epoch = 0
        self._sink: Sink | None = None
        self._partitions = [Partition(stream, 0) for stream in self.place.streams]
        self._acknowledged: dict[Partition, Position] = dict.fromkeys(self._partitions, START)
        self._cursors = dict(self._acknowledged)
        self._recorded: list[Recorded] = []
        self._upgraded = False

    def given(self, *events: msgspec.Struct) -> None:
        """Apply what happened before: payloads, or events."""
        self.when(*events)

    def when(self, *events: msgspec.Struct, delivery: Delivery = "once", seed: int = 0) -> None:
        """Deliver events, payloads or whole ones, in some way; `seed` chooses the order if it is random.

        Raises:
            Exception: whatever the projection raises.
        """
        made = [self._timeline.event(event) for event in events]
        ordered = reordered(made, seed) if delivery == "reordered" else made
        recorded = [self._timeline.record(event) for event in ordered]
        self._recorded += recorded
        for batch in self._batches(recorded, delivery, seed):
            if delivery == "killed":
                self._survive(batch)
                continue
            self._deliver(batch)
            if delivery == "twice":
                self._apply(batch)
        if delivery == "replayed":
            self._replay()
        self._process().settle()

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Query the database of the projection."""
        with connect(self.place.database_url, schema=self.place.schema) as connection:
            return connection.execute(statement.encode(), parameters or None).fetchall()

    def files(self) -> dict[str, bytes]:
        """Give the content of each file below the directory of the projection, but for hidden ones."""
        root = Path(self.place.location)
        found = {path.relative_to(root): path for path in sorted(root.rglob("*")) if path.is_file()}
        return {
            name.as_posix(): path.read_bytes()
            for name, path in found.items()
            if not any(part.startswith(".") for part in name.parts)
        }

    def close(self) -> None:
        """Let go of the sink's connections."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _batches(self, recorded: Sequence[Recorded], delivery: Delivery, seed: int) -> list[Batch]:
        batches: list[Batch] = []
        streams = [(self._stream_of(one.event), one) for one in recorded]
        for stream, run in runs_of(streams):
            match delivery:
                case "one by one":
                    parts = [[one] for one in run]
                case "reordered" | "twice":
                    parts = split(run, seed)
                case _:
                    parts = [run]
            batches += [Batch(Source(Partition(stream, 0)), part, part[-1].position) for part in parts]
        return batches

    def _stream_of(self, event: Event) -> str:
        """An event that nobody declares comes in a stream of the projection, as one of a foreign client may."""
        declared = self.place.catalogue.types.get(event.type)
        return self.place.streams[0] if declared is None else declared.stream

    def _deliver(self, batch: Batch) -> None:
        """Apply what the sink lacks of a batch, and acknowledge it."""
        self._process()
        partition = batch.source.partition
        events = [one for one in batch.events if one.position > self._cursors[partition]]
        if events:
            self._apply(Batch(batch.source, events, batch.last))
        self._acknowledged[partition] = self._cursors[partition] = batch.last

    def _apply(self, batch: Batch) -> None:
        outcome = self._process().apply(batch)
        assert outcome != "fenced", f"{self.place.name} says that another process owns its place"

    def _replay(self) -> None:
        streams = [(self._stream_of(one.event), one) for one in self._recorded]
        for stream, run in runs_of(streams):
            events = [msgspec.structs.replace(one, replay="run") for one in run]
            self._apply(Batch(Source(Partition(stream, 0), "run"), events, events[-1].position))

    def _survive(self, batch: Batch) -> None:
        """Deliver a batch although processes die: while they apply it, and before the acknowledgement."""
        killed = self._kill_at_every_point(batch)
        self._deliver(batch)  # raises what the others died of, if the projection refuses the batch
        assert killed, f"no process of {self.place.name} was killed: each ended by itself before its batch was applied"
        self._take_over(batch)

    def _kill_at_every_point(self, batch: Batch) -> bool:
        """Apply the batch in one process after another, each of which dies a little later; whether one was killed."""
        made = self._made()
        points = FILE_POINTS if isinstance(made, FileProjection) else ()
        points = TABLE_POINTS if isinstance(made, TableProjection | TableSink) else points
        sink_of(made).close()
        self.close()
        killed = [apply_and_die(self._make, self._epochs(), batch, point) for point in (*points, None)]
        return any(killed)

    def _take_over(self, batch: Batch) -> None:
        """Let the process die after the effect and before the acknowledgement, and another one go on."""
        self.close()
        self._acknowledged[batch.source.partition] = self._before(batch)
        self._deliver(batch)

    def _before(self, batch: Batch) -> Position:
        first = batch.events[0].position
        earlier = [one.position for one in self._recorded if one.position < first]
        return max(earlier, default=START)

    def _process(self) -> Sink:
        """The sink of the process that lives; a new one continues at the checkpoint, or at what is acknowledged."""
        if self._sink is None:
            sink = self._make()
            for partition, epoch in self._epochs().items():
                checkpoint = sink.open(partition, epoch)
                self._cursors[partition] = self._acknowledged[partition] if checkpoint is None else checkpoint
            self._sink = sink
        return self._sink

    def _epochs(self) -> dict[Partition, int]:
        self._epoch += 1
        return dict.fromkeys(self._partitions, self._epoch)

    def _make(self) -> Sink:
        return sink_of(self._made())

    def _made(self) -> object:
        made = resolve(self._target)(self.place)
        in_tables = isinstance(made, TableProjection | TableSink)
        has_tables = self._domain.migrations is not None and not isinstance(made, FileProjection)
        if not self._upgraded and (in_tables or has_tables):
            known = {**migrations(), **migrations(self.place.catalogue.domains)}
            upgrade(self.place.database_url, known, schema=self.place.schema)
            self._upgraded = True
        return made
