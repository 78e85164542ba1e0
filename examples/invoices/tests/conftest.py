import pytest

from acme_invoices.domain import invoices
from playhead import Domain

pytest_plugins = ["playhead.testing.fixtures"]


@pytest.fixture
def playhead_domains() -> list[Domain]:
    return [invoices]
