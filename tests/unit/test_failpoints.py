import importlib
import signal

import pytest

from playhead.streams import failpoints
from playhead.streams.failpoints import Point


@pytest.fixture
def armed(monkeypatch):
    def arm(setting):
        monkeypatch.setenv("PLAYHEAD_FAILPOINT", setting)
        return importlib.reload(failpoints)

    yield arm
    monkeypatch.undo()
    importlib.reload(failpoints)


def test_a_point_costs_a_call_that_does_nothing_unless_the_environment_names_one():
    assert failpoints.reach is failpoints.pass_by
    assert failpoints.portion is failpoints.whole


def test_a_point_sends_its_signal_the_time_that_was_asked_for(armed, monkeypatch):
    sent = []
    monkeypatch.setattr(failpoints.os, "kill", lambda _, sign: sent.append(sign))
    reach = armed("before-commit:2:STOP").reach

    reach(Point.BEFORE_COMMIT)
    reach(Point.AFTER_COMMIT)

    assert [] == sent

    reach(Point.BEFORE_COMMIT)
    reach(Point.BEFORE_COMMIT)

    assert [signal.SIGSTOP] == sent


def test_a_point_that_there_is_not_is_refused_at_once(armed):
    with pytest.raises(ValueError, match="nowhere"):
        armed("nowhere:1")
