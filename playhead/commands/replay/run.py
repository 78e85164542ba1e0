"""One run of `playhead replay`: from the log, or from the recorder's files."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import msgspec
from redis import Redis, RedisCluster

from playhead.checks.unlogged import find_unlogged
from playhead.commands.log import about_holes
from playhead.commands.replay.importer import Importer
from playhead.commands.replay.plan import Plan, recall
from playhead.commands.replay.progress import FAILED_JOB, Terminal
from playhead.consumers.halts import refuse_halted, retired_among
from playhead.eventlog.errors import EventsMissing, LogCorrupt
from playhead.eventlog.reader import Holes, partitions, read, read_ordered, stat
from playhead.eventlog.replay import runs
from playhead.eventlog.replay.chosen_files import ChosenFiles
from playhead.eventlog.replay.files import Files, FileSource, Found
from playhead.eventlog.replay.replay import Pace, Replay, Report
from playhead.settings.producers import partition_counts
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, event_log
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidSetting
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.connections import connect
from playhead.streams.redis.partition_counts import PartitionCounts
from playhead.streams.storage.file_tree import Skipped
from playhead.terminal.output import counted
from playhead.wiring import file_source


class Run:
    """Reads what a plan names, imports what the log lacks, and replays the rest."""

    def __init__(self, settings: Settings, plan: Plan, report: Report, terminal: Terminal, pace: Pace) -> None:
        self.report = report
        self._settings, self._plan, self._terminal, self._pace = settings, plan, terminal, pace
        self._log_dir = settings.event_log_dir
        self._counts: PartitionCounts | None = None

    def rehearse(self) -> None:
        """Count what the run would do."""
        if not self._reads_files:
            event_log(self._settings)
            self.report.replayed = sum(1 for _ in self._from_log({}))
            return
        with self._open_files() as (files, names):
            chosen = self._choose(files, names)
        for _, recorded in self._known(chosen):
            chosen.mark_known(recorded.event.id)
        self.report.replayed = chosen.known
        self.report.imported = len(chosen) - chosen.known

    def go(self, *, resume: bool, hint: str) -> None:
        """Do it; if it is cut short, say how to go on."""
        client = connect(servers(self._settings, postgres=False).redis_url, self._settings.redis_timeout)
        self._counts = partition_counts(client, self._settings)
        runs.forget_old(client, self._partitions)
        self._plan = recall(client, self.report.run) if resume else self._without_retired(client)
        refuse_halted(client, self._plan.to)
        if not self._reads_files:
            event_log(self._settings)
            self._require_end(client)
        plan = msgspec.json.encode(self._plan)
        runs.remember(client, self.report.run, plan)
        try:
            with runs.Beating(client, self.report.run):
                self._go(client)
        except BaseException:  # Ctrl-C too
            self._terminal.say(f"not finished; `playhead replay --resume {self.report.run}{hint}` continues it")
            raise
        for run in runs.interrupted_with(client, plan):
            runs.cancel(client, run, self._partitions)
            self._terminal.say(f"the interrupted run {run} had the same options: it is done with this one")

    def _without_retired(self, client: "Redis | RedisCluster") -> Plan:
        """The plan without projections that are retired, unless some were chosen."""
        retired = retired_among(client, self._plan.to)
        if not retired or set(self._plan.to) != set(installed().projections):
            return self._plan
        self._terminal.say(f"not into {', '.join(retired)}, which is retired")
        return msgspec.structs.replace(self._plan, to=tuple(name for name in self._plan.to if name not in retired))

    def _require_end(self, client: "Redis | RedisCluster") -> None:
        """Refuse a log that lacks what Redis or the sinks show that it had, unless gaps are allowed."""
        found = find_unlogged(client, self._settings, servers(self._settings), self._terminal.say)
        for one in found:
            if one.partition.rpartition("/")[0] in self._plan.readers:
                if not self._plan.allow_gaps:
                    place = self._log_dir / one.partition
                    raise EventsMissing(
                        place, None, Position.parse(one.before), "the log is older than it was", one.count
                    )
                self._terminal.say(f"{one.partition}: {one.problem}")
                self.report.missing += one.count

    def _go(self, client: "Redis | RedisCluster") -> None:
        assert self._counts is not None, "a run that goes has asked Redis"
        run = Replay(
            client,
            self.report.run,
            self._plan.readers,
            watch=self._terminal,
            pace=self._pace,
            patience=self._patience,
        )
        after, covers = run.resume(self._partitions), self._takes
        if not self._reads_files:
            if run.sent_before:
                self.report.read += run.sent_before
                self.report.skip("sent before", run.sent_before)
            self._terminal.begin("replaying", None if self._plan.filters or after else self._log_size())
            self.report.replayed = run.send(self._from_log(after))
        else:
            with self._open_files() as (files, names):
                chosen = self._choose(files, names)
                importer = Importer(
                    client,
                    self._source.stream,
                    self._counts,
                    self._log_dir,
                    report=self.report,
                    terminal=self._terminal,
                    pace=self._pace,
                    patience=self._patience,
                )
                if len(chosen):
                    importer.wait_for_log()
                imported = self._find_known(chosen)
                self._terminal.begin("importing", len(chosen) - chosen.known)
                importer.run(files, chosen)
            self._terminal.begin("replaying", chosen.known)
            self.report.replayed = run.send(self._replayed(chosen, imported, after))
            covers = self._chosen(chosen)
        self._terminal.begin("waiting for the projections", None)
        parked = run.finish(covers)
        self.report.failed += parked
        if parked:
            are = f"{counted(parked, 'event')} {'is' if parked == 1 else 'are'}"
            self._terminal.say(f"{are} parked by a projection; `playhead parked list` has the reasons")

    @cached_property
    def _source(self) -> FileSource:
        return require_file_source(self._settings)

    @property
    def _patience(self) -> float:
        """How long a consumer may be away: its lease must end, and another process take it."""
        return 3 * self._settings.lease_seconds

    @property
    def _reads_files(self) -> bool:
        return self._plan.file is not None or self._plan.directory is not None

    @property
    def _partitions(self) -> list[Partition]:
        assert self._counts is not None, "a run that goes has asked Redis"
        return sorted({*self._counts.every(installed().streams), *partitions(self._log_dir)})

    def _log_size(self) -> int | None:
        streams = self._plan.readers
        with suppress(LogCorrupt):  # whoever reads it says so
            return sum(one.events for one in stat(self._log_dir).partitions if one.partition.stream in streams)
        return None

    def _from_log(self, after: dict[Partition, Position]) -> Iterator[tuple[Partition, Recorded]]:
        holes = self._holes()
        for partition, recorded in read_ordered(self._log_dir, streams=self._plan.readers, after=after, holes=holes):
            self.report.read += 1
            if self._takes(recorded.event):
                yield partition, recorded
            else:
                self.report.skip("filtered")
        self._count(holes)

    def _takes(self, event: Event) -> bool:
        """Whether no filter is against an event."""
        scraper = self._source.scraper_of(event.data) if self._plan.scraper is not None else None
        return not self._plan.leaves_out(event.type, event.subject, event.timestamp, scraper)

    def _chosen(self, chosen: ChosenFiles) -> Callable[[Event], bool]:
        """Which events are replayed from files: those that the log had before."""
        return lambda event: event.imported != self.report.run and chosen.is_known(event.id)

    def _holes(self) -> Holes | None:
        return Holes() if self._plan.allow_gaps else None

    def _count(self, holes: Holes | None) -> None:
        if holes is not None and holes.found:
            self.report.missing += holes.missing
            self._terminal.say(about_holes(holes))

    @contextmanager
    def _open_files(self) -> Generator[tuple[Files, Iterator[str | Skipped]]]:
        if self._plan.file is not None:
            file = Path(self._plan.file)
            with self._source.open(file.parent, self._plan.statuses) as files:
                yield files, iter([file.name])
        else:
            with self._source.open(Path(str(self._plan.directory)), self._plan.statuses) as files:
                yield files, files.names(self._plan.pattern)

    def _choose(self, files: Files, names: Iterator[str | Skipped]) -> ChosenFiles:
        chosen = ChosenFiles()
        for one in _examined(files, names):
            if isinstance(one, Skipped):
                self._terminal.skipped(one, self.report)
                continue
            self.report.read += 1
            self._terminal.advanced(1)
            if one.note is not None:
                self._terminal.remark(one.name, one.note)
            if (reason := self._reason_against(one)) is None and not chosen.add(one):
                reason = "same event twice"
            if reason is not None:
                self.report.skip(reason, spare=reason != FAILED_JOB)
                self._terminal.left_out(one.name, reason)
        return chosen

    def _reason_against(self, found: Found) -> str | None:
        if found.failed and not self._plan.include_failed:
            return FAILED_JOB
        return "filtered" if self._plan.leaves_out(found.type, found.subject, found.time, found.scraper) else None

    def _known(self, chosen: ChosenFiles) -> Iterator[tuple[Partition, Recorded]]:
        holes = self._holes()
        yield from read(self._log_dir, streams=[self._source.stream], wanted=chosen.has, holes=holes)
        self._count(holes)

    def _find_known(self, chosen: ChosenFiles) -> set[str]:
        """Mark the files whose events the log has; returns those that this run imported before it was cut short."""
        imported: set[str] = set()
        for _, recorded in self._known(chosen):
            chosen.mark_known(recorded.event.id)
            if recorded.event.imported == self.report.run:
                imported.add(recorded.event.id)
        return imported

    def _replayed(
        self, chosen: ChosenFiles, imported: set[str], after: dict[Partition, Position]
    ) -> Iterator[tuple[Partition, Recorded]]:
        if not chosen.known:
            return
        streams = [self._source.stream]
        for partition, recorded in read_ordered(
            self._log_dir, streams=streams, wanted=chosen.is_known, holes=self._holes()
        ):
            if recorded.event.id in imported or (partition in after and recorded.position <= after[partition]):
                self.report.skip("sent before")
            else:
                yield partition, recorded


def _examined(files: Files, names: Iterator[str | Skipped]) -> Iterator[Found | Skipped]:
    for name in names:
        if isinstance(name, Skipped):
            yield name
        else:
            yield from files.examine(name)


def require_file_source(settings: Settings) -> FileSource:
    """What reads files as events.

    Raises:
        InvalidSetting: no installed domain does.
    """
    source = file_source(settings)
    if source is None:
        raise InvalidSetting("no installed domain reads files as events")
    return source
