"""A TCP proxy that loses replies: what the server did is done, and the client cannot know."""

import random
import socket
import threading
from contextlib import suppress

from tests.support.addresses import address, dial


class LossyProxy:
    """Forwards to the server of a URL, and cuts a connection instead of passing on a share of the replies.

    `calm` is how many replies a connection has before one may be lost: with more than a client needs to connect and to
    send again, it never gives up.
    """

    def __init__(self, url: str, share: float, seed: int, calm: int = 0) -> None:
        self._server = address(url)
        self._share, self._calm = share, calm
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.lost = 0

    def __enter__(self):
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        for one in (self._listener, *self._connections):
            _close(one)
        self._thread.join(60)

    def _accept(self):
        threads = []
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = dial(self._server)
                self._connections += [client, server]
                for target in (self._requests, self._replies):
                    threads.append(threading.Thread(target=target, args=(client, server), daemon=True))
                    threads[-1].start()
        for thread in threads:
            thread.join(60)

    def _requests(self, client, server):
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        _close(server)

    def _replies(self, client, server):
        passed = 0
        with suppress(OSError):
            while data := server.recv(65536):
                passed += 1
                if passed > self._calm and self._random.random() < self._share:
                    self.lost += 1
                    break
                client.sendall(data)
        _close(client)


def _close(one):
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
