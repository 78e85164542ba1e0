"""Levels of libdeflate, in whose gzip an archive is; by themselves, for the settings need no compression."""

LOWEST_LEVEL, DEFAULT_LEVEL, HIGHEST_LEVEL = 1, 6, 12
