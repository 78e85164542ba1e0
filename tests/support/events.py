"""Events as tests append them."""

import json

from playhead.streams.events import Event


def job(number: int, subject: str | None = None, *, id: str | None = None, **members: object) -> Event:
    """An event whose job is its subject, and whose id is its number."""
    subject = subject or f"job/{number}"
    payload = {
        "job_id": subject.removeprefix("job/"),
        "job": {"id": subject, "metadata": {"scraper_id": "s"}, "created_at": "2025-08-09T06:36:58.200226"},
        "status": "completed",
        "result": number,
        **members,
    }
    return Event(
        id=id or f"e{number}",
        source="test",
        type="job.completed",
        time="2025-08-09T06:36:59Z",
        subject=subject,
        data=json.dumps(payload).encode(),
    )
