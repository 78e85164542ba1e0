"""The domain `content`: scraped content, and archives of it."""

from playhead.projections.content.levels import DEFAULT_LEVEL, HIGHEST_LEVEL, LOWEST_LEVEL
from playhead.streams.content.events import Capture, stream
from playhead.streams.domains.domain import Domain
from playhead.streams.domains.settings import whole

content = Domain("content")
content.stream(stream)

ARCHIVE_DIR = content.location(
    "ARCHIVE_DIR", "archives", "Archives of captured content: a directory or s3://bucket/prefix.", title="archives"
)
ARCHIVE_LEVEL = content.setting(
    "PLAYHEAD_ARCHIVE_LEVEL",
    DEFAULT_LEVEL,
    "Compression of archives, 1 (fast) to 12 (small).",
    read=whole(LOWEST_LEVEL, HIGHEST_LEVEL),
)

content.projection(
    "archives",
    "playhead.content.projections:archives",
    reads=[Capture],
    place=ARCHIVE_DIR,
    verification="playhead.content.projections:archives_verification",
)
content.extend("capture", "playhead.streams.content.events:capture_event")
content.command(
    "playhead.content.capture:capture",
    name="capture",
    help="Record scraped content: a file, stdin as -, or each file below a directory.",
)
content.command(
    "playhead.content.archives:archives_app",
    name="archives",
    help="List, show and verify archives of captured content.",
)
