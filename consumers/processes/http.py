"""The limits of whoever asks for health and metrics, so that a flood of connections leaves the consumer at work.

A connection costs a file descriptor, of which Redis, Postgres and the log need some, too. Uvicorn ends one that has
made a request and makes no other, but waits for the first one for ever.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 64
"""Connections at once; a scrape and some probes need a few."""
SECONDS = 10.0
"""That a connection lasts at most, whatever it is at: sending headers or a body, or reading the answer."""
HEADER_BYTES = 16 * 1024
BACKLOG = 128
"""Connections that are accepted at once, before the first of them is looked at."""


class BoundedConnection(H11Protocol):
    """A connection that ends in time. The oldest makes room for one too many, those first that have asked for nothing:
    a request that is answered at once gets through.
    """

    connections: "set[BoundedConnection]"
    since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # as in Uvicorn
        super().connection_made(transport)
        self.since = self.loop.time()
        self._end = self.loop.call_later(SECONDS, transport.abort)
        if len(self.connections) > MOST:
            oldest = min(self.connections - {self}, key=lambda one: (one.is_asking, one.since))
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)

    @property
    def is_asking(self) -> bool:
        """Whether it has made a request that is not answered yet."""
        return bool(self.cycle) and not self.cycle.response_complete
