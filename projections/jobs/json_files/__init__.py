"""One JSON file a job and day, in a directory a day."""
