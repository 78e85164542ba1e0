"""The projection `revenue`: a row for each invoice that was paid, and a view that sums them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from playhead import Connection, Recorded, TableProjection, TableVerification

from acme_invoices.events import InvoicePaid

_SQL = Path(__file__).parent / "sql"
_STORE = (_SQL / "store_payment.sql").read_bytes()
_STANDING = (_SQL / "standing_payments.sql").read_bytes()


class Revenue(TableProjection):
    """Writes rows in the transaction that moves the checkpoint."""

    def apply(self, connection: Connection, events: Sequence[Recorded[InvoicePaid]]) -> None:
        """Store each payment under the number of its invoice; one that a later event wrote stands."""
        with connection.cursor() as cursor:
            cursor.executemany(_STORE, map(_row, events))


def _row(paid: Recorded[InvoicePaid]) -> tuple[object, ...]:
    data = paid.data
    return data.number, data.amount, data.currency, data.paid_on, paid.event.id, str(paid.order)


class RevenueVerification(TableVerification[InvoicePaid]):
    """What `playhead verify` compares the table by."""

    table = "invoices_paid"

    def key_of(self, data: InvoicePaid, /) -> str:
        """The key of the row that a payment has."""
        return data.number

    def standing(self, connection: Connection, keys: Sequence[str]) -> Mapping[str, str]:
        """The order of the event that wrote each row."""
        return dict(connection.execute(_STANDING, (list(keys),)).fetchall())
