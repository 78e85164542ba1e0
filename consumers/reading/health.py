"""The health of a reader, and how long it waits before it tries again."""

from playhead.consumers.backoff import Backoff

_LASTING_DELAY = 30.0
"""Seconds between attempts if only a person can fix the sink."""


class Health:
    """Healthy or not, why not, and how often something was tried again."""

    def __init__(self) -> None:
        self.healthy = False
        self.problem: str | None = None
        """The last failure. It is kept until the sink has settled, so that `status` shows it."""
        self.retries = 0
        self._backoff, self._opening = Backoff(), Backoff()

    def fail(self, problem: str) -> float:
        """Be unhealthy; gives the seconds until the next attempt."""
        self.healthy = False
        self.problem = problem
        return self._backoff.next()

    def close(self, problem: str, *, lasting: bool) -> float:
        """Be unhealthy until the sink is opened again; gives the seconds until then."""
        self.healthy = False
        self.problem = problem
        return _LASTING_DELAY if lasting else self._opening.next()

    def retry(self, problem: str) -> float:
        """Be unhealthy until the next attempt at a batch; gives the seconds until then."""
        self.retries += 1
        return self.fail(problem)

    def wait(self, why: str) -> bool:
        """Be unhealthy while somebody else must act first; whether this is news."""
        self.healthy = False
        is_news = self.problem != why
        self.problem = why
        return is_news

    def recover(self) -> None:
        """Be healthy: the sink took a batch, and its next trouble is another one."""
        self.healthy = True
        self._backoff.reset()
        self._opening.reset()

    def reset_backoff(self) -> None:
        """Redis answered: its next trouble is another one."""
        self._backoff.reset()

    def forget(self) -> None:
        """The sink has everything: whatever was wrong is over."""
        self.problem = None
        self._opening.reset()
