"""Given a receipt server, when an invoice is paid, then its receipt was sent, is asked for again, or is refused."""

import json
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import cast

import pytest
from playhead.testing import WorkerScenario
from playhead.testing.fixtures import Scenarios

from acme_invoices.domain import RECEIPTS_URL, invoices
from acme_invoices.events import InvoicePaid, ReceiptSent

PAID = InvoicePaid("A", 1250, "USD", date(2026, 1, 31))


class Server(HTTPServer):
    """Answers with `status`; `asked` has the key and the body of each question."""

    status, headers = 200, dict[str, str]()

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, object]] = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast("Server", self.server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.asked.append((self.headers["Idempotency-Key"], body))
        answer = b'{"receipt": "R-1"}'
        self.send_response(server.status)
        for name, value in {"Content-Length": str(len(answer)), **server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def receipt(playhead_scenarios: Scenarios, server: Server) -> WorkerScenario:
    url = f"http://127.0.0.1:{server.server_port}"
    return playhead_scenarios.worker(invoices, "receipt", {RECEIPTS_URL.name: url})


def test_a_receipt_is_asked_for_by_the_id_of_the_event(receipt: WorkerScenario, server: Server) -> None:
    worked = receipt.when(PAID)

    assert "done" == worked.ending
    assert [ReceiptSent("A", "R-1")] == receipt.outcomes
    assert [("event-1", {"number": "A", "amount": 1250, "currency": "USD"})] == server.asked


def test_a_process_that_dies_asks_again_by_the_same_key_and_appends_once(
    receipt: WorkerScenario, server: Server
) -> None:
    receipt.when(PAID, delivery="killed")

    assert ["event-1", "event-1"] == [key for key, _ in server.asked]
    assert [ReceiptSent("A", "R-1")] == receipt.outcomes


@pytest.mark.parametrize(
    ("status", "headers", "after"), [(503, {"Retry-After": "60"}, 60), (429, {}, None), (500, {}, None)]
)
def test_a_server_that_is_busy_is_asked_again(
    receipt: WorkerScenario, server: Server, status: int, headers: dict[str, str], after: float | None
) -> None:
    server.status, server.headers = status, headers
    worked = receipt.when(PAID)

    assert ("retry", after) == (worked.ending, worked.after)


def test_a_server_that_is_away_is_asked_again(playhead_scenarios: Scenarios) -> None:
    receipt = playhead_scenarios.worker(invoices, "receipt", {RECEIPTS_URL.name: "http://127.0.0.1:1"})

    assert "retry" == receipt.when(PAID).ending


def test_an_invoice_that_the_server_refuses_is_parked(receipt: WorkerScenario, server: Server) -> None:
    server.status = 422
    worked = receipt.when(PAID)

    assert "gave up" == worked.ending
    assert "422" in str(worked.error)
    assert [] == receipt.outcomes
