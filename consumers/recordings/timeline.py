"""Where each chunk of a meeting stands in its recordings: at its true time, but for what clocks and silence spoil."""

from collections.abc import Sequence
from datetime import datetime

from playhead.projections.recordings.rows import TempRecording
from playhead.streams.recordings.events import Cut

_KEPT_SECONDS = 1


class Timeline:
    """Starts of chunks, in frames after the first one's.

    Chunks of a user whose clock was set back do not overlap: the later stands behind the earlier. Silence of all users
    that is longer than `longest_gap` seconds is cut to a second: after a clock that was years ahead it would be years.
    """

    def __init__(self, chunks: Sequence[TempRecording], rate: int, longest_gap: float) -> None:
        self._rate = rate
        self._zero = min(chunk.started_at for chunk in chunks)
        self.starts: dict[str, int] = {}
        """By the id of the chunk."""
        self.cuts: list[Cut] = []
        """What is left out, in the order of time."""
        longest, kept = round(longest_gap * rate), _KEPT_SECONDS * rate
        users: dict[str, int] = {}
        end = removed = 0
        for chunk in sorted(chunks, key=lambda chunk: (chunk.started_at, chunk.sequence, chunk.user_id)):
            start = self._frames(chunk.started_at) - removed
            if start - end > longest:
                cut = start - end - kept
                self.cuts.append(Cut(at_ms=self._milliseconds(end + kept), length_ms=self._milliseconds(cut)))
                removed += cut
                start -= cut
            start = max(start, users.get(chunk.user_id, 0))
            self.starts[chunk.id] = start
            users[chunk.user_id] = start + self.length(chunk)
            end = max(end, users[chunk.user_id])

    def length(self, chunk: TempRecording) -> int:
        """Frames of a chunk."""
        return round((chunk.samples or 0) * self._rate / chunk.rate)

    def _frames(self, moment: datetime) -> int:
        return round((moment - self._zero).total_seconds() * self._rate)

    def _milliseconds(self, frames: int) -> int:
        return round(frames * 1000 / self._rate)
