"""One tar.gz a capture."""
