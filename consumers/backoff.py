"""How long to wait before the next attempt."""

import random


class Backoff:
    """Each delay twice the one before, from a tenth of a second to three, less a random half: no two in step."""

    FIRST, LONGEST = 0.1, 3.0

    def __init__(self) -> None:
        self._delay = self.FIRST

    def next(self) -> float:
        """Seconds to wait now."""
        delay = self._delay
        self._delay = min(delay * 2, self.LONGEST)
        return delay * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Take note that all is well: the next trouble is another one."""
        self._delay = self.FIRST
