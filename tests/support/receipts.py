"""A server that sends receipts: one for each key, however often it is asked; busy, or refusing, when a test says so."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self


class ReceiptServer:
    """Counts what it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        """How often each invoice's receipt was asked for."""
        self.receipts: dict[str, str] = {}
        """The receipt that was sent for each key."""
        self.busy = 0
        """How many more questions it answers with 503."""
        self.refused: set[str] = set()
        """Numbers of the invoices that it answers with 422."""
        handler = type("Handler", (_Handler,), {"server_of_receipts": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, number: str, key: str) -> tuple[int, dict[str, str]]:
        self.asked[number] += 1
        if self.busy:
            self.busy -= 1
            return 503, {}
        if number in self.refused:
            return 422, {"detail": "no such customer"}
        return 200, {"receipt": self.receipts.setdefault(key, f"receipt-{number}-{len(self.receipts)}")}

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Nothing: clients are killed while they ask."""


class _Handler(BaseHTTPRequestHandler):
    server_of_receipts: ReceiptServer

    def do_GET(self) -> None:
        self._reply(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._reply(*self.server_of_receipts.answer(body["number"], self.headers["Idempotency-Key"]))

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _reply(self, status: int, answer: dict[str, str]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
