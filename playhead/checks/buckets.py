"""Whether an S3 bucket can be reached; nothing is written there."""

from collections.abc import Iterator

from playhead.checks.check import Check
from playhead.streams.errors import StoreUnavailable
from playhead.streams.storage.objects import Objects

_NO_SUCH_OBJECT = "playhead-doctor"


def check_bucket(name: str, setting: str, location: str) -> Iterator[Check]:
    """Ask for an object that is not there, which the bucket must say."""
    try:
        Objects(location).get(_NO_SUCH_OBJECT)
    except StoreUnavailable as error:
        yield Check(
            name, "fail", str(error), f"check that the bucket exists, and check {setting} and the AWS_ variables"
        )
    else:
        yield Check(name, "ok", location)
