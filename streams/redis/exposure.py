"""What strangers on the network could do with a Redis that a URL names."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError

from playhead.streams.hosts import is_here

if TYPE_CHECKING:
    from playhead.streams.redis.connections import RedisAddress

_OWN_AUTHORITY = ("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data")


def redis_exposure(address: "RedisAddress") -> str | None:
    """What a Redis on another machine lacks and how to fix it; None if nothing, or if it is on this machine."""
    if all(is_here(host) for host, _ in address.hosts):
        return None
    lacking = _lacking(address)
    return lacking and f"is on another machine and {lacking}"


def refuse_exposed(address: "RedisAddress") -> Callable[[str], None]:
    """What refuses the host of a member that Sentinels or a Cluster named, if the URL names only this machine.

    A URL that names others was looked at as a whole, and is safe or allowed.
    """
    lacking = _lacking(address) if all(is_here(host) for host, _ in address.hosts) else None

    def refuse(host: str) -> None:
        if lacking is not None and not is_here(host):
            raise RedisConnectionError(
                f"{address.scheme}:// names the member {host}, which is on another machine and {lacking}; if you trust"
                " everyone on the network, write its host in REDIS_URL and set PLAYHEAD_ALLOW_INSECURE=true"
            )

    return refuse


def _lacking(address: "RedisAddress") -> str | None:
    options = address.options
    if not options.get("ssl"):
        tls = (
            "ssl=true after the ?"
            if address.scheme.startswith("redis+")
            else "rediss://, or REDIS_SSL=true beside REDIS_HOST"
        )
        return f"without TLS: use {tls}"
    if address.service is not None and not address.sentinel_options.get("ssl"):
        return "its Sentinels are asked without TLS: remove sentinel_ssl=false"
    for name, one in (("", options), ("sentinel_", address.sentinel_options)):
        if one.get("ssl") and (option := _unchecked(one)) is not None:
            return f"its TLS does not check who answers: remove {name}{option}"
    if not options.get("password") and not options.get("ssl_certfile"):
        return (
            "without a password: write it before the host, as in rediss://user:password@host, or REDIS_PASSWORD"
            " beside REDIS_HOST"
        )
    return None


def _unchecked(options: Mapping[str, Any]) -> str | None:
    """The option with which anybody may answer. Certificates of one's own authority say enough without a name."""
    if options.get("ssl_cert_reqs") == "none":
        return "ssl_cert_reqs=none"
    if options.get("ssl_check_hostname") is False and not any(options.get(name) for name in _OWN_AUTHORITY):
        return "ssl_check_hostname=false, or name your own certificate authority (ssl_ca_certs=FILE)"
    return None
