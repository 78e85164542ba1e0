"""A Postgres that restarts at once, as after a crash, and a proxy that cuts a connection at a protocol message."""

import os
import secrets
import signal
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import psycopg

from playhead.embedded.directory import Access
from playhead.embedded.postgres import Postgres
from playhead.embedded.sockets import Sockets
from tests.support.addresses import address, dial

_STARTUP = 4
"""Bytes before the body of the first message, which has a length and no type."""
_HEAD = 5


class CrashablePostgres:
    """The embedded server, with a way to end it that gives it no time."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._server = Postgres(directory, Access(secrets.token_hex(8)), secrets.token_hex(8), Sockets(directory))
        self._server.start()
        self._server.wait_until_ready()
        self.url = self._server.running.url

    def restart(self) -> None:
        """`pg_ctl restart -m immediate`: no checkpoint, connections broken off, recovery from the write-ahead log."""
        os.kill(self._server.running.pid, signal.SIGQUIT)
        self._server.stop()
        self._server.start()
        self._server.wait_until_ready()
        assert self.url == self._server.running.url

    def stop(self) -> None:
        self._server.stop()


class CuttingProxy:
    """Passes messages between clients and a Postgres one by one, and cuts the connection at one of them."""

    def __init__(self, database: str) -> None:
        self._server = address(database)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = psycopg.conninfo.make_conninfo(
            database, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.passed = {"to the server": 0, "to the client": 0}
        self.cuts = 0

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        _close(self._listener)
        self.drop()
        for thread in self._threads:
            thread.join(60)

    def arm(self, direction: str, number: int) -> None:
        """Cut instead of passing on the message with this number from here on, counted from 1, in that direction."""
        with self._lock:
            self._left = {direction: number}

    def disarm(self) -> None:
        with self._lock:
            self._left = {}

    def drop(self) -> None:
        """Cut every connection now, so that the next messages are those of a new one."""
        with self._lock:
            connections, self._open = self._open, []
        for one in connections:
            _close(one)

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = dial(self._server)
                except OSError:
                    _close(client)
                    continue
                with self._lock:
                    self._open += [client, server]
                self._start(self._pass, client, server, "to the server", _STARTUP)
                self._start(self._pass, server, client, "to the client", _HEAD)

    def _pass(self, source, target, direction, head):
        buffer = b""
        with suppress(OSError):
            while data := source.recv(65536):
                buffer += data
                whole = 0
                cut = False
                while len(buffer) - whole >= head and not cut:
                    (length,) = struct.unpack_from("!I", buffer, whole + head - 4)
                    end = whole + head - 4 + length
                    if len(buffer) < end:
                        break
                    cut = self._is_cut(direction)
                    if not cut:
                        whole, head = end, _HEAD
                target.sendall(buffer[:whole])
                buffer = buffer[whole:]
                if cut:
                    break
        _close(source)
        _close(target)

    def _is_cut(self, direction) -> bool:
        with self._lock:
            self.passed[direction] += 1
            if direction not in self._left:
                return False
            self._left[direction] -= 1
            if self._left[direction]:
                return False
            self._left = {}
            self.cuts += 1
            return True


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
