"""Given payments, when others come, in whichever way, then these rows and lines are there."""

from datetime import date

from playhead import Event
from playhead.testing import Delivery, event_of
from playhead.testing.fixtures import Scenarios

from acme_invoices.domain import invoices
from acme_invoices.events import InvoicePaid

FIRST, SECOND = date(2026, 1, 30), date(2026, 1, 31)
SELECT = "SELECT number, amount, currency, paid_on FROM invoices_paid ORDER BY number"


def of_version_1(event_id: str, number: str, euros: int) -> Event:
    """What the first version of the program appended."""
    data = b'{"number": "%b", "euros": %d, "paid_on": "2026-01-30"}' % (number.encode(), euros)
    return Event(
        id=event_id,
        source="test",
        type="invoice.paid",
        time="2026-01-30T12:00:00Z",
        subject=f"invoice/{number}",
        data=data,
        dataschema="invoice.paid/1",
    )


def test_an_invoice_has_a_row_and_the_latest_payment_stands(
    playhead_scenarios: Scenarios, playhead_delivery: Delivery
) -> None:
    revenue = playhead_scenarios.projection(invoices, "revenue")

    revenue.given(of_version_1("old", "A", 7), InvoicePaid("B", 1250, "USD", FIRST))
    revenue.when(InvoicePaid("B", 1300, "USD", SECOND), InvoicePaid("C", 99, "USD", SECOND), delivery=playhead_delivery)

    assert [
        ("A", 700, "EUR", FIRST),
        ("B", 1300, "USD", SECOND),
        ("C", 99, "USD", SECOND),
    ] == revenue.rows(SELECT)
    assert [("EUR", 1, 700), ("USD", 2, 1399)] == revenue.rows("SELECT currency, invoices, amount FROM revenue")


def test_a_day_has_a_file_with_a_line_for_each_payment(
    playhead_scenarios: Scenarios, playhead_delivery: Delivery
) -> None:
    payments = playhead_scenarios.projection(invoices, "daily-payments")

    payments.given(of_version_1("old", "A", 7))
    payments.when(
        event_of(InvoicePaid("B", 1250, "USD", FIRST), id="b"),
        event_of(InvoicePaid("C,1", 99, "USD", SECOND), id="c"),
        delivery=playhead_delivery,
    )

    lines = {
        name: [line.split(",", 1)[1] for line in file.decode().splitlines()] for name, file in payments.files().items()
    }
    head = "number,amount,currency,event"
    assert {
        "2026-01-30.csv": [head, "A,700,EUR,old", "B,1250,USD,b"],
        "2026-01-31.csv": [head, '"C,1",99,USD,c'],
    } == lines
