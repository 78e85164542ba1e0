"""`playhead invoices`."""

from datetime import date
from pathlib import Path

import msgspec
from cyclopts import App
from playhead import connection_to, place

invoices_app = App(name="invoices", help="Invoices that were paid.")

_REVENUE = (Path(__file__).parent / "sql" / "revenue.sql").read_bytes()


class Revenue(msgspec.Struct, frozen=True):
    """What was paid on a day in a currency; `amount` is in its smallest unit."""

    paid_on: date
    currency: str
    invoices: int
    amount: int


@invoices_app.command
def revenue(*, data_dir: Path | None = None, json: bool = False) -> None:
    """Print what was paid, by day and currency.

    Example:
        playhead invoices revenue --json
    """
    with connection_to(place("revenue", data_dir)) as connection:
        found = [Revenue(*row) for row in connection.execute(_REVENUE)]
    if json:
        print(msgspec.json.encode(found).decode())
        return
    for one in found:
        print(f"{one.paid_on}  {one.currency}  {one.amount / 100:12.2f}  {one.invoices} invoices")
