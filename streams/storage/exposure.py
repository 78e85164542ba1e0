"""What strangers on the network could do with the S3 store that the environment names."""

import os
from urllib.parse import urlsplit

from playhead.streams.hosts import is_here
from playhead.streams.names import StorageVariable

_ENDPOINTS = (StorageVariable.ENDPOINT_S3, StorageVariable.ENDPOINT, StorageVariable.ENDPOINT_OLD)


def bucket_exposure(location: str) -> str | None:
    """What the way to a bucket lacks and how to fix it; None if nothing, or if it is a directory."""
    if not location.startswith("s3://"):
        return None
    for name in _ENDPOINTS:
        endpoint = urlsplit(os.environ.get(name, ""))
        if endpoint.scheme == "http" and not is_here(endpoint.hostname or ""):
            return f"is on another machine and without TLS: use https:// in {name}"
    if os.environ.get(StorageVariable.ANY_CERTIFICATE, "").lower() in {"1", "true", "yes", "on"}:
        return f"is reached by TLS that does not check who answers: remove {StorageVariable.ANY_CERTIFICATE}"
    return None
