"""A whole Playhead in the process of a test."""

import pytest

from playhead.streams.domains.discovery import installed
from playhead.testing import ConsumerFailed, NotCaughtUp
from tests.support.invoices import InvoicePaid, invoices


@pytest.fixture
def playhead_domains():
    return [invoices]


def test_events_go_through_the_log_projections_and_workers(playhead_pipeline):
    with playhead_pipeline.running():
        playhead_pipeline.append(*(InvoicePaid(str(n), n) for n in range(5)))
        playhead_pipeline.caught_up()

        assert 5 == len(playhead_pipeline.events("invoice.paid"))
        assert 10 == len(playhead_pipeline.events("receipt.sent"))
        assert [(5, 10)] == playhead_pipeline.rows("SELECT count(*), sum(amount) FROM revenue")
    customers = playhead_pipeline.settings.data_dir / "payments" / "customers"
    assert ["acme.csv"] == [path.name for path in customers.iterdir()]


def test_consumers_that_are_named_run_and_others_do_not(playhead_pipeline):
    playhead_pipeline.append(InvoicePaid("1", 10))

    with playhead_pipeline.running("revenue"):
        playhead_pipeline.caught_up()

    assert [("1",)] == playhead_pipeline.rows("SELECT number FROM revenue WHERE amount = %s", 10)
    assert [] == playhead_pipeline.events()


def test_a_worker_that_waits_for_its_next_attempt_has_not_caught_up(playhead_pipeline):
    with playhead_pipeline.running("receipt"):
        playhead_pipeline.append(InvoicePaid("1", 10, "busy"))

        with pytest.raises(NotCaughtUp, match=r"receipt: at .* in invoices/0, 1 in hand"):
            playhead_pipeline.caught_up(seconds=1)


def test_a_parked_event_ends_the_waiting_with_its_reason(playhead_pipeline):
    with playhead_pipeline.running("revenue"):
        playhead_pipeline.append(InvoicePaid("1", -10))

        with pytest.raises(NotCaughtUp, match=r"revenue parked invoice\.paid: ValueError: an amount is never negative"):
            playhead_pipeline.caught_up()
        playhead_pipeline.caught_up(parked=True)
        assert ["invoice/1"] == [one.subject for one in playhead_pipeline.parked("revenue")]


def test_a_consumer_that_does_not_run_is_named(playhead_pipeline):
    playhead_pipeline.append(InvoicePaid("1", 10))

    with pytest.raises(NotCaughtUp, match="payments: has not begun with invoices/0: it does not run in this test"):
        playhead_pipeline.caught_up("payments", seconds=0.1)


def test_a_consumer_that_fails_for_good_fails_the_test_with_its_error(playhead_pipeline, monkeypatch):
    from playhead.projections.table_projection import ProjectedTable

    def give_up(self, error):
        return "fatal"

    monkeypatch.setattr(ProjectedTable, "classify", give_up)
    playhead_pipeline.append(InvoicePaid("1", -10))

    with (
        pytest.raises(ConsumerFailed, match="never negative"),
        playhead_pipeline.running("revenue"),
    ):
        playhead_pipeline.caught_up()


def test_each_test_begins_with_nothing(playhead_pipeline):
    assert [] == playhead_pipeline.rows("SELECT * FROM revenue")
    assert [] == playhead_pipeline.redis.keys("*")


def test_domains_of_a_test_are_there_for_the_time_of_the_test(playhead_pipeline):
    assert "revenue" in installed().projections

    playhead_pipeline.close()

    assert "revenue" not in installed().projections
