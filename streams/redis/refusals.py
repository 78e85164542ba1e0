"""What Redis or its client refuses: whether the same call may succeed later, and what to do if it never will."""

from redis.exceptions import ClusterError, NoPermissionError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

AWAY = (RedisConnectionError, RedisTimeoutError, ClusterError, RedisClusterException)
"""The server, or the part of a Cluster that is wanted, does not answer."""
_PASSING = frozenset(
    {
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNBLOCKED",
    }
)
"""Codes of refusals. UNBLOCKED ends a blocking read when its master becomes a replica."""


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, AWAY):
        return True
    # redis-py takes the code out of the text of an error that it has a class for.
    return isinstance(error, RedisError) and (error.status_code or str(error).partition(" ")[0]) in _PASSING


def advice_against(error: BaseException) -> str | None:
    """What to do about a refusal that does not pass, None if nothing is known."""
    if isinstance(error, NoPermissionError):
        return "its user lacks a right: `playhead redis acl` prints the rules of each user, `--apply` sets them"
    if "WRONGTYPE" in str(error):
        return "a key holds something else: `playhead doctor` names it and says what to do"
    return None
