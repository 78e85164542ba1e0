"""What `doctor` says of the end of the log."""

from unittest.mock import sentinel

from playhead.checks.unlogged import check_unlogged
from playhead.settings.settings import load


def test_a_log_that_is_not_here_is_not_called_whole(tmp_path):
    settings = load(tmp_path)

    (check,) = check_unlogged(sentinel.redis, settings, sentinel.servers)

    assert f"there is none in {settings.event_log_dir}, so nothing is compared with it" == check.found
