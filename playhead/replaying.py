"""`playhead replay`."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from redis import Redis
from rich.console import Console
from rich.progress import Progress

from eventlog.reader import read, read_ordered
from eventlog.recorder_files import Found, Skipped, examine, files_under, read_event
from eventlog.replay import Replay, Report, new_run
from playhead import messages
from playhead.registry import PROJECTIONS
from playhead.settings import Settings, load, servers
from streams import telemetry
from streams.connections import connect
from streams.errors import InvalidEvent, InvalidSetting
from streams.events import Recorded, parse_time
from streams.names import TRACER
from streams.partitions import Partition
from streams.producer import Producer

replay_app = App(name="replay")

_IMPORT_BATCH = 100


class Plan(msgspec.Struct):
    """The filters of a run."""

    pattern: str | None
    since: datetime | None
    until: datetime | None
    type: str | None
    subject: str | None
    scraper: str | None
    include_failed: bool

    def takes(self, found: Found) -> str | None:
        """Why a file is left out, or None."""
        if found.type == "job.failed" and not self.include_failed:
            return "failed job"
        unwanted = (
            (self.since is not None and found.time < self.since)
            or (self.until is not None and found.time >= self.until)
            or (self.type is not None and found.type != self.type)
            or (self.subject is not None and found.subject != self.subject)
            or (self.scraper is not None and found.scraper != self.scraper)
        )
        return "filtered" if unwanted else None


@replay_app.default
def replay(
    *,
    file: Path | None = None,
    directory: Path | None = None,
    use_default_output_dir: Annotated[bool, Parameter(negative=())] = False,
    log: Annotated[bool, Parameter(negative=())] = False,
    pattern: str | None = None,
    since: str | None = None,
    until: str | None = None,
    type: str | None = None,
    subject: str | None = None,
    scraper: str | None = None,
    to: list[str] | None = None,
    include_failed: Annotated[bool, Parameter(negative=())] = False,
    resume: str | None = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    verbose: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter("--json", negative=())] = False,
    data_dir: Annotated[Path | None, Parameter("--data-dir")] = None,
) -> int:
    """Replay the log, or the recorder's JSON files; files whose events the log lacks are imported, once.

    Example:
        playhead replay --log --to jobs --since 2025-08-09
    """
    settings = load(data_dir)
    messages.configure(settings.log_format)
    telemetry.set_up(f"{TRACER}-replay")
    if sum((file is not None, directory is not None, use_default_output_dir, log)) > 1:
        raise InvalidSetting("--file, --directory, --use-default-output-dir and --log exclude each other")
    for name in to or ():
        if name not in PROJECTIONS:
            raise InvalidSetting(f"there is no projection {name!r}; there are {', '.join(PROJECTIONS)}")
    plan = Plan(
        pattern=pattern,
        since=parse_time(_full(since)) if since else None,
        until=parse_time(_full(until)) if until else None,
        type=type,
        subject=subject,
        scraper=scraper,
        include_failed=include_failed,
    )
    report = Report(run=resume or new_run())
    source = settings.output_dir / "daily" if use_default_output_dir else directory
    found = _files(file, source, plan, report, verbose) if file or source else None
    run = _Run(settings, report, plan, to or list(PROJECTIONS))
    with Progress(console=Console(file=sys.stderr), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("replaying", total=None)

        def advance(count: int) -> None:
            progress.advance(task, count)

        run.advance = advance
        run.go(found, dry_run=dry_run)
    if json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        skipped = "".join(f", {count} skipped ({reason})" for reason, count in sorted(report.skipped.items()))
        would = "would be " if dry_run else ""
        counts = f"{report.read} read, {report.imported} {would}imported, {report.replayed} {would}replayed{skipped}"
        print(f"run {report.run}: {counts}, {report.failed} failed")
    return 1 if report.failed else 0


class _Run:
    def __init__(self, settings: Settings, report: Report, plan: Plan, to: list[str]) -> None:
        self.advance: Callable[[int], None] = _nothing
        self._settings, self._report, self._plan, self._to = settings, report, plan, to

    def go(self, found: list[Found] | None, *, dry_run: bool) -> None:
        if found is None:
            chosen = self._from_log(None)
            if dry_run:
                self._report.replayed = sum(1 for _ in chosen)
                return
            self._replay(chosen)
            return
        ids = {one.event_id for one in found}
        known = {recorded.event.id for _, recorded in read(self._settings.event_log_dir) if recorded.event.id in ids}
        new = [one for one in found if one.event_id not in known]
        if dry_run:
            self._report.imported, self._report.replayed = len(new), len(known)
            return
        self._import(new)
        self._replay(self._from_log(known))

    def _import(self, new: list[Found]) -> None:
        if not new:
            return
        with Producer(servers(self._settings).redis_url, partitions=self._settings.partitions) as producer:
            for start in range(0, len(new), _IMPORT_BATCH):
                part = new[start : start + _IMPORT_BATCH]
                events = [read_event(one.path, imported=self._report.run) for one in part]
                producer.append_events(events)
                self._report.imported += len(events)
                self.advance(len(events))

    def _replay(self, chosen: Iterator[tuple[Partition, Recorded]]) -> None:
        client = connect(servers(self._settings).redis_url)
        if not isinstance(client, Redis):
            raise InvalidSetting("replay does not run on Redis Cluster yet")
        replay = Replay(client, self._report.run, self._to, progress=self.advance)
        self._report.replayed += replay.send(chosen)
        self._report.failed += replay.finish()

    def _from_log(self, ids: set[str] | None) -> Iterator[tuple[Partition, Recorded]]:
        plan = self._plan
        if ids is not None and not ids:
            return
        for partition, recorded in read_ordered(self._settings.event_log_dir):
            event = recorded.event
            if ids is not None:
                if event.id in ids:
                    yield partition, recorded
                continue
            self._report.read += 1
            found = Found(Path(), event.id, event.type, event.subject, _scraper(event.data, plan), event.timestamp)
            reason = msgspec.structs.replace(plan, include_failed=True).takes(found)
            if reason is None:
                yield partition, recorded
            else:
                self._report.skip(reason)


def _nothing(_: int) -> None:
    pass


def _scraper(data: bytes, plan: Plan) -> str | None:
    from eventlog.recorder_files import scraper_of

    return scraper_of(data) if plan.scraper is not None else None


def _files(file: Path | None, directory: Path | None, plan: Plan, report: Report, verbose: bool) -> list[Found]:
    if directory is not None and not directory.is_dir():
        raise InvalidSetting(f"{directory} is not a directory")
    if file is not None and not file.is_file():
        raise InvalidSetting(f"{file} is not a file")
    paths = [file] if file is not None else files_under(directory or Path(), plan.pattern)
    found: dict[str, Found] = {}
    for path in paths:
        one = examine(path)
        if isinstance(one, Skipped):
            if one.broken:
                report.failed += 1
                print(f"playhead: {one.path}: {one.reason}", file=sys.stderr)
            else:
                report.skip(one.reason)
            continue
        report.read += 1
        reason = plan.takes(one)
        if reason is None and one.event_id in found:
            reason = "same event twice"
        if reason is not None:
            report.skip(reason)
            if verbose or reason == "failed job":
                print(f"playhead: {path}: left out, {reason}", file=sys.stderr)
        else:
            found[one.event_id] = one
    return sorted(found.values(), key=lambda one: (one.time, one.event_id))


def _full(text: str) -> str:
    if len(text) == len("2025-08-09"):
        text += "T00:00:00Z"
    try:
        parse_time(text)
    except InvalidEvent as error:
        raise InvalidSetting(f"--since and --until take a date or an RFC 3339 time: {error.problem}") from error
    return text
