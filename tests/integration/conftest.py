from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from playhead.embedded.servers import embedded_servers, running_servers
from playhead.streams.appending.producer import Producer
from playhead.streams.events import new_event
from tests.support.addresses import superuser_url
from tests.support.pipeline import Pipeline
from tests.support.servers import SERVERS, RedisServer, answers, make_server, plain_client


@pytest.fixture(scope="module", params=SERVERS)
def module_redis(request, tmp_path_factory) -> Iterator[RedisServer]:
    server = make_server(request.param, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(module_redis) -> RedisServer:
    """A running server without keys, the same one for all tests of a module."""
    if not answers(module_redis.url):
        module_redis.start()
    with plain_client(module_redis.url) as client:
        client.config_set("maxmemory", 0)
        client.flushall()
    return module_redis


@pytest.fixture
def redis(redis_server) -> Iterator[Redis]:
    with plain_client(redis_server.url) as client:
        yield client


@pytest.fixture(scope="module")
def module_valkey(tmp_path_factory) -> Iterator[RedisServer]:
    server = make_server("valkey", tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(module_valkey) -> RedisServer:
    """A running Valkey without keys, for what does not differ between servers."""
    with plain_client(module_valkey.url) as client:
        client.flushall()
    return module_valkey


@pytest.fixture(scope="session")
def postgres_directory(tmp_path_factory) -> Iterator[Path]:
    """Where a Postgres runs for all tests of a session."""
    directory = tmp_path_factory.mktemp("postgres")
    with embedded_servers(directory, redis=False):
        yield directory


@pytest.fixture(scope="session")
def postgres(postgres_directory) -> str:
    """The URL of that Postgres; each test makes a database of its own."""
    return running_servers(postgres_directory).database_url


@pytest.fixture(scope="session")
def superuser(postgres_directory) -> str:
    """The URL of its superuser, who may make roles."""
    return superuser_url(postgres_directory)


@pytest.fixture
def pipeline(redis_server, postgres, tmp_path, wait_until) -> Iterator[Pipeline]:
    pipeline = Pipeline(redis_server, postgres, tmp_path, wait_until)
    yield pipeline
    pipeline.close()


@pytest.fixture
def producer(redis_server) -> Iterator[Producer]:
    with Producer(redis_server.url) as producer:
        yield producer


@pytest.fixture
def submit(producer):
    """Append notes that the worker `enrich` takes."""

    def submit(count, type="note.submitted"):
        producer.append_events(
            [new_event(type, subject=f"note/{number}", data={}, id=f"{type}-{number}") for number in range(count)]
        )

    return submit
