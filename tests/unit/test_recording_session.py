"""Where audio stands in a session, and what ids and times it takes."""

import math
from array import array
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from playhead.streams.errors import InvalidSetting
from playhead.streams.events import format_time
from playhead.streams.recordings.errors import InvalidPcm, MeetingOver
from playhead.streams.recordings.files import InvalidId, RecordingFiles
from playhead.streams.recordings.ids import text_of
from playhead.streams.recordings.session import OnDisk, RecorderSettings, Session
from playhead.streams.recordings.session_file import SessionNote

RATE = 1000
HUGE = pytest.param(10**5000, id="many digits")
FRAME = 2
SECOND = b"\1\2" * RATE


class Written:
    """What a session cuts: by user, where each chunk begins in seconds, and its seconds of silence and of sound."""

    def __init__(self):
        self.cuts = []
        self._files = RecordingFiles(Path("audio"))

    def check(self, chunk):
        return self._files.pcm(chunk)

    def require_room(self, user_id):
        pass

    def put(self, cut):
        self.cuts.append(cut)

    def chunks(self, zero, user="u"):
        return [
            ((datetime.fromtimestamp(cut.started_at / 1e6, UTC) - zero).total_seconds(), cut.pcm)
            for cut in self.cuts
            if cut.chunk.user_id == user
        ]


class Talk:
    """A session whose clock stands still unless it is told otherwise."""

    def __init__(self, *, recorded=None, started_before=0.0, seen_before=None, again=False, **settings):
        self.now = 100.0
        self.writer = Written()
        self.zero = datetime.now(UTC) - timedelta(seconds=started_before)
        seen_at = None if seen_before is None else datetime.now(UTC) - timedelta(seconds=seen_before)
        note = SessionNote(
            meeting_id="m",
            guild_id="g",
            channel_id="c",
            strategy="hybrid",
            rate=RATE,
            channels=1,
            started_at=format_time(self.zero),
        )
        form = RecorderSettings(**{"rate": RATE, "channels": 1, "flush_seconds": 10.0, **settings})
        self.session = Session(
            note, form, recorded or {}, self.writer, again=again, seen_at=seen_at, clock=lambda: self.now
        )

    def say(self, seconds=1.0, user="u", at=None):
        self.session.write(user, SECOND[:2] * round(seconds * RATE), at=at)

    def wait(self, seconds):
        self.now += seconds

    def heard(self, user="u"):
        """Where sound is, from and to, in seconds to a hundredth."""
        self.session.flush()
        spans = []
        for begin, pcm in self.writer.chunks(self.zero, user):
            loud = np.flatnonzero(np.frombuffer(pcm, "<i2"))
            if not len(loud):
                continue
            edges = np.flatnonzero(np.diff(loud) > 1)
            for first, last in zip([loud[0], *loud[edges + 1]], [*loud[edges], loud[-1]], strict=True):
                spans.append((round(begin + first / RATE, 2), round(begin + (last + 1) / RATE, 2)))
        joined = spans[:1]
        for begin, end in spans[1:]:
            if abs(begin - joined[-1][1]) < 0.011:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((begin, end))
        return joined


@pytest.mark.parametrize("flush_seconds", [0.5, 2.0, 10.0, 60.0])
def test_audio_that_was_held_up_and_comes_at_once_stands_where_it_was_said(flush_seconds):
    talk = Talk(flush_seconds=flush_seconds)
    talk.say()
    talk.wait(4)
    for _ in range(4):
        talk.say()
    talk.wait(1)
    talk.say()
    talk.wait(1)

    assert [(0, 6)] == talk.heard()


def test_packets_that_were_held_up_close_the_gap_to_the_sample():
    talk = Talk()
    for _ in range(50):
        talk.say(0.02)
        talk.wait(0.02)
    talk.wait(3)
    for _ in range(150):
        talk.say(0.02)
    for _ in range(50):
        talk.say(0.02)
        talk.wait(0.02)

    assert [(0, 5)] == talk.heard()


def test_a_burst_shorter_than_its_pause_ends_when_it_comes():
    talk = Talk()
    talk.say()
    talk.wait(6)
    for _ in range(100):
        talk.say(0.02)
    talk.wait(0.02)
    talk.say(0.5)

    assert [(0, 1), (4.02, 6.52)] == talk.heard()


def test_a_pause_in_which_nobody_spoke_stays():
    talk = Talk()
    for _ in range(3):
        for _ in range(50):
            talk.say(0.02)
            talk.wait(0.02)
        talk.wait(2)

    assert [(0, 1), (3, 4), (6, 7)] == talk.heard()


def test_the_first_words_may_be_late_too_but_not_before_the_session_was_entered():
    talk = Talk(started_before=50)
    talk.wait(2)
    for _ in range(3):
        talk.say()

    ((begin, end),) = talk.heard()
    assert (50, 53) == (pytest.approx(begin, abs=0.05), pytest.approx(end, abs=0.05))


def test_late_audio_moves_back_no_further_than_the_setting_says():
    talk = Talk(late_seconds=2.0)
    talk.say()
    talk.wait(10)
    for _ in range(5):
        talk.say()

    assert [(0, 1), (8, 13)] == talk.heard()


def test_a_user_who_is_late_moves_nobody_else():
    talk = Talk()
    talk.say(user="u")
    talk.say(user="v")
    talk.wait(4)
    for _ in range(4):
        talk.say(user="u")
    talk.say(user="v")

    assert ([(0, 5)], [(0, 1), (4, 5)]) == (talk.heard("u"), talk.heard("v"))


