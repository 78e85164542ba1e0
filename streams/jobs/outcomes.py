"""What the members `status` and `error` of a job result mean, in the words of the job queues."""

import json
import re
from collections.abc import Mapping
from typing import Literal

Outcome = Literal["completed", "failed", "unfinished"]

_NO_ERROR = re.compile(rb'(null|false|-?0(\.0+)?|"\s*"|\{\s*\}|\[\s*\])?')
_WORDS: dict[Outcome, str] = {
    "completed": """
        complete completed done finished ok passed processed succeed succeeded success successful
    """,
    "failed": """
        abandoned abort aborted broken cancel canceled cancelled crash crashed dead deadletter deadlettered died
        discarded err error errored exception expired fail failed failure fatal interrupted killed lost missed nodefail
        oom outofmemory preempted revoked skipped stopped terminated timeout timedout upstreamfailed
    """,
    "unfinished": """
        aborting accepted active available cancelling created deferred delayed doing enqueued executing inprogress new
        notfound paused pending picked prioritized processing published queued received rejected reserved retried retry
        retryable retrying running runnable scheduled stalled started starting submitted todo upforretry upforreschedule
        waiting waitingchildren working
    """,
}
"""Of RQ, Celery, dramatiq, arq, huey, streaq, taskiq, Sidekiq, BullMQ, Oban, APScheduler, procrastinate and Airflow.

A job that Celery rejected is unfinished, as Celery itself has it: it may have been put back into the queue.
"""
_MEANINGS: dict[str, Outcome] = {word: outcome for outcome, words in _WORDS.items() for word in words.split()}


def meaning_of(status: str, known: Mapping[str, Outcome] = {}) -> Outcome | None:
    """What a status means, None if it is no word that is known here; case, spaces, `-` and `_` make no difference.

    Of an enumeration's member, `JobStatus.FINISHED`, the name counts. `known` are words of the user's own.
    """
    word = word_of(status)
    return known.get(word) or _MEANINGS.get(word)


def meanings_of(given: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Words of the user's own, as they are compared."""
    return {word_of(status): meaning for status, meaning in given.items()}


def word_of(status: str) -> str:
    """A status as it is compared."""
    return "".join(filter(str.isalnum, status.strip().rpartition(".")[2].casefold()))


def is_error(error: bytes) -> bool:
    """Whether the JSON of a member `error` says that there was one: null, false, 0 and what is empty do not."""
    if error.startswith(b'"') and b"\\" in error:
        try:
            return bool(str(json.loads(error)).strip())
        except ValueError:
            return True
    return _NO_ERROR.fullmatch(error.strip()) is None
