"""Recorder files whose events the log lacks, appended to the live stream, once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from redis import Redis, RedisCluster

from playhead.checks.unlogged import take_back
from playhead.commands.replay.progress import Terminal
from playhead.consumers.halts import retired_among
from playhead.eventlog.reader import partitions
from playhead.eventlog.replay.backlog import Backlog
from playhead.eventlog.replay.chosen_files import ChosenFiles
from playhead.eventlog.replay.files import Files, NotAnEvent
from playhead.eventlog.replay.replay import Pace, Report
from playhead.streams.appending.producer import Producer
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import Event
from playhead.streams.partitions import Partition, partition_of
from playhead.streams.positions import START, Position
from playhead.streams.redis.partition_counts import PartitionCounts
from playhead.streams.storage.file_tree import Skipped

_FORGET = Path(__file__).with_name("forget.lua").read_text()
_BATCH = 100
_BYTES = 8 * 1024 * 1024
_WAITING_BYTES = 64 * 1024 * 1024


class Importer:
    """Appends events of files under the ids that they derive, marked as imported by a run."""

    def __init__(
        self,
        client: "Redis | RedisCluster",
        stream: str,
        counts: PartitionCounts,
        log_dir: Path,
        *,
        report: Report,
        terminal: Terminal,
        pace: Pace,
        patience: float,
    ) -> None:
        self._client, self._stream, self._counts, self._log_dir = client, stream, counts, log_dir
        self._report, self._terminal, self._pace, self._patience = report, terminal, pace, patience
        self._forget = client.register_script(_FORGET)
        self._logged: dict[Partition, Position] = {}

    def wait_for_log(self) -> None:
        """Wait until the log has all that was appended before: only then can it say which events are new.

        Raises:
            InvalidSetting: the log is written elsewhere.
        """
        redis: Any = self._client
        for partition in self._counts.every([self._stream]):
            if not redis.exists(partition.key):
                continue
            last = Position.parse(redis.xinfo_stream(partition.key)["last-generated-id"])
            if last == START:
                continue
            self._logged[partition] = last
            backlog = Backlog(self._client, self._terminal, self._patience)
            backlog.add(partition, partition.key, ["log"], last, 0, trim=False)
            backlog.wait(0)
            if partition not in partitions(self._log_dir):
                raise InvalidSetting(
                    f"{self._log_dir} is not where the log is written: set EVENT_LOG_DIR, and run this where the log is"
                )

    def run(self, files: Files, chosen: ChosenFiles) -> None:
        """Append what the log lacks, waiting for the readers so that Redis holds 64 MiB of it at most."""
        producer = Producer(self._client, partitions=self._counts.of(self._stream))
        backlog = Backlog(self._client, self._terminal, self._patience)
        names = installed().readers_of(self._stream)
        retired = retired_among(self._client, names)
        readers = [name for name in names if name not in retired]
        for batch in self._batches(files, chosen):
            self._pace.take(len(batch))
            self._forget_ids([event for event, _ in batch])
            positions = producer.append_events([event for event, _ in batch])
            self._report.imported += len(batch)
            self._terminal.advanced(len(batch))
            for (event, own), position in zip(batch, positions, strict=True):
                assert position is not None  # None comes of a spool only
                partition = partition_of(self._stream, event.subject, self._counts.of(self._stream))
                if own:
                    take_back(self._client, partition, 1)
                backlog.add(partition, partition.key, readers, position, len(event.data), trim=False)
            backlog.wait(_WAITING_BYTES)

    def _forget_ids(self, events: Sequence[Event]) -> None:
        """Let Redis forget events that it knows and the log has lost, or it would not take them again."""
        by_partition: dict[Partition, list[str]] = {}
        for event in events:
            by_partition.setdefault(
                partition_of(self._stream, event.subject, self._counts.of(self._stream)), []
            ).append(event.id)
        for partition, ids in by_partition.items():
            if (logged := self._logged.get(partition)) is not None:
                keys = [f"{partition.key}:ids:0", f"{partition.key}:ids:1"]
                self._forget(keys=keys, args=[str(logged), *ids])

    def _batches(self, files: Files, chosen: ChosenFiles) -> Iterator[Sequence[tuple[Event, bool]]]:
        batch: list[tuple[Event, bool]] = []
        size = 0
        for one in chosen.new():
            try:
                event = files.event(one.name, self._report.run, start=one.start, length=one.length)
            except (NotAnEvent, InvalidEvent, OSError) as error:
                self._terminal.skipped(Skipped(one.name, str(error), broken=True), self._report)
                continue
            if event.id != one.event_id:
                changed = Skipped(one.name, "it changed while it was being read", broken=True)
                self._terminal.skipped(changed, self._report)
                continue
            batch.append((event, one.own))
            size += len(event.data)
            if len(batch) >= min(_BATCH, self._pace.batch) or size >= _BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch
