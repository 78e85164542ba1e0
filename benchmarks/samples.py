"""Events to measure with, shaped like what a recorder writes: ids and text differ, so nothing compresses too well."""

import random
from collections.abc import Sequence

import msgspec

from playhead.streams.events import Event, new_event

SMALL, LARGE = 1_500, 50_000
"""Bytes of payload."""

_WORDS = [
    "pantry", "opens", "every", "second", "Tuesday", "at", "nine", "bring", "identification", "and", "a", "bag",
    "the", "address", "is", "behind", "church", "parking", "volunteers", "speak", "English", "Español", "call",
    "before", "you", "come", "no", "appointment", "needed", "families", "with", "children", "first", "served",
]  # fmt: skip
_FIELD_BYTES = 135


def size_name(size: int) -> str:
    """How a size is written in the tables."""
    return f"{size / 1000:g} KB"


class Samples:
    """A supply of events that never repeats a job."""

    def __init__(self, first: int = 0) -> None:
        self._random = random.Random(first)
        self._words = " ".join(self._random.choices(_WORDS, k=20_000))
        self.made = first

    @property
    def last_job_id(self) -> str:
        """The id of the job made last; ids sort as they were made."""
        return _job_id(self.made)

    def events(self, count: int, size: int) -> list[Event]:
        """Completed jobs of one day, with about `size` bytes of payload each."""
        return [self._event(size) for _ in range(count)]

    def _event(self, size: int) -> Event:
        self.made += 1
        job_id = _job_id(self.made)
        fields = max(0, size - SMALL) // _FIELD_BYTES
        text = self._text(min(size, SMALL) - 900)
        payload = {
            "job_id": job_id,
            "job": {
                "id": job_id,
                "prompt": self._text(300),
                "format": {
                    "type": "object",
                    "properties": {
                        f"field_{n}": {"type": "string", "description": self._text(60), "additionalProperties": False}
                        for n in range(fields)
                    },
                },
                "provider_config": {"model": "large-model-2", "temperature": 0.7},
                "metadata": {"scraper_id": f"scraper_{self.made % 7}", "source_url": f"https://example.org/{job_id}"},
                "created_at": "2025-08-09T06:36:58.200226",
            },
            "status": "completed",
            "result": {
                "text": text,
                "model": "large-model-2",
                "usage": {"prompt_tokens": 812, "completion_tokens": 390, "total_tokens": 1202},
            },
            "error": None,
            "retry_count": 0,
            "completed_at": "2025-08-09T06:37:21.004711",
            "processing_time": 22.804485,
        }
        data = msgspec.json.encode(payload)
        return new_event(
            "job.completed", subject=f"job/{job_id}", data=data, source="benchmark", dataschema="job.completed/1"
        )

    def _text(self, length: int) -> str:
        start = self._random.randrange(len(self._words) - length)
        return self._words[start : start + length]


def _job_id(number: int) -> str:
    return f"{1754541721 + number}.{number % 1_000_000:06d}"


def in_batches(events: Sequence[Event], size: int) -> list[Sequence[Event]]:
    """Cut a list up."""
    return [events[start : start + size] for start in range(0, len(events), size)]
