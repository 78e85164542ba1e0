"""A domain as a stranger writes it: a table, a file a customer, and a worker that is a function."""

import csv
import io
from collections.abc import Sequence

import msgspec

from playhead import Connection, Domain, FileProjection, Recorded, Task
from playhead.consumers.errors import Retry
from playhead.projections.table_projection import TableProjection

invoices = Domain("invoices", migrations="invoices_sql")
stream = invoices.stream("invoices")


@stream.event("invoice.paid", subject="invoice/{number}")
class InvoicePaid(msgspec.Struct, frozen=True):
    number: str
    amount: int
    customer: str = "acme"


@stream.event("receipt.sent", subject="invoice/{number}")
class ReceiptSent(msgspec.Struct, frozen=True):
    number: str
    attempt: int = 1


@invoices.projection("revenue", reads=[InvoicePaid])
class Revenue(TableProjection):
    """The newest amount of each invoice."""

    def apply(self, connection: Connection, events: Sequence[Recorded[InvoicePaid]]) -> None:
        for one in events:
            if one.data.amount < 0:
                raise ValueError("an amount is never negative")
            connection.execute(
                "INSERT INTO revenue VALUES (%s, %s, %s, %s) ON CONFLICT (number) DO UPDATE"
                " SET amount = excluded.amount, event_id = excluded.event_id, written_by = excluded.written_by"
                " WHERE revenue.written_by < excluded.written_by",
                (one.data.number, one.data.amount, one.event.id, str(one.order)),
            )


@invoices.projection("payments", reads=[InvoicePaid])
class Payments(FileProjection):
    """Every payment, in a file a customer."""

    def file_of(self, event: Recorded[InvoicePaid]) -> str:
        return f"customers/{event.data.customer}.csv"

    def fold(self, name: str, content: bytes | None, events: Sequence[Recorded[InvoicePaid]]) -> bytes:
        rows = {tuple(row) for row in csv.reader(io.StringIO((content or b"").decode()))}
        for one in events:
            if one.data.amount < 0:
                raise ValueError("an amount is never negative")
            rows.add((str(one.order), one.data.number, str(one.data.amount), one.event.id))
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(sorted(rows))
        return out.getvalue().encode()


@invoices.worker("receipt", on=InvoicePaid, ends=[ReceiptSent])
async def receipt(task: Task[InvoicePaid]) -> ReceiptSent:
    if task.data.customer == "busy" and task.attempt == 1:
        raise Retry("the mail server is busy", after=60)
    if task.data.customer == "unknown":
        raise ValueError("no such customer")
    if task.data.customer == "away":
        raise ConnectionError("the mail server is away")
    await task.append([task.event("receipt.sent", ReceiptSent("draft"), step="draft")])
    return ReceiptSent(task.data.number)
