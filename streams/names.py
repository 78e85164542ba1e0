"""The one table of names: keys in Redis, environment, metrics, spans."""

from enum import StrEnum

ENVIRONMENT_PREFIX = "PLAYHEAD_"
SCHEMA = "playhead"
"""The schema of our tables in Postgres, unless a setting names another one."""
TRACER = "playhead"
"""The instrumentation scope of every span, and the start of each service's name."""


class OpenTelemetryVariable(StrEnum):
    """Variables that OpenTelemetry reads itself and we look at."""

    ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
    TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    SERVICE_NAME = "OTEL_SERVICE_NAME"
    DISABLED = "OTEL_SDK_DISABLED"
    QUEUE_SIZE = "OTEL_BSP_MAX_QUEUE_SIZE"
    EXPORT_SIZE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"


class ProducerVariable(StrEnum):
    """What `Producer.from_environment` reads, named as the settings of the command line."""

    REDIS_URL = "REDIS_URL"
    PARTITIONS = f"{ENVIRONMENT_PREFIX}PARTITIONS"
    SPOOL_DIR = f"{ENVIRONMENT_PREFIX}SPOOL_DIR"
    BLOB_DIR = f"{ENVIRONMENT_PREFIX}BLOB_DIR"
    ALLOW_INSECURE = f"{ENVIRONMENT_PREFIX}ALLOW_INSECURE"


class DomainVariable(StrEnum):
    """What names domains beside those of installed packages."""

    DOMAINS = f"{ENVIRONMENT_PREFIX}DOMAINS"


class TrustVariable(StrEnum):
    """Whose files and directories are read beside one's own and root's; only the environment says so."""

    TRUSTED_UIDS = f"{ENVIRONMENT_PREFIX}TRUSTED_UIDS"
    SUDO_UID = "SUDO_UID"


def password_variable(server: str, role: str) -> str:
    """Name the variable with the password of a user of Redis or a role of Postgres, such as POSTGRES_OWNER_PASSWORD."""
    return f"{server}_{role.replace('-', '_')}_PASSWORD".upper()


class TestVariable(StrEnum):
    """What tests set to cause a fault; a running system never has it."""

    FAILPOINT = f"{ENVIRONMENT_PREFIX}FAILPOINT"


class StorageVariable(StrEnum):
    """What we look at of the variables that say how S3 is reached."""

    ENDPOINT_S3 = "AWS_ENDPOINT_URL_S3"
    ENDPOINT = "AWS_ENDPOINT_URL"
    ENDPOINT_OLD = "AWS_ENDPOINT"
    ANY_CERTIFICATE = "AWS_ALLOW_INVALID_CERTIFICATES"


class Metric(StrEnum):
    """Prometheus metrics; base units, counters end in `_total`."""

    BUILD = "playhead_build_info"
    EVENTS_APPLIED = "playhead_events_applied_total"
    EVENTS_PARKED = "playhead_events_parked_total"
    EVENTS_SKIPPED = "playhead_events_skipped_total"
    EVENTS_LOST = "playhead_events_lost_total"
    RETRIES = "playhead_retries_total"
    BATCH_SECONDS = "playhead_batch_seconds"
    LAST_APPLIED = "playhead_last_applied_timestamp_seconds"
    LAST_POSITION = "playhead_position_timestamp_seconds"
    CAUGHT_UP = "playhead_caught_up"
    LAG_EVENTS = "playhead_lag_events"
    STREAM_LAST = "playhead_stream_last_timestamp_seconds"
    PARKED_EVENTS = "playhead_parked_events"
    PARKED_SUBJECTS = "playhead_parked_subjects"
    LEASE_HELD = "playhead_lease_held"
    FREE_BYTES = "playhead_sink_free_bytes"
    TRIMMED = "playhead_entries_trimmed_total"
    TRIM_FLOOR = "playhead_trim_floor_timestamp_seconds"
    TRIM_HELD_BY = "playhead_trim_held_by"
    HALTED = "playhead_halted"
    WORK = "playhead_work_total"
    WORK_SECONDS = "playhead_work_seconds"
    WORK_IN_HAND = "playhead_work_in_hand"
    RECORDER_JOBS = "recorder_jobs_total"


