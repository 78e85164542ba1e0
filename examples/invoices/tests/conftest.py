import pytest
from playhead import Domain

from acme_invoices.domain import invoices

pytest_plugins = ["playhead.testing.fixtures"]


@pytest.fixture
def playhead_domains() -> list[Domain]:
    return [invoices]
