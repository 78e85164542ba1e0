"""kill -9 of a recorder, a transcoder, its ffmpeg or a promoter at any moment of a session."""

import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.faults.harness import Stopwatch
from tests.faults.reports import Harm, Report
from tests.faults.sessions import Sessions

VICTIMS = ("recorder", "transcode", "ffmpeg", "promote")
PER_SESSION = 2
LONGEST_MOMENT = 0.25


def test_kill_9_of_whoever_is_at_work_on_a_session(harness, report, count, seed):
    kills = count(6, 100)
    killing = Killing(harness, random.Random(seed))
    harm = killing.run(kills)
    control = Killing(harness, random.Random(seed), "acknowledge first").run(2)

    report(
        Report(
            "kill -9 at any moment, over many sessions",
            "recorder, transcode, ffmpeg, promote",
            "the recordings of an undisturbed session, no PCM left, one finished event a chunk",
            kills,
            harm,
            "acknowledge first",
            control,
            killing.watch.longest,
            seed,
            harness.name,
        )
    )


class Killing:
    """Records session after session while processes are killed, and started again."""

    def __init__(self, harness, chance: random.Random, control: str | None = None) -> None:
        self.watch = Stopwatch()
        self._harness, self._chance, self._control = harness, chance, control
        self._victims = VICTIMS if control is None else ("transcode",)
        self._pids: dict[str, int] = {}
        self._meeting = ""

    def run(self, kills: int) -> Harm:
        """Kill so often, and compare every session with an undisturbed one."""
        pipeline = self._harness.begin()
        sessions = Sessions(pipeline)
        projection = self._harness.spawn("recordings")
        for role in ("transcode", "promote"):
            self._start(role)
        self._record("calm", sessions, 0)
        expected = sessions.recordings("calm")
        meetings: list[str] = []
        left = kills
        while left:
            meetings.append(f"m{len(meetings)}")
            left -= self._record(meetings[-1], sessions, min(left, PER_SESSION))
        pipeline.wait_until(sessions.is_quiet)
        self._harness.stop(projection, *(pid for role, pid in self._pids.items() if role != "recorder"))
        harm = sessions.audit(["calm", *meetings], expected)
        sessions.close()
        return harm

    def _record(self, meeting: str, sessions: Sessions, wanted: int) -> int:
        """Record a session to its end; gives how many were killed meanwhile."""
        self._meeting = meeting
        self._start("recorder")
        killed = 0
        self.watch.start()
        while killed < wanted and not sessions.is_over(meeting):
            time.sleep(self._chance.uniform(0, LONGEST_MOMENT))  # the moment is the fault
            if self._kill(self._chance.choice(self._victims), sessions):
                killed += 1
                self.watch.start()
        self._harness.wait_until(lambda: sessions.is_over(meeting))
        self.watch.stop()
        return killed

    def _start(self, role: str) -> None:
        self._pids[role] = self._harness.spawn(role, meeting=self._meeting, control=self._control)

    def _kill(self, victim: str, sessions: Sessions) -> bool:
        """Kill one and start it again, False if there is none just now."""
        if victim == "ffmpeg":
            found = [pid for role in ("transcode", "promote") for pid in children(self._pids[role])]
            with suppress(ProcessLookupError):  # it ended just now
                if found:
                    self._harness.send(self._chance.choice(found), signal.SIGKILL)
                    return True
            return False
        if self._control is not None:  # which is to show what happens to an entry in hand, not how rarely
            self._harness.wait_until(lambda: children(self._pids[victim]) or sessions.is_over(self._meeting))
        pid = self._pids.get(victim)
        if pid is None or self._harness.ended(pid) is not None:
            assert victim == "recorder", f"{victim} ended by itself"
            self._pids.pop(victim, None)
            return False
        self._harness.finish(self._pids[victim], signal.SIGKILL)
        self._start(victim)
        return True


def children(pid: int) -> list[int]:
    """Of every thread of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread ended just now
            found += map(int, (task / "children").read_text().split())
    return found
