"""Postgres by TLS: `sslmode=verify-full` reaches the server that it means, and no other.

The embedded Postgres is built without TLS, so a proxy in front of it speaks TLS with the client.
"""

import asyncio
import shutil
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg
import pytest

from projections.jobs.projection import Jobs
from projections.migrations import upgrade
from streams.events import Recorded
from streams.partitions import Partition
from streams.positions import Position
from streams.sinks import Batch, Source
from tests.documents import job
from tests.integration.stage import make_database

JOBS = Partition("jobs", 0)
_TLS_REQUEST_BYTES = 8


class TlsProxy:
    """Answers Postgres' request for TLS itself and passes on what is inside; counts clients that accepted it."""

    def __init__(self, certificate: Path, key: Path, server: tuple[str, int]) -> None:
        self.handshakes = 0
        self._server = server
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._listening = starting.result(30)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _end(self) -> None:
        self._listening.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(_TLS_REQUEST_BYTES)
            writer.write(b"S")
            await writer.start_tls(self._context)
            inside, behind = await asyncio.open_connection(*self._server)
            await asyncio.gather(self._pass_on(reader, behind, count=True), self._pass_on(inside, writer))
        await _close(writer)

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                self.handshakes += count
                count = False
                target.write(data)
                await target.drain()
        await _close(target)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


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
    parts = urlsplit(postgres)
    with TlsProxy(*authority, (parts.hostname, parts.port)) as proxy:
        yield proxy


def by_tls(database: str, proxy: TlsProxy, certificate: Path, host: str = "127.0.0.1") -> str:
    return psycopg.conninfo.make_conninfo(
        database, host=host, port=proxy.port, sslmode="verify-full", sslrootcert=str(certificate), connect_timeout=10
    )


def test_a_projection_upgrades_and_writes_over_verified_tls(postgres, proxy, authority):
    database = make_database(postgres)
    url = by_tls(database, proxy, authority[0])
    sink = Jobs(url)

    assert [] == upgrade(url)
    sink.open(JOBS, 1)
    event = Recorded(job(1), Position(1, 0))
    assert "applied" == sink.apply(Batch(Source(JOBS), [event], event.position))
    sink.close()
    with psycopg.connect(url) as connection:
        assert [("1",)] == connection.execute("SELECT job_id FROM jobs").fetchall()
        assert connection.pgconn.ssl_in_use
    assert proxy.handshakes >= 3


def test_a_server_that_cannot_prove_its_name_is_never_sent_a_password(postgres, proxy, authority):
    openssl = shutil.which("openssl")
    stranger = _make_certificate(openssl, authority[0].parent, "stranger")
    for url, problem in (
        (by_tls(postgres, proxy, stranger), "certificate verify failed"),
        (by_tls(postgres, proxy, authority[0], host="localhost"), "does not match host name"),
        (psycopg.conninfo.make_conninfo(postgres, sslmode="verify-full", sslrootcert=str(authority[0])), "SSL"),
    ):
        with pytest.raises(psycopg.OperationalError, match=problem):
            upgrade(url)

    assert 0 == proxy.handshakes
