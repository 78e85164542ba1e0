"""What `playhead doctor` and `playhead up` say of the receipt server."""

from playhead import SettingValues
from playhead.testing import place_of

from acme_invoices.checks import check_receipt_server
from acme_invoices.domain import RECEIPTS_URL, invoices
from acme_invoices.receipts import lacks_server


def settings_with(url: str) -> SettingValues:
    return place_of(invoices, "receipt", settings={RECEIPTS_URL.name: url}).settings


def test_without_a_server_the_worker_is_not_started() -> None:
    (check,) = check_receipt_server(settings_with(""))

    assert "INVOICES_RECEIPTS_URL is not set" == lacks_server(settings_with(""))
    assert ("warn", "set INVOICES_RECEIPTS_URL") == (check.result, check.advice)


def test_a_server_that_does_not_answer_fails_the_check() -> None:
    url = "http://127.0.0.1:1"
    (check,) = check_receipt_server(settings_with(url))

    assert lacks_server(settings_with(url)) is None
    assert "fail" == check.result
    assert url in check.found
