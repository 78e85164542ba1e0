"""Events in, rows and events out. `playhead_delivery` runs a test for each way in which events may come."""

from typing import Literal

import pytest
from playhead.testing import Delivery
from playhead.testing.fixtures import Scenarios

from sample_domain.domain import GREETING, Answered, Requested, sample_domain


def test_each_answer_is_a_row_and_the_latest_one_stands(
    playhead_scenarios: Scenarios, playhead_delivery: Delivery
) -> None:
    answers = playhead_scenarios.projection(sample_domain, "sample-domain-answers")

    answers.given(Answered("1", "one"))
    answers.when(Answered("2", "two"), Answered("1", "uno"), delivery=playhead_delivery)

    assert answers.rows("SELECT id, answer FROM sample_domain_answers ORDER BY id") == [("1", "uno"), ("2", "two")]


@pytest.mark.parametrize("delivery", ["once", "killed"])
def test_a_request_is_answered_once(playhead_scenarios: Scenarios, delivery: Literal["once", "killed"]) -> None:
    worker = playhead_scenarios.worker(sample_domain, "sample-domain-answer", {GREETING.name: "Good morning"})

    worked = worker.when(Requested("1", "world"), delivery=delivery)

    assert worked.ending == "done"
    assert [Answered("1", "Good morning, world!")] == worker.outcomes
