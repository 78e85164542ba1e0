"""Options that several commands share."""

from datetime import UTC, datetime, timedelta

import pytest

from playhead.streams.errors import InvalidSetting
from playhead.terminal.options import moment


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("2 hours ago", timedelta(hours=2)),
        ("1 minute ago", timedelta(minutes=1)),
        ("90 Seconds ago", timedelta(seconds=90)),
        (" 3 weeks ago ", timedelta(weeks=3)),
    ],
)
def test_a_time_can_be_said_as_a_time_ago(text, ago):
    before = datetime.now(UTC)
    found = moment("--since", text)

    assert before - ago <= found <= datetime.now(UTC) - ago


@pytest.mark.parametrize(
    "text", ["yesterday", "2 hours", "-1 hours ago", "999999999 weeks ago", "2 \N{CIRCLED DIGIT TWO} ago"]
)
def test_what_is_no_time_is_refused_with_the_forms_that_there_are(text):
    with pytest.raises(
        InvalidSetting, match="--since takes a date, an RFC 3339 time, or a time ago such as '2 hours ago'"
    ):
        moment("--since", text)
