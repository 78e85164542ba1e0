"""What strangers on the network could do with a Postgres that a URL names."""

from itertools import zip_longest
from pathlib import Path

from psycopg import pq
from psycopg.conninfo import make_conninfo

from playhead.streams.hosts import is_here

_REFUSED = "none"
"""No value of target_session_attrs: libpq puts together all that it would use, finds this, and connects to nobody."""
_CHECKED = {"verify-ca", "verify-full"}
_ENCRYPTED = {"require", *_CHECKED}
_ROOT_CERTIFICATE = "~/.postgresql/root.crt"
_TLS = "sslmode=verify-full with sslrootcert=FILE, or sslrootcert=system for a public certificate authority"


def postgres_exposure(conninfo: str) -> str | None:
    """What a Postgres on another machine lacks and how to fix it; None if nothing, or if it is on this machine.

    `sslmode=require` checks who answers only if there is a root certificate, as libpq documents it.
    """
    given = _resolved(conninfo)
    if given is None:
        return (
            "names a service that libpq does not find: check service=, PGSERVICE, and the file that PGSERVICEFILE"
            " names, ~/.pg_service.conf without it"
        )
    hosts, addresses = given.get("host", "").split(","), given.get("hostaddr", "").split(",")
    if all(is_here(address or host) for host, address in zip_longest(hosts, addresses, fillvalue="")):
        return None
    mode = given.get("sslmode")
    if mode not in _ENCRYPTED:
        return f"is on another machine and without TLS: add {_TLS}"
    if mode not in _CHECKED and not _is_there(given.get("sslrootcert") or _ROOT_CERTIFICATE):
        return f"is on another machine, and its TLS does not check who answers: use {_TLS}"
    if not any(given.get(name) for name in ("password", "sslcert")) and not _is_there(given.get("passfile", "")):
        return "is on another machine and without a password: write it before the host, or set PGPASSWORD"
    return None


def _resolved(conninfo: str) -> dict[str, str] | None:
    """What libpq would use, with what it reads from a service file, PGHOST, PGSSLMODE and their kin; None for a service
    that is not there.
    """
    connection = pq.PGconn.connect_start(make_conninfo(conninfo, target_session_attrs=_REFUSED).encode())
    try:
        return {one.keyword.decode(): one.val.decode() for one in connection.info if one.val} or None
    finally:
        connection.finish()


def _is_there(file: str) -> bool:
    return bool(file) and Path(file).expanduser().exists()
