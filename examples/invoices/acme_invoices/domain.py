"""The domain `invoices`: revenue as a table, CSV files of payments, and a receipt for each invoice that was paid."""

from playhead import Domain

from acme_invoices.events import InvoicePaid, ReceiptSent, stream

invoices = Domain("invoices", migrations="migrations")
invoices.stream(stream)

PAYMENTS_DIR = invoices.directory(
    "INVOICES_PAYMENTS_DIR", "payments", "A CSV file of payments for each day.", title="payments"
)
RECEIPTS_URL = invoices.setting(
    "INVOICES_RECEIPTS_URL", "", "The server that sends receipts, such as https://receipts."
)

invoices.projection(
    "revenue",
    "acme_invoices.revenue:Revenue",
    reads=[InvoicePaid],
    verification="acme_invoices.revenue:RevenueVerification",
)
invoices.projection(
    "daily-payments", "acme_invoices.daily_payments:DailyPayments", reads=[InvoicePaid], place=PAYMENTS_DIR
)
invoices.worker(
    "receipt",
    "acme_invoices.receipts:receipt",
    on=InvoicePaid,
    ends=[ReceiptSent],
    lacks="acme_invoices.receipts:lacks_server",
)
invoices.command("acme_invoices.commands:invoices_app", help="Invoices that were paid.")
invoices.extend("check", "acme_invoices.checks:check_receipt_server")
