"""Tests of projections, workers and sinks of your own.

`SinkContract` is in `playhead.testing.contract`, and the fixtures are in `playhead.testing.fixtures`: both need pytest.
"""

from playhead.testing.consumers import ConsumerFailed as ConsumerFailed
from playhead.testing.consumers import ConsumerThread as ConsumerThread
from playhead.testing.deliveries import DELIVERIES as DELIVERIES
from playhead.testing.deliveries import Delivery as Delivery
from playhead.testing.kills import FILE_POINTS as FILE_POINTS
from playhead.testing.kills import TABLE_POINTS as TABLE_POINTS
from playhead.testing.pipeline import Pipeline as Pipeline
from playhead.testing.places import place_of as place_of
from playhead.testing.projections import ProjectionScenario as ProjectionScenario
from playhead.testing.timeline import Timeline as Timeline
from playhead.testing.timeline import event_of as event_of
from playhead.testing.waiting import NotCaughtUp as NotCaughtUp
from playhead.testing.waiting import caught_up as caught_up
from playhead.testing.workers import Worked as Worked
from playhead.testing.workers import WorkerScenario as WorkerScenario
from playhead.wiring import sink_of as sink_of
