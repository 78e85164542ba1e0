"""The stream `invoices`: an invoice was paid, a receipt was sent."""

from datetime import date
from typing import Any

import msgspec
from playhead import Stream

stream = Stream("invoices")


@stream.event("invoice.paid", version=2, subject="invoice/{number}")
class InvoicePaid(msgspec.Struct, frozen=True):
    """An invoice was paid in full; `amount` is in the currency's smallest unit, such as cents."""

    number: str
    amount: int
    currency: str
    paid_on: date


@stream.event("receipt.sent", subject="invoice/{number}")
class ReceiptSent(msgspec.Struct, frozen=True):
    """The customer has a receipt; `receipt` is the name that the receipt server gave it."""

    number: str
    receipt: str


@stream.upcaster("invoice.paid", version=1)
def in_cents(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 counted whole euros, in `euros`."""
    return {**data, "amount": data["euros"] * 100, "currency": "EUR"}
