"""The worker `sample-domain-answer`: answers each request."""

from playhead import Task

from sample_domain.domain import GREETING, Answered, Requested


async def answer(task: Task[Requested]) -> Answered:
    """Do the work, and return the event that says what came of it.

    A process may die after the work and before its outcome is appended; then another one does the work again. So give
    `task.cause.event.id` to whatever you call, as its idempotency key. Raise `Retry` if you are to be called again
    later, and `ValueError` if the request can never be answered.
    """
    return Answered(id=task.data.id, answer=f"{task.settings[GREETING]}, {task.data.text}!")
