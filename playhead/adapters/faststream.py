"""FastStream: subscribers that read our entries, and publishers that append.

    broker = RedisBroker(url, middlewares=[appending(producer)])
    app = FastStream(broker, on_startup=[partial(create_groups, broker)])

    @broker.subscriber(stream=StreamSub(key, group=..., consumer=...), parser=parse, decoder=decode_payload)

A handler gets a `Recorded`, with its payload read, by `decode_recorded`, or the payload alone by `decode_payload`. What
FastStream's loop does not promise stays so: an entry whose handler failed, or that was in hand when the program died,
stays pending until a subscriber with `min_idle_time` claims it. Projections and workers of Playhead do more.
"""

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from faststream import BaseMiddleware
from faststream.redis import RedisBroker
from faststream.redis.message import DefaultStreamMessage, RedisStreamMessage
from faststream.redis.response import DestinationType, RedisPublishCommand
from redis.exceptions import ResponseError

from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.event_types import event_type_of
from playhead.streams.entries import RawEntry, decode
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import Recorded, encode_data

_EMPTY = {b"__data__": b"{}"}
_KEYS = "playhead:{"
_NAMESPACE = uuid.UUID("0c3c7c5e-6a0e-5f0c-8f0b-6b3a2d1c9e47")
_RECORDED = "playhead"


async def create_groups(broker: RedisBroker) -> None:
    """Create the group of every subscriber of ours at the first entry; FastStream would create it behind the last one.

    Call it before the broker starts. Leave `last_id` of the subscribers alone.
    """
    client = await broker.connect()
    for subscriber in broker.subscribers:
        stream = getattr(subscriber, "stream_sub", None)
        if stream is None or stream.group is None or not stream.name.startswith(_KEYS):
            continue
        try:
            await client.xgroup_create(name=stream.name, groupname=stream.group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


async def parse(
    message: DefaultStreamMessage, original: Callable[[DefaultStreamMessage], Awaitable[RedisStreamMessage]]
) -> RedisStreamMessage:
    """Read an entry as a message of FastStream: its event's id, attributes, correlation id and payload.

    Raises:
        InvalidEvent: the entry is no event, or was damaged.
        InvalidSetting: the subscriber reads batches.
    """
    if isinstance(message["data"], list):
        raise InvalidSetting("a subscriber with this parser reads entries one by one: omit `batch` of its StreamSub")
    (entry_id,) = message["message_ids"]
    recorded = decode(RawEntry(entry_id, [part for field in message["data"].items() for part in field]))
    event = recorded.event
    parsed = await original({**message, "data": _EMPTY})  # it knows the client and the group that acknowledge
    parsed.raw_message, parsed.body, parsed.content_type = message, event.data, "application/json"
    parsed.message_id, parsed.correlation_id = event.id, event.correlationid or event.id
    parsed.headers = {"type": event.type, "subject": event.subject, "source": event.source, "time": event.time}
    setattr(parsed, _RECORDED, recorded)
    return parsed


async def decode_recorded(message: RedisStreamMessage) -> Recorded[Any]:
    """Give the event with its payload: the Struct of its type, of the current version, or plain JSON without a type.

    Raises:
        InvalidEvent: the payload is not of its type.
    """
    recorded = cast("Recorded", getattr(message, _RECORDED))
    declared = installed().types.get(recorded.event.type)
    if declared is not None:
        return declared.typed(recorded)
    return msgspec.structs.replace(recorded, data=json.loads(recorded.event.data))


async def decode_payload(message: RedisStreamMessage) -> object:
    """Give the payload alone.

    Raises:
        InvalidEvent: it is not of its type.
    """
    return (await decode_recorded(message)).data


def appending(producer: AsyncProducer) -> Callable[..., BaseMiddleware[RedisPublishCommand, Any]]:
    """Make the middleware that appends what is published, if it is a Struct that was declared as an event.

    The event goes to the partition of its type and subject, whatever the publisher's stream. One that a handler
    publishes names the event which caused it, and its id derives from that one and the payload: a redelivery appends
    the same event, which adds nothing.
    """

    class Appending(BaseMiddleware[RedisPublishCommand, Any]):
        async def publish_scope(
            self, call_next: Callable[[RedisPublishCommand], Awaitable[Any]], cmd: RedisPublishCommand
        ) -> object:
            if cmd.destination_type is not DestinationType.Stream or not cmd.destination.startswith(_KEYS):
                return await call_next(cmd)
            if not isinstance(cmd.body, msgspec.Struct):
                raise InvalidEvent(
                    "data", f"{type(cmd.body).__name__} is no event: publish a Struct that a domain declares as one"
                )
            message = self.context.get_local("message")
            recorded = cast("Recorded | None", getattr(message, _RECORDED, None))
            cause = None if recorded is None else recorded.event.id
            return await producer.append(
                cmd.body,
                id=None if cause is None else _derived(cause, cmd.body),
                correlationid=cmd.correlation_id or None,
                causationid=cause,
            )

    return Appending


def _derived(cause: str, payload: msgspec.Struct) -> str:
    declared = event_type_of(payload)
    written = encode_data(payload).decode()
    return str(uuid.uuid5(_NAMESPACE, f"{cause}\n{declared.name}\n{declared.subject_of(payload)}\n{written}"))
