"""A user's audio on its way to disk, and where it stands in the session."""

from collections.abc import Callable

import msgspec


class Piece(msgspec.Struct, frozen=True):
    """A chunk of audio; `start` is in frames after the start of the session."""

    sequence: int
    start: int
    pcm: bytes


class Track:
    """What a user said and is not cut yet.

    Audio that comes after a pause stands where it comes. If more comes than time passes, the pause was in part the
    network's: what waits here moves back into it.
    """

    def __init__(self, sequence: int, start: int, *, frame: int, limit: int, clock: Callable[[], float]) -> None:
        self._sequence, self._start = sequence, start
        self._frame, self._limit, self._clock = frame, limit, clock
        self._pcm = bytearray()
        self._since = 0.0
        self._slack = 0
        self._pause_end = 0

    @property
    def end(self) -> int:
        """The frame behind the last."""
        return self._start + len(self._pcm) // self._frame

    def pause(self, position: int, slack: int) -> list[Piece]:
        """Go on at a later frame, or up to `slack` frames before it: a short pause is written, a longer one is not."""
        cut: list[Piece] = []
        gap = (position - self.end) * self._frame
        if self._pcm and len(self._pcm) + gap < self._limit:
            self._pcm += bytes(gap)
        elif gap:
            cut = self.cut()
            self._start = position
        self._slack, self._pause_end = slack, len(self._pcm)
        return cut

    def move_back(self, frames: int) -> None:
        """Take frames of the last pause away, as far as it may be shortened."""
        frames = min(frames, self._slack)
        if frames <= 0:
            return
        self._slack -= frames
        if self._pause_end:
            begin = self._pause_end - frames * self._frame
            del self._pcm[begin : self._pause_end]
            self._pause_end = begin
        else:
            self._start -= frames

    def add(self, pcm: memoryview, patience: float) -> list[Piece]:
        """Take audio, and cut what is long enough, unless it may still move: for `patience` seconds."""
        cut: list[Piece] = []
        while pcm:
            if not self._pcm:
                self._since = self._clock()
            may_move = self._slack > 0 and not self.waits(patience)
            taken = len(pcm) if may_move else max(0, self._limit - len(self._pcm))
            self._pcm += pcm[:taken]
            pcm = pcm[taken:]
            if len(self._pcm) >= self._limit and not may_move:
                cut += self.cut()
        return cut

    def waits(self, seconds: float) -> bool:
        """Whether there is audio that has waited so long."""
        return bool(self._pcm) and self._since <= self._clock() - seconds

    def cut(self) -> list[Piece]:
        """Give all there is away, in pieces of at most a chunk; it moves no more."""
        pieces: list[Piece] = []
        for begin in range(0, len(self._pcm), self._limit):
            pcm = bytes(self._pcm[begin : begin + self._limit])
            pieces.append(Piece(self._sequence, self._start, pcm))
            self._start += len(pcm) // self._frame
            self._sequence += 1
        self._pcm = bytearray()
        self._slack = self._pause_end = 0
        return pieces
