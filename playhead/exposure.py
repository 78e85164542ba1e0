"""What strangers on the network could do with a server that a URL names."""

from ipaddress import ip_address
from pathlib import Path

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from streams.connections import RedisAddress

_ENCRYPTED = {"require", "verify-ca", "verify-full"}
_PROOFS = ("password", "passfile", "sslcert", "service")
_PASSWORDS = Path("~/.pgpass")


def redis_exposure(url: str) -> str | None:
    """What a Redis on another machine lacks and how to mend it, None where it lacks nothing or is on this one."""
    address = RedisAddress.parse(url)
    if all(_is_here(host) for host, _ in address.hosts):
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


def postgres_exposure(conninfo: str) -> str | None:
    """What a Postgres on another machine lacks and how to mend it, None where it lacks nothing or is on this one."""
    # libpq fills in what the URL leaves out from PGHOST, PGSSLMODE, PGPASSWORD and their kin.
    given = {one.keyword.decode(): one.val.decode() for one in pq.Conninfo.get_defaults() if one.val}
    given |= {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value}
    hosts = given.get("hostaddr") or given.get("host") or ""
    if all(_is_here(host) for host in hosts.split(",")):
        return None
    if given.get("sslmode") not in _ENCRYPTED:
        return "is on another machine and without TLS: add sslmode=verify-full"
    if not any(given.get(name) for name in _PROOFS) and not _PASSWORDS.expanduser().exists():
        return "is on another machine and without a password: write it before the host, or set PGPASSWORD"
    return None


def _is_here(host: str) -> bool:
    if not host or host == "localhost" or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
