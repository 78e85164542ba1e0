"""The domain `jobs`: what became of jobs, as JSON files and as a table."""

from playhead.streams.domains.domain import Domain
from playhead.streams.jobs.events import JobCompleted, JobFailed, stream

jobs = Domain("jobs", migrations="../projections/jobs/migrations")
jobs.stream(stream)

OUTPUT_DIR = jobs.location(
    "OUTPUT_DIR", "outputs", "JSON files, one a job: a directory or s3://bucket/prefix.", title="JSON files"
)

jobs.projection(
    "json-files",
    "playhead.projections.jobs.json_files.sinks:json_files",
    reads=[JobCompleted, JobFailed],
    place=OUTPUT_DIR,
    verification="playhead.projections.jobs.json_files.sinks:json_files_verification",
)
jobs.projection(
    "jobs",
    "playhead.projections.jobs.table.projection:Jobs",
    reads=[JobCompleted, JobFailed],
    verification="playhead.projections.jobs.table.verification:JobsVerification",
)
jobs.extend("files", "playhead.jobs.files:RecorderFileSource")
jobs.extend("observer", "playhead.consumers.jobs.metrics:observe_jobs")
jobs.extend("demo", "playhead.jobs.demo:lose_and_replay")
