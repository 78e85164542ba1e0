"""The projection `daily-payments`: a CSV file a day, with a line for each payment of that day."""

import csv
import io
from collections.abc import Sequence

from playhead import FileProjection, Recorded

from acme_invoices.events import InvoicePaid

_HEAD = ("order", "number", "amount", "currency", "event")


class DailyPayments(FileProjection):
    """Keeps lines sorted by the order of their events, so that events that come again give the same bytes."""

    def file_of(self, event: Recorded[InvoicePaid]) -> str:
        """The file of the day on which the invoice was paid."""
        return f"{event.data.paid_on}.csv"

    def fold(self, name: str, content: bytes | None, events: Sequence[Recorded[InvoicePaid]]) -> bytes:  # noqa: ARG002
        """Add the lines that are not there yet."""
        lines = _read(content or b"") | {_line(paid) for paid in events}
        written = io.StringIO(newline="")
        csv.writer(written, lineterminator="\n").writerows([_HEAD, *sorted(lines)])
        return written.getvalue().encode()


def _read(content: bytes) -> set[tuple[str, ...]]:
    _, *lines = [tuple(line) for line in csv.reader(io.StringIO(content.decode(), newline=""))] or [_HEAD]
    return set(lines)


def _line(paid: Recorded[InvoicePaid]) -> tuple[str, ...]:
    return str(paid.order), paid.data.number, str(paid.data.amount), paid.data.currency, paid.event.id
