"""The projection `revenue`: a row for each invoice that was paid, and a view that sums them."""

from collections.abc import Sequence
from pathlib import Path

from playhead import Connection, Recorded, TableProjection, TableVerification

from acme_invoices.events import InvoicePaid

_STORE = (Path(__file__).parent / "sql" / "store_payment.sql").read_bytes()


class Revenue(TableProjection):
    """Writes rows in the transaction that moves the checkpoint."""

    def apply(self, connection: Connection, events: Sequence[Recorded[InvoicePaid]]) -> None:
        """Store each payment under the number of its invoice; one that a later event wrote stands."""
        with connection.cursor() as cursor:
            cursor.executemany(_STORE, map(_row, events))


def _row(paid: Recorded[InvoicePaid]) -> dict[str, object]:
    data = paid.data
    return {
        "number": data.number,
        "amount": data.amount,
        "currency": data.currency,
        "paid_on": data.paid_on,
        "event_id": paid.event.id,
        "event_order": str(paid.order),
    }


class RevenueVerification(TableVerification[InvoicePaid]):
    """What `playhead verify` compares the table by."""

    table, key_column = "invoices_paid", "number"

    def key_of(self, data: InvoicePaid, /) -> str:
        """The key of the row that a payment has."""
        return data.number

    def row_of(self, event: Recorded[InvoicePaid], /) -> dict[str, object]:
        """The row that a payment writes."""
        return _row(event)
