"""Sends what waits in a spool, in order, as soon as Redis takes it."""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence

from playhead.streams.appending.spool import Spool
from playhead.streams.errors import PlayheadError, RedisUnavailable
from playhead.streams.events import Event

_LOOK_SECONDS = 1.0
"""How often a flusher looks for what another process left."""

_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_REFUSED_PAUSE = 0.1, 5.0, 60.0
_log = logging.getLogger(__name__)


class Flusher:
    """A daemon thread that empties a spool; in a forked child it begins anew with the first `wake`."""

    def __init__(self, spool: Spool, send: Callable[[Sequence[Event]], object]) -> None:
        self._spool = spool
        self._send = send
        self._pid = 0
        self._wake()

    def wake(self) -> None:
        """Send soon."""
        self._wake().set()

    def flush(self, *, wait: bool = False) -> int:
        """Send all that waits, in the calling thread, and count it; 0 while somebody else sends, unless told to wait.

        Raises:
            RedisUnavailable: Redis did not take it.
            PlayheadError: Redis refuses the events for good, or the spool cannot be read.
        """
        count = 0
        with self._spool.sending(wait=wait) as alone:
            while alone and (batch := self._spool.read()) is not None:
                self._send(batch.events)
                self._spool.advance(batch)
                count += len(batch.events)
        return count

    def stop(self, seconds: float) -> None:
        """Try once more to send, for that long at most."""
        deadline = time.monotonic() + seconds
        wanted = self._wake()
        self._stopping.set()
        wanted.set()
        self._thread.join(seconds)
        while self._spool.pending and time.monotonic() < deadline and self._sent_by_another():
            time.sleep(0.01)
        if self._spool.pending:
            _log.warning(
                "events stay in the spool %s: the next producer with it sends them, or `playhead spool --flush`",
                self._spool.directory,
            )

    def _sent_by_another(self) -> bool:
        with self._spool.sending() as alone:
            return not alone

    def _wake(self) -> threading.Event:
        """The event that wakes the thread; a fork does not take the thread along, and `stop` ends it."""
        if self._pid != os.getpid() or not self._thread.is_alive():
            self._pid = os.getpid()
            self._wanted = threading.Event()
            self._stopping = threading.Event()
            self._thread = threading.Thread(target=self._run, name="playhead-flusher", daemon=True)
            self._thread.start()
        return self._wanted

    def _run(self) -> None:
        pause = 0.0
        while True:
            pause = self._try(pause)
            if self._stopping.is_set():
                return
            if pause:
                self._stopping.wait(pause * random.uniform(0.5, 1))
            else:
                self._wanted.wait(_LOOK_SECONDS)
            self._wanted.clear()

    def _try(self, pause: float) -> float:
        """Flush, and give the seconds to wait before the next attempt."""
        try:
            count = self.flush() if self._spool.pending else 0
        except RedisUnavailable as error:
            if not pause:
                _log.warning("events wait in the spool %s: %s", self._spool.directory, error)
            return min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        except Exception as error:  # noqa: BLE001  whatever it is, the thread must go on and say so
            what = error if isinstance(error, PlayheadError) else f"{type(error).__name__}: {error}"
            _log.error(
                "events stay in the spool %s, where later ones wait behind them: %s", self._spool.directory, what
            )
            return min(max(2 * pause, _FIRST_PAUSE), _LONGEST_REFUSED_PAUSE)
        if count:
            _log.info("sent %d events from the spool %s", count, self._spool.directory)
        return 0.0
