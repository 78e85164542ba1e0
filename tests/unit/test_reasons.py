"""Why an event is parked."""

import pytest

from playhead.consumers.reasons import reason_of
from playhead.streams.errors import InvalidEvent


def look_up(payload: dict[str, int]) -> int:
    return payload["amount"]


def test_a_bug_is_told_with_its_place():
    with pytest.raises(KeyError) as raised:
        look_up({})

    assert "KeyError: 'amount' (test_reasons.py, line 10, in look_up)" == reason_of(raised.value)


@pytest.mark.parametrize(
    "error", [ValueError("no such day"), InvalidEvent("data.amount", "is missing"), OSError(28, "full")]
)
def test_a_refusal_says_why_and_not_where(error):
    with pytest.raises(type(error)) as raised:
        raise error

    assert reason_of(raised.value) == f"{type(error).__name__}: {error}"


def test_a_reason_is_not_longer_than_anybody_reads():
    assert 1_050 > len(reason_of(ValueError("x" * 10_000_000)))
