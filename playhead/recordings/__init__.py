"""The domain `recordings`: the recorder, its errors, and the payloads of its events."""

from typing import TYPE_CHECKING

from playhead.streams.recordings.errors import AudioNotWritten as AudioNotWritten
from playhead.streams.recordings.errors import InvalidPcm as InvalidPcm
from playhead.streams.recordings.errors import MeetingOver as MeetingOver
from playhead.streams.recordings.errors import SessionUnreadable as SessionUnreadable
from playhead.streams.recordings.events import ChunkCleaned as ChunkCleaned
from playhead.streams.recordings.events import ChunkExpired as ChunkExpired
from playhead.streams.recordings.events import ChunkFlushed as ChunkFlushed
from playhead.streams.recordings.events import MeetingStarted as MeetingStarted
from playhead.streams.recordings.events import MeetingStopped as MeetingStopped
from playhead.streams.recordings.events import PromotionFailed as PromotionFailed
from playhead.streams.recordings.events import RecordingPromoted as RecordingPromoted
from playhead.streams.recordings.events import TranscodeFailed as TranscodeFailed
from playhead.streams.recordings.events import TranscodeFinished as TranscodeFinished
from playhead.streams.recordings.events import TranscodeStarted as TranscodeStarted

if TYPE_CHECKING:
    from playhead.streams.recordings.recorder import Recorder as Recorder
    from playhead.streams.recordings.recorder import RecorderSettings as RecorderSettings
    from playhead.streams.recordings.recorder import Session as Session

_OF_RECORDER = {"Recorder", "RecorderSettings", "Session"}
"""Imported when they are asked for: they take what audio needs."""


def __getattr__(name: str) -> object:
    if name not in _OF_RECORDER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from playhead.streams.recordings import recorder

    return getattr(recorder, name)
