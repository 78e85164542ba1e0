"""A thread that puts chunks on disk and then says so: a slow disk or an absent Redis does not stop the audio."""

import math
import threading
import time
from collections import Counter, deque

import msgspec
import structlog

from playhead.streams.appending.producer import Producer
from playhead.streams.events import Event
from playhead.streams.recordings.errors import AudioNotWritten
from playhead.streams.recordings.files import Chunk, RecordingFiles

_MOST = 32
"""Chunks in memory, for as long as the disk does not take them; each user has a share of them in any case."""
_UNSAID = 10_000
_PATIENCE = 5.0
_PAUSE = 0.5
_LAST_PAUSE = 0.05
_LAST_ATTEMPTS = 10


class Cut(msgspec.Struct, frozen=True):
    """A chunk to be written; `started_at` is in microseconds since 1970."""

    chunk: Chunk
    pcm: bytes
    started_at: int
    event: Event


class _Trouble(msgspec.Struct):
    """Why a user's chunks are not written, and when the next attempt is; `attempts` are those since the end."""

    problem: str
    again_at: float
    attempts: int = 0


class ChunkWriter:
    """Writes chunks of a session; with `again`, those that are there already are passed over.

    Each user's are written in order. Those of a user whose directory takes none hold no others up.
    """

    def __init__(self, files: RecordingFiles, producer: Producer, *, again: bool) -> None:
        self._files, self._producer, self._again = files, producer, again
        self._waiting: list[Cut] = []
        self._troubles: dict[str, _Trouble] = {}
        self._unsaid: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.has_dropped = False
        self._log = structlog.get_logger()
        self._thread = threading.Thread(target=self._run, name="chunk-writer", daemon=True)
        self._thread.start()

    def is_full(self, user_id: str) -> bool:
        """Whether no more chunks of a user should be put: there are enough, and it has its share of them."""
        waiting = Counter(cut.chunk.user_id for cut in list(self._waiting))
        return waiting.total() >= _MOST and waiting[user_id] >= max(1, _MOST // len({*waiting, user_id}))

    def check(self, chunk: Chunk) -> str:
        """The path of a chunk's PCM.

        Raises:
            InvalidId: it cannot be one.
        """
        return self._files.pcm(chunk)

    def give_sign_of_life(self, meeting_id: str) -> None:
        """Say that the session is open, so that it is not swept."""
        self._files.give_sign_of_life(meeting_id)

    def require_room(self, user_id: str) -> None:
        """Wait a moment for a place for another chunk of a user.

        Raises:
            AudioNotWritten: there is none.
        """
        with self._changed:
            patience = 0.0 if user_id in self._troubles else _PATIENCE
            if not self._changed.wait_for(lambda: not self.is_full(user_id), patience):
                raise AudioNotWritten(f"{self._problem('the disk is too slow')}. {AudioNotWritten.__doc__}")

    def put(self, cut: Cut) -> None:
        """Hand a chunk over."""
        with self._changed:
            self._waiting.append(cut)
            self._changed.notify_all()

    def say(self, event: Event) -> None:
        """Append an event, in its turn."""
        if len(self._unsaid) < _UNSAID:
            self._unsaid.append(event)
        else:
            self.has_dropped = True  # the files say it at the end of the session, or at the next start

    def close(self) -> None:
        """Write what is left.

        Raises:
            AudioNotWritten: some of it cannot be written.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._waiting:
            problem = self._problem("it is not known why")
            raise AudioNotWritten(f"{len(self._waiting)} chunks are lost: {problem}. {AudioNotWritten.__doc__}")

    def send(self) -> None:
        """Send what is not said yet.

        Raises:
            RedisUnavailable: Redis does not take it.
        """
        while self._unsaid:
            events = list(self._unsaid)
            self._producer.append_events(events)
            for _ in events:
                self._unsaid.popleft()

    def _problem(self, otherwise: str) -> str:
        return next((trouble.problem for trouble in self._troubles.values()), otherwise)

    def _run(self) -> None:
        while (cut := self._next()) is not None:
            try:
                self._write(cut)
            except Exception as error:  # noqa: BLE001  # whatever it is, it must not end the thread, and with it all audio
                self._fail(cut.chunk.user_id, error)
                continue
            self.say(cut.event)
            with self._changed:
                self._troubles.pop(cut.chunk.user_id, None)
                self._waiting = [each for each in self._waiting if each is not cut]
                self._changed.notify_all()
            try:
                self.send()
            except Exception as error:  # noqa: BLE001  # sent later, at the next start at the latest
                self._log.warning("events are not sent yet", error=type(error).__name__)

    def _next(self) -> Cut | None:
        """Wait for a chunk to write; None if the writer is closed and nothing is left to try."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = (cut for cut in self._waiting if self._due_at(cut) <= now)
                if (cut := next(due, None)) is not None:
                    return cut
                soonest = min(map(self._due_at, self._waiting), default=math.inf)
                if self._closing and soonest == math.inf:
                    return None
                self._changed.wait(None if soonest == math.inf else soonest - now)

    def _due_at(self, cut: Cut) -> float:
        trouble = self._troubles.get(cut.chunk.user_id)
        if trouble is None:
            return 0.0
        return math.inf if trouble.attempts >= _LAST_ATTEMPTS else trouble.again_at

    def _fail(self, user_id: str, error: Exception) -> None:
        problem = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            problem = f"{error.filename or self._files.directory}: {error.strerror}"
        self._log.error("audio is not written", error=problem)
        with self._changed:
            trouble = self._troubles.setdefault(user_id, _Trouble("", 0.0))
            trouble.problem = problem
            trouble.attempts += self._closing
            trouble.again_at = time.monotonic() + (_LAST_PAUSE if self._closing else _PAUSE)

    def _write(self, cut: Cut) -> None:
        path = self._files.pcm(cut.chunk)
        if self._again and any(self._files.path(each).exists() for each in (path, self._files.mp3(cut.chunk))):
            return
        self._files.write(path, cut.pcm, modified=cut.started_at)