class Span(StrEnum):
    """Span names after OpenTelemetry's messaging conventions: operation, then destination."""

    SEND = "send"
    PROCESS = "process"
    SETTLE = "settle"


class Attribute(StrEnum):
    """Span attributes; the `messaging.` ones are OpenTelemetry's."""

    SYSTEM = "messaging.system"
    OPERATION = "messaging.operation.type"
    OPERATION_NAME = "messaging.operation.name"
    DESTINATION = "messaging.destination.name"
    PARTITION = "messaging.destination.partition.id"
    GROUP = "messaging.consumer.group.name"
    BATCH_SIZE = "messaging.batch.message_count"
    MESSAGE_ID = "messaging.message.id"
    ERROR = "error.type"
    PROJECTION = "playhead.projection"
    POSITION = "playhead.position"
    REPLAY = "playhead.replay"


def partition_key(stream: str, partition: int) -> str:
    """Name the stream key of a partition; its hash tag keeps all keys of the partition in one cluster slot."""
    return f"playhead:{{{stream}:{partition}}}"


def meta_key(stream_key: str) -> str:
    """Name the hash of a partition's number of partitions, its last sequence number, and what the log compared."""
    return f"{stream_key}:meta"


def presence_key(stream_key: str, group: str) -> str:
    """Name the key that lives while a process serves a group: the lease of a projection, the heartbeat of a worker."""
    return f"{stream_key}:lease:{group}"


def restarts_key(stream_key: str) -> str:
    """Name the hash of restarts, of those that each group has taken into account, and of where retired groups stood."""
    return f"{stream_key}:restarts"


def waiting_key(stream_key: str, group: str) -> str:
    """Name the hash of the entries of a worker that wait for something with a name, and of these names."""
    return f"{stream_key}:waiting:{group}"


def again_key(stream_key: str, group: str) -> str:
    """Name the private stream of the events that an operator gave to a worker again."""
    return f"{stream_key}:again:{group}"


INSTALLATION = "playhead:installation"
"""The id of the installation that this Redis belongs to."""


STREAMS = "playhead:streams"
"""The hash of every stream's number of partitions."""


CLOCKS = "playhead:clocks"
"""The hash of what each clock says of itself."""


HALTS = "playhead:halts"
"""The hash of the consumers that an operator paused or retired, each with which of the two, and since when."""


REPLAYS = "playhead:replays"
"""The hash of unfinished replay runs, each with the options that it goes on with."""


def replays_key(partition: str) -> str:
    """Name the hash of replay runs that a partition's projections are to read, each with their names."""
    return f"{partition}:replays"


def replay_key(partition: str, run: str) -> str:
    """Name the private stream of a replay run in the partition with this key."""
    return f"{partition}:replay:{run}"


def replay_progress_key(partition: str, run: str) -> str:
    """Name the hash of how far a replay run has come in the partition with this key."""
    return f"{replay_key(partition, run)}:progress"


def replay_alive_key(run: str) -> str:
    """Name the key that lives while a process sends a replay run."""
    return f"playhead:replay:{run}:alive"


def parked_key(partition: str, consumer: str) -> str:
    """Name the stream of a consumer's parked entries."""
    return f"{partition}:parked:{consumer}"


def parked_positions_key(partition: str, consumer: str) -> str:
    """Name the hash of positions that are parked or were dropped: a reader that comes to one again passes over it."""
    return f"{partition}:parked-positions:{consumer}"


def reports_key(partition: str) -> str:
    """Name the hash of what each consumer of a partition says of itself."""
    return f"{partition}:consumers"
