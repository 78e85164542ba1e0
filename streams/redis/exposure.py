"""What strangers on the network could do with a Redis that a URL names."""

from ipaddress import ip_address

from playhead.streams.redis.connections import RedisAddress


def redis_exposure(url: str | RedisAddress) -> str | None:
    """What a Redis on another machine lacks and how to fix it; None if nothing, or if it is on this machine."""
    address = RedisAddress.parse(url) if isinstance(url, str) else url
    if all(is_here(host) for host, _ in address.hosts):
        return None
    options = address.options
    if not options.get("ssl"):  # holds for the Sentinels too
        tls = (
            "ssl=true after the ?"
            if address.scheme.startswith("redis+")
            else "rediss://, or REDIS_SSL=true beside REDIS_HOST"
        )
        return f"is on another machine and without TLS: use {tls}"
    if not options.get("password") and not options.get("ssl_certfile"):
        return (
            "is on another machine and without a password: write it before the host, as in "
            "rediss://user:password@host, or REDIS_PASSWORD beside REDIS_HOST"
        )
    return None


def is_here(host: str) -> bool:
    """Whether a host, or a socket in its place, is on this machine."""
    if not host or host == "localhost" or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
