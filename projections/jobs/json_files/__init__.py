"""One JSON file a job, in a directory a day."""
