"""What strangers on the network could do with a Postgres that a URL names."""

from pathlib import Path

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from playhead.streams.redis.exposure import is_here

_ENCRYPTED = {"require", "verify-ca", "verify-full"}
_PROOFS = ("password", "passfile", "sslcert", "service")
_PASSWORDS = Path("~/.pgpass")


def postgres_exposure(conninfo: str) -> str | None:
    """What a Postgres on another machine lacks and how to fix it; None if nothing, or if it is on this machine."""
    # libpq fills in what the URL leaves out from PGHOST, PGSSLMODE, PGPASSWORD and their kin.
    given = {one.keyword.decode(): one.val.decode() for one in pq.Conninfo.get_defaults() if one.val}
    given |= {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value}
    hosts = given.get("hostaddr") or given.get("host") or ""
    if all(is_here(host) for host in hosts.split(",")):
        return None
    if given.get("sslmode") not in _ENCRYPTED:
        return "is on another machine and without TLS: add sslmode=verify-full"
    if not any(given.get(name) for name in _PROOFS) and not _PASSWORDS.expanduser().exists():
        return "is on another machine and without a password: write it before the host, or set PGPASSWORD"
    return None
