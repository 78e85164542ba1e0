"""Playhead records what background jobs did as events, and derives everything else from them.

The names in this module are the public API, with those of `playhead.testing`, `playhead.adapters` and the packages of
the domains: `playhead.jobs`, `playhead.content`, `playhead.recordings`. Everything else is internal.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playhead.checks.check import Check as Check
    from playhead.consumers.errors import OutcomeInvalid as OutcomeInvalid
    from playhead.consumers.errors import Retry as Retry
    from playhead.consumers.subscriptions.errors import EventsGone as EventsGone
    from playhead.consumers.subscriptions.errors import SubscriptionInUse as SubscriptionInUse
    from playhead.consumers.subscriptions.factory import subscribe as subscribe
    from playhead.consumers.subscriptions.subscription import Subscription as Subscription
    from playhead.consumers.work.handler import Handler as Handler
    from playhead.consumers.work.task import Task as Task
    from playhead.demo import Demo as Demo
    from playhead.eventlog.errors import LogCorrupt as LogCorrupt
    from playhead.eventlog.errors import PayloadInvalid as PayloadInvalid
    from playhead.eventlog.log import EventLog as EventLog
    from playhead.projections.failures import classify as classify
    from playhead.projections.file_projection import FileProjection as FileProjection
    from playhead.projections.postgres import Connection as Connection
    from playhead.projections.table_projection import TableProjection as TableProjection
    from playhead.projections.table_projection import connection_to as connection_to
    from playhead.projections.table_verification import TableVerification as TableVerification
    from playhead.projections.verification import Foldable as Foldable
    from playhead.projections.verification import Grouped as Grouped
    from playhead.projections.verification import Held as Held
    from playhead.projections.verification import Inventory as Inventory
    from playhead.projections.verification import Lack as Lack
    from playhead.projections.verification import Remark as Remark
    from playhead.projections.verification import Stray as Stray
    from playhead.projections.verification import Verifiable as Verifiable
    from playhead.streams.appending.async_producer import AsyncProducer as AsyncProducer
    from playhead.streams.appending.producer import Producer as Producer
    from playhead.streams.cursors import Cursor as Cursor
    from playhead.streams.cursors import Received as Received
    from playhead.streams.domains.domain import Domain as Domain
    from playhead.streams.domains.event_types import Stream as Stream
    from playhead.streams.domains.place import Place as Place
    from playhead.streams.domains.settings import Setting as Setting
    from playhead.streams.domains.settings import SettingValues as SettingValues
    from playhead.streams.errors import EventTooLarge as EventTooLarge
    from playhead.streams.errors import Fenced as Fenced
    from playhead.streams.errors import InvalidEvent as InvalidEvent
    from playhead.streams.errors import InvalidSetting as InvalidSetting
    from playhead.streams.errors import NotReplicated as NotReplicated
    from playhead.streams.errors import PlayheadError as PlayheadError
    from playhead.streams.errors import RedisUnavailable as RedisUnavailable
    from playhead.streams.errors import SpoolFailed as SpoolFailed
    from playhead.streams.events import Event as Event
    from playhead.streams.events import Recorded as Recorded
    from playhead.streams.events import new_event as new_event
    from playhead.streams.partitions import Partition as Partition
    from playhead.streams.positions import Position as Position
    from playhead.streams.sinks import Batch as Batch
    from playhead.streams.sinks import Failure as Failure
    from playhead.streams.sinks import OnDisk as OnDisk
    from playhead.streams.sinks import Outcome as Outcome
    from playhead.streams.sinks import Sink as Sink
    from playhead.streams.sinks import Source as Source
    from playhead.wiring import place as place

_HOMES = {
    "AsyncProducer": "playhead.streams.appending.async_producer",
    "Batch": "playhead.streams.sinks",
    "Check": "playhead.checks.check",
    "Connection": "playhead.projections.postgres",
    "Cursor": "playhead.streams.cursors",
    "Demo": "playhead.demo",
    "Domain": "playhead.streams.domains.domain",
    "Event": "playhead.streams.events",
    "EventLog": "playhead.eventlog.log",
    "EventTooLarge": "playhead.streams.errors",
    "EventsGone": "playhead.consumers.subscriptions.errors",
    "Failure": "playhead.streams.sinks",
    "Fenced": "playhead.streams.errors",
    "FileProjection": "playhead.projections.file_projection",
    "Foldable": "playhead.projections.verification",
    "Grouped": "playhead.projections.verification",
    "Handler": "playhead.consumers.work.handler",
    "Held": "playhead.projections.verification",
    "InvalidEvent": "playhead.streams.errors",
    "InvalidSetting": "playhead.streams.errors",
    "Inventory": "playhead.projections.verification",
    "Lack": "playhead.projections.verification",
    "LogCorrupt": "playhead.eventlog.errors",
    "NotReplicated": "playhead.streams.errors",
    "OnDisk": "playhead.streams.sinks",
    "Outcome": "playhead.streams.sinks",
    "OutcomeInvalid": "playhead.consumers.errors",
    "Partition": "playhead.streams.partitions",
    "PayloadInvalid": "playhead.eventlog.errors",
    "Place": "playhead.streams.domains.place",
    "PlayheadError": "playhead.streams.errors",
    "Position": "playhead.streams.positions",
    "Producer": "playhead.streams.appending.producer",
    "Received": "playhead.streams.cursors",
    "Recorded": "playhead.streams.events",
    "RedisUnavailable": "playhead.streams.errors",
    "Remark": "playhead.projections.verification",
    "Retry": "playhead.consumers.errors",
    "Setting": "playhead.streams.domains.settings",
    "SettingValues": "playhead.streams.domains.settings",
    "Sink": "playhead.streams.sinks",
    "Source": "playhead.streams.sinks",
    "SpoolFailed": "playhead.streams.errors",
    "Stray": "playhead.projections.verification",
    "Stream": "playhead.streams.domains.event_types",
    "Subscription": "playhead.consumers.subscriptions.subscription",
    "SubscriptionInUse": "playhead.consumers.subscriptions.errors",
    "TableProjection": "playhead.projections.table_projection",
    "TableVerification": "playhead.projections.table_verification",
    "Task": "playhead.consumers.work.task",
    "Verifiable": "playhead.projections.verification",
    "classify": "playhead.projections.failures",
    "connection_to": "playhead.projections.table_projection",
    "new_event": "playhead.streams.events",
    "place": "playhead.wiring",
    "subscribe": "playhead.consumers.subscriptions.factory",
}
"""Where each public name is; it is imported when it is asked for, so that a declaration stays cheap."""

__all__ = sorted(_HOMES)  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'playhead' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found
