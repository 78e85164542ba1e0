"""The domain `jobs`: the payloads of its events."""

from playhead.streams.jobs.events import JobCompleted as JobCompleted
from playhead.streams.jobs.events import JobFailed as JobFailed
