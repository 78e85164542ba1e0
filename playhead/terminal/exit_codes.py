"""What the exit codes of commands mean."""

DONE, FAILED, USAGE, UNREACHABLE, CORRUPT, BEHIND = 0, 1, 2, 3, 4, 5
INTERRUPTED, PIPE_CLOSED = 130, 141
"""128 and the number of SIGINT or SIGPIPE, as a shell would say."""
