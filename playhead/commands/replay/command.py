"""`playhead replay`."""

import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, cast, get_args

from cyclopts import App, Parameter

from playhead.commands.replay.plan import Plan, no_such_run
from playhead.commands.replay.progress import Terminal
from playhead.commands.replay.run import Run, require_file_source
from playhead.commands.types import tell_undeclared
from playhead.eventlog.replay import runs
from playhead.eventlog.replay.files import Meaning
from playhead.eventlog.replay.replay import Pace, Report, new_run
from playhead.settings.producers import partition_counts
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.streams import telemetry
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidSetting
from playhead.streams.names import TRACER
from playhead.streams.redis.connections import connect
from playhead.terminal import diagnostics
from playhead.terminal.exit_codes import DONE
from playhead.terminal.options import DataDir, Json, moment
from playhead.terminal.output import print_json, print_lines

replay_app = App(name="replay")


@replay_app.default
def replay(
    *,
    file: Path | None = None,
    directory: Path | None = None,
    use_default_output_dir: bool = False,
    log: bool = False,
    pattern: str | None = None,
    since: str | None = None,
    until: str | None = None,
    type: str | None = None,
    subject: str | None = None,
    scraper: str | None = None,
    to: list[str] | None = None,
    include_failed: bool = False,
    status: list[str] | None = None,
    strict: bool = False,
    rate: float | None = None,
    allow_gaps: Annotated[bool, Parameter(negative=())] = False,
    resume: str | None = None,
    dry_run: bool = False,
    verbose: bool = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> int:
    """Replay the log or a recorder's JSON files; files whose events the log lacks are imported, once.

    Args:
        file: One recorder file.
        directory: Recorder files below this directory; links are not followed.
        use_default_output_dir: Recorder files below OUTPUT_DIR.
        log: The event log; the default.
        pattern: Only files whose name, or path below the directory, matches, such as '2025-08-*/scrapers/*'.
        since: Only events of this time or later, such as 2025-08-09, 2025-08-09T06:30:00Z or '2 hours ago'.
        until: Only events before this time.
        type: Only this event type.
        subject: Only this subject.
        scraper: Only jobs of this scraper.
        to: Only into this projection; may be repeated.
        include_failed: Also take failed jobs from files.
        status: What a status in files means, such as 'partial=completed' or 'parked=failed'; may be repeated.
        strict: Exit code 1 if something in the files was left out that no option leaves out.
        rate: The most events a second.
        allow_gaps: Continue where events are missing in the log, and say at the end how many.
        resume: Continue this run, with the options that it was started with.
        dry_run: Only count; append nothing.
        verbose: Name each skipped file.

    Example:
        playhead replay --log --to jobs --since 2025-08-09
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    telemetry.set_up(f"{TRACER}-replay")
    if use_default_output_dir + log + (file is not None) + (directory is not None) > 1:
        raise InvalidSetting("use only one of --file, --directory, --use-default-output-dir and --log")
    if use_default_output_dir:
        directory = require_file_source(settings).default_directory()
    _check(file, directory, pattern, rate, to)
    plan = Plan(
        file=str(file.absolute()) if file else None,
        directory=str(directory.absolute()) if directory else None,
        pattern=pattern,
        since=moment("--since", since),
        until=moment("--until", until),
        type=type,
        subject=subject,
        scraper=scraper,
        to=tuple(dict.fromkeys(to or installed().projections)),
        include_failed=include_failed,
        statuses=dict(map(_meaning, status or ())),
        allow_gaps=allow_gaps,
    )
    if resume is not None and (dry_run or log or plan != Plan(to=tuple(installed().projections))):
        raise InvalidSetting("--resume uses the options that the run was started with; omit the other options")
    tell_undeclared(() if type is None else [type])
    with Terminal(verbose=verbose) as terminal:
        run = Run(settings, plan, Report(resume or new_run()), terminal, Pace(rate))
        if dry_run:
            run.rehearse()
        else:
            run.go(
                resume=resume is not None, hint="" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
            )
    if json:
        print_json(run.report)
    else:
        print_lines(_sentence(run.report, dry_run=dry_run))
    return 1 if run.report.failed or (strict and run.report.left_out) else 0


@replay_app.command
def cancel(run: str, /, *, data_dir: DataDir = None) -> int:
    """Give up an interrupted run; what its projections have applied stays.

    Args:
        run: The run, as `playhead status` prints it.

    Example:
        playhead replay cancel 019f1c2e-5b1a-7c3d-8e4f-5a6b7c8d9e0f
    """
    settings = load(data_dir)
    with closing(connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)) as client:
        partitions = partition_counts(client, settings).every(installed().streams)
        if not runs.cancel(client, run, partitions):
            raise no_such_run(client, run)
    print_lines(f"canceled {run}")
    return DONE


def _meaning(text: str) -> tuple[str, Meaning]:
    status, _, meaning = text.rpartition("=")
    if not status or meaning not in get_args(Meaning):
        raise InvalidSetting(f"--status {text}: write WORD=completed, WORD=failed or WORD=unfinished")
    return status, cast("Meaning", meaning)


def _check(
    file: Path | None, directory: Path | None, pattern: str | None, rate: float | None, to: Sequence[str] | None
) -> None:
    if directory is not None and not directory.is_dir():
        raise InvalidSetting(f"{directory} is not a directory")
    if file is not None and not file.is_file():
        raise InvalidSetting(f"{file} is not a file")
    if pattern is not None and directory is None:
        raise InvalidSetting("--pattern needs --directory or --use-default-output-dir")
    if rate is not None and not 0 < rate < float("inf"):
        raise InvalidSetting("--rate takes a number of events a second above 0")
    for name in to or ():
        if name not in (known := installed().projections):
            raise InvalidSetting(f"there is no projection {name!r}; there are {', '.join(known)}")


def _sentence(report: Report, *, dry_run: bool) -> str:
    skipped = "".join(f", {count} skipped ({reason})" for reason, count in sorted(report.skipped.items()))
    would = "would be " if dry_run else ""
    counts = f"{report.read} read, {report.imported} {would}imported, {report.replayed} {would}replayed{skipped}"
    if report.missing:
        counts += f", {report.missing} missing in the log"
    return f"{'dry run' if dry_run else f'run {report.run}'}: {counts}, {report.failed} failed"
