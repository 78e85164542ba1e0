"""How long to wait before the next attempt."""

import random


class Backoff:
    """Each delay twice the one before, from a tenth of a second to three, and no two processes in step."""

    FIRST, LONGEST = 0.1, 3.0

    def __init__(self) -> None:
        self._longest = self.FIRST

    def next(self) -> float:
        """Seconds to wait now."""
        delay = self._longest * random.uniform(0.5, 1.0)
        self._longest = min(self._longest * 2, self.LONGEST)
        return delay

    def reset(self) -> None:
        """Take note that all is well: the next trouble is another one."""
        self._longest = self.FIRST
