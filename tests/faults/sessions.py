"""Recorders and workers of recordings as processes that can be killed, and what became of each session."""

import asyncio
from collections import Counter
from pathlib import Path

import psycopg

from playhead.consumers.processes.worker import WorkerProcessSettings, run_worker
from playhead.consumers.recordings.ffmpeg import Ffmpeg, Pcm, find_ffmpeg
from playhead.consumers.recordings.progress import Progress
from playhead.consumers.recordings.promote import Promote, PromoteSettings
from playhead.consumers.recordings.promotion import Promoter
from playhead.consumers.recordings.transcode import Transcode
from playhead.consumers.work.worker import WorkerSettings
from playhead.projections.recordings.rows import find_meetings, recordings_of
from playhead.streams.appending.producer import Producer
from playhead.streams.recordings.events import make_chunk_id
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from playhead.streams.redis.connections import connect
from tests.faults import naive
from tests.faults.reports import Harm
from tests.faults.spec import Spec
from tests.support.audio import RECORDINGS, facts, sha256, tone

ROLES = ("recorder", "transcode", "promote")
FORM = Pcm(16000, 1)
FLUSH_SECONDS = 0.3
BLOCK_SECONDS = 0.02
SPEAKERS = {"ann": (1.2, 440.0), "bob": (0.8, 300.0)}
"""Seconds and hertz of each."""


async def serve(spec: Spec) -> int:
    """Be a recorder of a meeting, or a worker."""
    files = RecordingFiles(Path(spec.directory) / "recordings")
    if spec.sink == "recorder":
        await record(spec, files)
        return 0
    ffmpeg = Ffmpeg(find_ffmpeg(None), 60)
    work = WorkerSettings(concurrency=2, hold=1.0, max_attempts=1000, first_delay=0.02, longest_delay=0.1)
    settings = WorkerProcessSettings(redis_url=spec.redis, work=work)
    if spec.sink == "transcode":
        if spec.control == "acknowledge first":
            naive.acknowledge_before_work()
        return await run_worker(Transcode(files, ffmpeg), settings)
    waits = PromoteSettings(wait_seconds=1 if spec.control else 300)
    promoter = Promoter(files, ffmpeg)
    handler = Promote(files, promoter, spec.database, Progress(connect(spec.redis)), waits)
    return await run_worker(handler, settings)


async def record(spec: Spec, files: RecordingFiles) -> None:
    """What a bot does that is started again after a crash: the same audio, with its times."""
    form = RecorderSettings(rate=FORM.rate, channels=FORM.channels, flush_seconds=FLUSH_SECONDS)
    longest = max(seconds for seconds, _ in SPEAKERS.values())
    with Producer(spec.redis) as producer:
        recorder = Recorder(producer, files.directory, form)
        async with recorder.session(spec.meeting, "g", "c", again=True) as session:
            for block in range(round(longest / BLOCK_SECONDS)):
                at = block * BLOCK_SECONDS
                for user_id, (seconds, hertz) in SPEAKERS.items():
                    if at < seconds:
                        session.write(user_id, tone(BLOCK_SECONDS, hertz, FORM, at), at=at)
                await asyncio.sleep(0.001)


def chunk_ids(meeting: str) -> set[str]:
    """The chunks that a session has, however often it was disturbed."""
    return {
        make_chunk_id(meeting, user_id, number)
        for user_id, (seconds, _) in SPEAKERS.items()
        for number in range(-(-round(seconds * 1000) // round(FLUSH_SECONDS * 1000)))
    }


class Sessions:
    """The meetings of a pipeline, and what its sinks and files hold of them."""

    def __init__(self, pipeline) -> None:
        self.files = RecordingFiles(pipeline.directory / "recordings")
        self._redis = pipeline.redis
        self._connection = psycopg.connect(pipeline.database, autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def is_over(self, meeting: str) -> bool:
        """Whether a meeting came to its end, good or bad."""
        return any(one.status in {"PROMOTED", "PROMOTION_FAILED"} for one in find_meetings(self._connection, [meeting]))

    def is_quiet(self) -> bool:
        """Whether no worker has anything in hand or to come."""
        groups = {group["name"].decode(): group for group in self._redis.xinfo_groups(RECORDINGS.key)}
        newest = self._redis.xrevrange(RECORDINGS.key, count=1)[0][0]
        return all(
            groups[name]["pending"] == 0 and groups[name]["last-delivered-id"] == newest
            for name in ("transcode", "promote")
        )

    def recordings(self, meeting: str) -> dict[str | None, str]:
        """The digest of each recording."""
        return {one.user_id: one.sha256 for one in recordings_of(self._connection, meeting)}

    def audit(self, meetings: list[str], expected: dict[str | None, str]) -> Harm:
        """Compare what is there with what an undisturbed session has."""
        finished = Counter(payload["temp_recording_id"] for _, payload in facts(self._redis, "transcode.finished"))
        promoted = Counter(payload["recording_id"] for _, payload in facts(self._redis, "recording.promoted"))
        lost = sum(id_ not in finished for meeting in meetings for id_ in chunk_ids(meeting))
        duplicated = sum(count - 1 for found in (finished, promoted) for count in found.values())
        wrong = len(finished.keys() - {id_ for meeting in meetings for id_ in chunk_ids(meeting)})
        for meeting in meetings:
            found = recordings_of(self._connection, meeting)
            lost += len(expected) - len(found) + sum(len(one.missing_chunk_ids) for one in found)
            wrong += sum(one.sha256 != expected[one.user_id] for one in found)
            wrong += sum(sha256(self.files.path(one.filename)) != one.sha256 for one in found)
        names = {one.filename for meeting in meetings for one in recordings_of(self._connection, meeting)}
        left = [
            str(path.relative_to(self.files.directory)) for path in self.files.directory.rglob("*") if path.is_file()
        ]
        return Harm(lost, duplicated, wrong + len(set(left) - names))
