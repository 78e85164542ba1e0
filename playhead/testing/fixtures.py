"""A pytest plugin: `pytest_plugins = ["playhead.testing.fixtures"]` in the topmost conftest.py.

The embedded servers start once a session, and each test gets an empty database and empty streams. With pytest-xdist,
each of its processes has servers of its own.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

import pytest
from redis import Redis

from playhead.consumers.work.handler import Handler
from playhead.embedded.servers import Servers, embedded_servers
from playhead.settings.core import EMBEDDED_TCP
from playhead.settings.sources import Sources
from playhead.streams.domains.domain import Domain
from playhead.testing.databases import Databases
from playhead.testing.deliveries import DELIVERIES, Delivery
from playhead.testing.pipeline import Pipeline
from playhead.testing.projections import ProjectionScenario
from playhead.testing.workers import WorkerScenario

pytest.register_assert_rewrite("playhead.testing.contract")


class Scenarios:
    """Makes scenarios with the database and the directory of a test."""

    def __init__(self, database_url: Callable[[], str], directory: Path) -> None:
        self._database_url, self._directory = database_url, directory
        self._made: list[ProjectionScenario] = []

    def projection(self, domain: Domain, name: str, settings: Mapping[str, object] | None = None) -> ProjectionScenario:
        """Make the scenario of a projection that a domain declares."""
        scenario = ProjectionScenario(
            domain, name, database_url=self._database_url, location=self._directory / name, settings=settings
        )
        self._made.append(scenario)
        return scenario

    def worker(self, domain: Domain, name: str, settings: Mapping[str, object] | None = None) -> WorkerScenario:
        """Make the scenario of a worker that a domain declares."""
        return WorkerScenario.of(
            domain, name, database_url=self._database_url, location=self._directory, settings=settings
        )

    def handler(self, handler: Handler) -> WorkerScenario:
        """Make the scenario of a worker that is an object."""
        return WorkerScenario(handler)

    def close(self) -> None:
        """Close the connections of all."""
        for scenario in self._made:
            scenario.close()


@pytest.fixture(scope="session")
def playhead_servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Servers, None, None]:
    """The embedded Valkey and Postgres of this session, on Unix sockets unless PLAYHEAD_EMBEDDED_TCP is set."""
    tcp = EMBEDDED_TCP.parse(Sources().find(EMBEDDED_TCP).value)
    with embedded_servers(tmp_path_factory.mktemp("playhead-servers"), tcp=tcp) as servers:
        yield servers


@pytest.fixture
def playhead_redis(playhead_servers: Servers) -> str:
    """The URL of a Valkey without keys."""
    assert playhead_servers.redis_url is not None, "it was asked for"
    with Redis.from_url(playhead_servers.redis_url) as client:  # pyright: ignore[reportUnknownMemberType]  # untyped
        client.flushall()  # pyright: ignore[reportUnknownMemberType]  # untyped in redis-py
    return playhead_servers.redis_url


@pytest.fixture(scope="session")
def playhead_databases(playhead_servers: Servers) -> Databases:
    """Makes databases on the Postgres of this session."""
    assert playhead_servers.database_url is not None, "it was asked for"
    return Databases(playhead_servers.database_url)


@pytest.fixture
def playhead_database(playhead_databases: Databases, playhead_domains: Sequence[Domain]) -> Generator[str, None, None]:
    """The URL of a database with the tables of installed domains and `playhead_domains`, all empty."""
    with playhead_databases.empty(playhead_domains) as url:
        yield url


@pytest.fixture
def playhead_domains() -> Sequence[Domain]:
    """Domains beside the installed ones: override this fixture if yours is not installed, as in its own tests."""
    return ()


@pytest.fixture
def playhead_scenarios(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Scenarios, None, None]:
    """Makes scenarios; the servers start once a scenario needs a database."""
    scenarios = Scenarios(lambda: str(request.getfixturevalue("playhead_database")), tmp_path / "playhead")
    yield scenarios
    scenarios.close()


@pytest.fixture
def playhead_pipeline(
    playhead_redis: str, playhead_database: str, playhead_domains: Sequence[Domain], tmp_path: Path
) -> Generator[Pipeline, None, None]:
    """A whole Playhead, of which a test starts the consumers that it needs."""
    with Pipeline(
        redis_url=playhead_redis,
        database_url=playhead_database,
        data_dir=tmp_path / "playhead-data",
        domains=playhead_domains,
    ) as pipeline:
        yield pipeline


@pytest.fixture(params=DELIVERIES)
def playhead_delivery(request: pytest.FixtureRequest) -> Delivery:
    """Every way in which events reach a projection: a test that uses it runs once for each."""
    return request.param