def test_audio_with_a_time_is_never_moved():
    talk = Talk()
    talk.say(at=0)
    talk.say(at=5)
    talk.say(at=6)
    talk.say()

    assert [(0, 1), (5, 8)] == talk.heard()


def test_a_burst_longer_than_a_chunk_is_cut_into_chunks():
    talk = Talk(flush_seconds=1.0)
    talk.wait(5)
    talk.say(4.5)
    talk.wait(1)
    talk.say(0.1)
    chunks = talk.heard() and talk.writer.chunks(talk.zero)

    assert [1.0, 1.0, 1.0, 1.0, 0.5, 0.1] == [len(pcm) / FRAME / RATE for _, pcm in chunks]
    assert [*range(len(chunks))] == [cut.chunk.sequence for cut in talk.writer.cuts]


@pytest.mark.parametrize(
    "at",
    [
        math.nan,
        math.inf,
        -math.inf,
        -1.0,
        -0.001,
        1e12,
        1e300,
        pytest.param(10**5000, id="many digits"),
        "soon",
        4.9,
        0,
    ],
)
def test_a_time_at_which_audio_cannot_stand_is_refused_and_the_rest_kept(at):
    talk = Talk()
    talk.say(at=4)
    talk.say(user="v", at=0)
    with pytest.raises(InvalidPcm, match="at="):
        talk.say(at=at)
    talk.say(at=5)

    assert ([(4, 6)], [(0, 1)]) == (talk.heard("u"), talk.heard("v"))


def test_a_refused_first_time_leaves_no_speaker_behind():
    talk = Talk()
    with pytest.raises(InvalidPcm):
        talk.say(at=math.nan)
    talk.session.write("u", b"", at=3600.0)

    assert set() == talk.session.user_ids


def test_nothing_moves_what_follows():
    talk = Talk()
    talk.say(at=0)
    talk.session.write("u", b"", at=3600.0)
    talk.say(at=2)

    assert [(0, 1), (2, 3)] == talk.heard()


@pytest.mark.parametrize("pcm", ["text", None, 5, b"\1\2\3"])
def test_what_is_no_pcm_is_refused(pcm):
    talk = Talk()
    with pytest.raises(InvalidPcm):
        talk.session.write("u", pcm)


@pytest.mark.parametrize("pcm", [bytearray(SECOND), memoryview(SECOND), array("h", [1] * RATE), np.ones(RATE, "<i2")])
def test_whatever_holds_bytes_is_taken(pcm):
    talk = Talk()
    talk.session.write("u", pcm, at=0)

    assert [(0, 1)] == talk.heard()


def test_a_session_that_goes_on_puts_nothing_before_what_is_on_disk():
    talk = Talk(recorded={"u": OnDisk(3, 20 * RATE)}, started_before=10)
    with pytest.raises(InvalidPcm, match="earlier audio"):
        talk.say(at=19)
    talk.say()

    assert [(20, 21)] == talk.heard()
    assert [3] == [cut.chunk.sequence for cut in talk.writer.cuts]


def test_a_clock_that_was_set_back_puts_audio_behind_the_last_heartbeat():
    talk = Talk(started_before=-3600, seen_before=-7200)
    talk.say()

    ((begin, _),) = talk.heard()
    assert 3600 == pytest.approx(begin, abs=0.1)


def test_a_session_that_is_left_takes_nothing_in_silence():
    talk = Talk()
    talk.session.close()
    with pytest.raises(MeetingOver, match="closed"):
        talk.say()


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": 0},
        {"rate": -8000},
        {"channels": 0},
        {"flush_seconds": 0},
        {"flush_seconds": -1},
        {"flush_seconds": math.nan},
        {"flush_seconds": math.inf},
    ],
)
def test_a_form_that_no_audio_has_is_refused(settings):
    with pytest.raises(InvalidSetting, match=next(iter(settings))):
        RecorderSettings(**settings)


class Role(IntEnum):
    SPEAKER = 7


ZERO = UUID(int=0)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("ann", "ann"),
        ("", ""),
        (" ", " "),
        (250348923049283584, "250348923049283584"),
        (0, "0"),
        (-1, "-1"),
        (True, "True"),
        (False, "False"),
        (Role.SPEAKER, "7"),
        (np.int64(5), "5"),
        (ZERO, "00000000-0000-0000-0000-000000000000"),
        (None, "unknown"),
        ("caf\udce9", "caf\\udce9"),
        ("\ud800", "\\ud800"),
        ("a\0b", "a\\x00b"),
        ("user\n2", "user\n2"),
    ],
)
def test_an_id_becomes_text_that_every_sink_can_hold(given, text):
    talk = Talk()
    talk.say(user=given, at=0)

    assert text == text_of(given)
    assert {text} == talk.session.user_ids


@pytest.mark.parametrize("given", [5.0, b"ann", ["ann"], ("a",), object(), {}, HUGE])
def test_what_is_no_id_is_refused_and_the_rest_kept(given):
    talk = Talk()
    with pytest.raises(InvalidId):
        talk.say(user=given, at=0)
    talk.say(user="u", at=0)

    assert [(0, 1)] == talk.heard()


def test_an_id_is_one_speaker_whatever_its_type():
    talk = Talk()
    talk.say(user=5, at=0)
    talk.say(user="5", at=1)
    talk.say(user=None, at=0)
    talk.say(user=None, at=1)

    assert {"5", "unknown"} == talk.session.user_ids
    assert [(0, 2)] == talk.heard("5") == talk.heard("unknown")
