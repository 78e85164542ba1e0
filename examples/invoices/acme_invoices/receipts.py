"""The worker `receipt`: has a server send the receipt of each invoice that was paid."""

import ssl
from functools import cache

import httpx
from playhead import Retry, SettingValues, Task

from acme_invoices.domain import RECEIPTS_URL
from acme_invoices.events import InvoicePaid, ReceiptSent

_BUSY = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})


async def receipt(task: Task[InvoicePaid]) -> ReceiptSent:
    """Ask for a receipt, once for each event.

    A process that dies after the server answered asks again. The server knows the question by its key, and answers as
    before; without such a key the customer would get a second receipt.

    Raises:
        Retry: the server is busy or away.
        ValueError: it refuses the invoice; the event is parked.
    """
    paid = task.data
    try:
        async with httpx.AsyncClient(verify=_certificates()) as client:
            response = await client.post(
                f"{task.settings[RECEIPTS_URL]}/receipts",
                json={"number": paid.number, "amount": paid.amount, "currency": paid.currency},
                headers={"Idempotency-Key": task.cause.event.id},
            )
    except httpx.TransportError as error:
        raise Retry(f"the receipt server is away: {type(error).__name__}") from error
    if response.status_code in _BUSY:
        raise Retry("the receipt server is busy", after=_seconds(response.headers.get("Retry-After")))
    if response.is_server_error:
        raise Retry(f"the receipt server failed with {response.status_code}")
    if response.is_error:
        raise ValueError(f"the receipt server refused the invoice with {response.status_code}: {response.text}")
    return ReceiptSent(number=paid.number, receipt=response.json()["receipt"])


def lacks_server(settings: SettingValues) -> str | None:
    """Why the worker cannot run here, if it cannot."""
    return None if settings[RECEIPTS_URL] else f"{RECEIPTS_URL.name} is not set"


@cache
def _certificates() -> ssl.SSLContext:
    """Those that are trusted: to read them takes longer than to ask the server."""
    return ssl.create_default_context()


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
