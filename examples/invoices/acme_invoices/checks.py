"""What `playhead doctor` says of the receipt server."""

from collections.abc import Iterator

import httpx
from playhead import Check, SettingValues

from acme_invoices.domain import RECEIPTS_URL


def check_receipt_server(settings: SettingValues) -> Iterator[Check]:
    """Ask the server whether it is there; any answer says so."""
    name, url = "receipt server", settings[RECEIPTS_URL]
    if not url:
        yield Check(name, "warn", "none, so `receipt` cannot run", f"set {RECEIPTS_URL.name}")
        return
    try:
        httpx.get(url)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        yield Check(
            name, "fail", f"{url} does not answer: {error}", f"check that it runs, and check {RECEIPTS_URL.name}"
        )
    else:
        yield Check(name, "ok", url)
