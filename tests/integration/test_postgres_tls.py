"""Postgres by TLS: `sslmode=verify-full` reaches the server that it means, and no other.

The embedded Postgres is built without TLS, so a proxy in front of it speaks TLS with the client.
"""

import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from playhead.projections.jobs.table.projection import Jobs
from playhead.projections.migrations import upgrade
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.addresses import Address, address, dial
from tests.support.databases import make_database
from tests.support.events import job
from tests.support.places import place_of
from tests.support.proxies import LossyProxy

JOBS = Partition("jobs", 0)
_TLS_REQUEST_BYTES = 8


class TlsProxy(socketserver.ThreadingTCPServer):
    """Answers Postgres' request for TLS itself and passes on what is inside; counts clients that accepted it."""

    allow_reuse_address = True

    def __init__(self, certificate: Path, key: Path, server: Address) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.port = self.server_address[1]
        self.server = server
        self.accepted = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)


class _Session(socketserver.BaseRequestHandler):
    server: TlsProxy

    def handle(self) -> None:
        with suppress(OSError):
            self.request.recv(_TLS_REQUEST_BYTES, socket.MSG_WAITALL)
            self.request.sendall(b"S")
            with (
                self.server.context.wrap_socket(self.request, server_side=True) as client,
                dial(self.server.server) as server,
            ):
                self._pass_on(client, server)

    def _pass_on(self, client: ssl.SSLSocket, server: socket.socket) -> None:
        accepted = False
        while True:
            ready = [client] if client.pending() else select.select([client, server], [], [])[0]
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                self.server.accepted += not accepted
                accepted = True
                (server if source is client else client).sendall(data)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    directory = tmp_path_factory.mktemp("tls")
    return _make_certificate(openssl, directory, "mine"), directory / "mine.key"


def _make_certificate(openssl: str, directory: Path, name: str) -> Path:
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=postgres", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate


@pytest.fixture
def proxy(postgres, authority):
    with TlsProxy(*authority, address(postgres)) as proxy:
        serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield proxy
        proxy.shutdown()
        serving.join()


def by_tls(database: str, proxy: TlsProxy | LossyProxy, certificate: Path, host: str = "127.0.0.1") -> str:
    return psycopg.conninfo.make_conninfo(
        database, host=host, port=proxy.port, sslmode="verify-full", sslrootcert=str(certificate), connect_timeout=10
    )


def test_a_projection_upgrades_and_writes_over_verified_tls(postgres, proxy, authority):
    database = make_database(postgres)
    url = by_tls(database, proxy, authority[0])
    sink = Jobs(place_of("jobs", url))

    assert [] == upgrade(url)
    sink.open(JOBS, 1)
    event = Recorded(job(1), Position(1, 0))
    assert "applied" == sink.apply(Batch(Source(JOBS), [event], event.position))
    sink.close()
    with psycopg.connect(url) as connection:
        assert [("1",)] == connection.execute("SELECT job_id FROM jobs").fetchall()
        assert connection.pgconn.ssl_in_use
    assert proxy.accepted >= 3


def test_a_server_that_cannot_prove_its_name_is_never_sent_a_password(postgres, proxy, authority):
    openssl = shutil.which("openssl")
    stranger = _make_certificate(openssl, authority[0].parent, "stranger")
    with LossyProxy(postgres, share=0, seed=0) as plain:
        for url, problem in (
            (by_tls(postgres, proxy, stranger), "certificate verify failed"),
            (by_tls(postgres, proxy, authority[0], host="localhost"), "does not match host name"),
            (by_tls(postgres, plain, authority[0]), "does not support SSL"),
        ):
            with pytest.raises(psycopg.OperationalError, match=problem):
                upgrade(url)

    assert 0 == proxy.accepted
