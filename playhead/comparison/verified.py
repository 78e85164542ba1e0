"""What `playhead verify` found, as `--json` prints it."""

import msgspec

from playhead.consumers.reading.recovery import Lost
from playhead.projections.verification import Repair


class FaultShown(msgspec.Struct, frozen=True):
    """Something missing or wrong: of the log itself if `projection` is `log`. `key` is the projection's own name of the
    row or file, as its verification gives it; `repair` what a repair does about it.
    """

    kind: str
    projection: str
    partition: str | None
    subject: str | None
    key: str | None
    position: str | None
    file: str | None
    problem: str
    repair: Repair = "none"


class ParkedShown(msgspec.Struct, frozen=True):
    """An event that a projection set aside, which is why it lacks it."""

    projection: str
    partition: str
    subject: str
    position: str


class Undecided(msgspec.Struct, frozen=True):
    """A row or file that the log says nothing of, or something else, while it may lack events: `reason` says why."""

    projection: str
    key: str
    reason: str


class Verified(msgspec.Struct):
    """`checked` counts events by projection, `behind` those that it has not come to yet, `compared` says what was.

    `unchecked` names projections that nothing compares with the log, `retired` those of which nothing is expected,
    `undeclared` streams that no installed domain declares, `refused` events that a projection does not take, though
    they are not parked, `remarks` what is no fault and worth knowing.
    """

    events: int = 0
    checked: dict[str, int] = {}
    compared: dict[str, str] = {}
    behind: dict[str, int] = {}
    unchecked: list[str] = []
    retired: list[str] = []
    undeclared: list[str] = []
    faults: list[FaultShown] = []
    undecided: list[Undecided] = []
    parked: list[ParkedShown] = []
    refused: list[ParkedShown] = []
    lost: list[Lost] = []
    remarks: list[str] = []
    repaired: int = 0
