"""When a consumer that ended is started again."""


class Restarts:
    """At once the first time, then after a second, twice as long each time, up to a minute.

    A consumer that ran for a minute before it ended begins again at the first time. Times are in seconds of one clock.
    """

    FIRST, LONGEST, STEADY = 1.0, 60.0, 60.0

    def __init__(self) -> None:
        self._delay = 0.0
        self._started = 0.0

    def started(self, now: float) -> None:
        """Take note of a start."""
        self._started = now

    def ended(self, now: float) -> float:
        """Seconds to wait before the next start."""
        if now - self._started >= self.STEADY:
            self._delay = 0.0
        wait = self._delay
        self._delay = min(max(self.FIRST, 2 * wait), self.LONGEST)
        return wait
