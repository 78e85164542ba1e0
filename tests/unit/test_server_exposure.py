"""What counts as safe of a server on another machine: each form in which one can be named, as its library reads it."""

import os

import pytest

from playhead.settings.errors import InvalidValue
from playhead.settings.exposure import postgres_exposure
from playhead.settings.settings import load, problems
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidSetting
from playhead.streams.redis.connections import RedisAddress
from playhead.streams.redis.exposure import redis_exposure
from playhead.streams.storage.exposure import bucket_exposure

NO_TLS, UNCHECKED, NO_PASSWORD, NO_SERVICE = (
    "without TLS",
    "does not check who answers",
    "without a password",
    "service that libpq does not find",
)
SERVICES = """
[here]
host=/run/postgresql
[local]
host=localhost
[plain]
host=db.example.org
password=hunter2
[safe]
host=db.example.org
password=hunter2
sslmode=verify-full
[address]
host=localhost
hostaddr=10.0.0.1
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No settings of libpq and S3 but those of the test, and a home without files of them."""
    for name in os.environ:
        if name.startswith(("PG", "AWS_", "PLAYHEAD_")) or name in {"REDIS_URL", "DATABASE_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "services").write_text(SERVICES)
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / "pass").write_text("")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))


@pytest.mark.parametrize(
    ("conninfo", "expected"),
    [
        ("postgresql:///x", None),
        ("postgresql://localhost,127.0.0.1,[::1]/x", None),
        ("host=/run/postgresql,@abstract", None),
        ("host=db.example.org hostaddr=127.0.0.1", None),
        ("host=localhost hostaddr=10.0.0.1 password=hunter2", NO_TLS),
        ("host=localhost,localhost hostaddr=127.0.0.1,10.0.0.1 password=hunter2", NO_TLS),
        ("host=localhost,db hostaddr=127.0.0.1, password=hunter2", NO_TLS),
        ("host=db,localhost hostaddr=127.0.0.1, password=hunter2", None),
        ("host=localhost,db password=hunter2", NO_TLS),
        ("host=db,localhost password=hunter2", NO_TLS),
        ("postgresql://me:hunter2@db:5432,localhost:5433/x", NO_TLS),
        ("host=db password=hunter2", NO_TLS),
        ("host=db password=hunter2 sslmode=disable", NO_TLS),
        ("host=db password=hunter2 sslmode=allow", NO_TLS),
        ("host=db password=hunter2 sslmode=prefer", NO_TLS),
        ("host=db password=hunter2 sslmode=require", UNCHECKED),
        ("host=db password=hunter2 sslmode=require sslrootcert=ca.pem", None),
        ("host=db password=hunter2 sslmode=require sslrootcert=gone.pem", UNCHECKED),
        ("host=db password=hunter2 sslmode=verify-ca", None),
        ("host=db password=hunter2 sslmode=verify-full", None),
        ("host=db password=hunter2 sslrootcert=system", None),  # libpq verifies in full then
        ("host=db,db2 password=hunter2 sslmode=verify-full", None),
        ("host=db sslmode=verify-full", NO_PASSWORD),
        ("host=db sslmode=verify-full passfile=pass", None),
        ("host=db sslmode=verify-full passfile=gone", NO_PASSWORD),
        ("host=db sslmode=verify-full sslcert=ca.pem", None),
        ("service=here", None),
        ("service=local", None),
        ("service=plain", NO_TLS),
        ("service=plain sslmode=verify-full", None),
        ("postgresql://localhost/x?service=plain", None),
        ("service=safe", None),
        ("service=safe sslmode=disable", NO_TLS),
        ("service=address", NO_TLS),
        ("service=gone", NO_SERVICE),
        ("service=gone host=localhost", NO_SERVICE),
    ],
)
def test_a_postgres_is_judged_as_libpq_would_reach_it(conninfo, expected):
    judged(expected, postgres_exposure(conninfo))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PGHOST": "db", "PGPASSWORD": "hunter2"}, NO_TLS),
        ({"PGHOST": "db", "PGPASSWORD": "hunter2", "PGSSLMODE": "require"}, UNCHECKED),
        ({"PGHOST": "db", "PGPASSWORD": "hunter2", "PGSSLMODE": "require", "PGSSLROOTCERT": "ca.pem"}, None),
        ({"PGHOST": "db", "PGPASSWORD": "hunter2", "PGSSLMODE": "verify-full"}, None),
        ({"PGHOST": "db", "PGSSLMODE": "verify-full"}, NO_PASSWORD),
        ({"PGHOST": "db", "PGSSLMODE": "verify-full", "PGPASSFILE": "pass"}, None),
        ({"PGHOSTADDR": "10.0.0.1", "PGPASSWORD": "hunter2"}, NO_TLS),
        ({"PGHOST": "localhost"}, None),
        ({"PGSERVICE": "plain"}, NO_TLS),
        ({"PGSERVICE": "safe"}, None),
        ({"PGSERVICE": "gone"}, NO_SERVICE),
        ({"PGSERVICE": "safe", "PGSERVICEFILE": "/nowhere"}, NO_SERVICE),
    ],
)
def test_what_libpq_reads_from_the_environment_counts(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    judged(expected, postgres_exposure("postgresql:///x"))


def test_a_root_certificate_where_libpq_looks_for_one_makes_require_check_who_answers(monkeypatch, tmp_path):
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql/root.crt").write_text("")

    assert postgres_exposure("host=db password=hunter2 sslmode=require") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", None),
        ("redis://LOCALHOST", None),
        ("redis://[::1]", None),
        ("redis://:hunter2@0.0.0.0", NO_TLS),
        ("redis://:hunter2@localhost.example.org", NO_TLS),
        ("rediss://:hunter2@db", None),
        ("rediss://db", NO_PASSWORD),
        ("rediss://:hunter2@db?ssl_cert_reqs=required", None),
        ("rediss://:hunter2@db?ssl_cert_reqs=optional", None),  # for a client the same, as Python documents it
        ("rediss://:hunter2@db?ssl_cert_reqs=none", UNCHECKED),
        ("rediss://:hunter2@db?ssl_check_hostname=false", UNCHECKED),
        ("rediss://:hunter2@db?ssl_check_hostname=false&ssl_ca_certs=ca.pem", None),
        ("rediss://:hunter2@db?ssl_cert_reqs=none&ssl_ca_certs=ca.pem", UNCHECKED),
        ("rediss://db?ssl_certfile=ca.pem", None),
        ("redis+sentinel://:hunter2@a,b/mine", NO_TLS),
        ("redis+sentinel://:hunter2@localhost,b/mine", NO_TLS),
        ("redis+sentinel://:hunter2@a,b/mine?ssl=true", None),
        ("redis+sentinel://a,b/mine?ssl=true", NO_PASSWORD),
        ("redis+sentinel://:hunter2@a,b/mine?ssl=true&sentinel_ssl=false", NO_TLS),
        ("redis+sentinel://:hunter2@a,b/mine?sentinel_ssl=true", NO_TLS),
        ("redis+sentinel://:hunter2@a,b/mine?ssl=true&ssl_cert_reqs=none", UNCHECKED),
        ("redis+sentinel://:hunter2@a,b/mine?ssl=true&sentinel_ssl_cert_reqs=none", UNCHECKED),
        ("redis+sentinel://:hunter2@a,b/mine?ssl=true&sentinel_ssl_check_hostname=false", UNCHECKED),
        ("redis+sentinel://127.0.0.1:1,127.0.0.1:2/mine", None),
        ("redis+cluster://:hunter2@127.0.0.1,b", NO_TLS),
        ("redis+cluster://:hunter2@a,b?ssl=true", None),
        ("redis+cluster://:hunter2@a,b?ssl=true&ssl_check_hostname=false", UNCHECKED),
        ("redis+cluster://127.0.0.1:1,127.0.0.1:2", None),
    ],
)
def test_a_redis_is_judged_by_every_host_and_by_whether_its_tls_checks_who_answers(url, expected):
    judged(expected, redis_exposure(RedisAddress.parse(url)))


BUCKETS = [
    ({}, None),
    ({"AWS_ENDPOINT_URL": "https://minio:9000"}, None),
    ({"AWS_ENDPOINT_URL": "http://localhost:9000"}, None),
    ({"AWS_ENDPOINT_URL": "http://[::1]:9000"}, None),
    ({"AWS_ENDPOINT_URL": "http://minio:9000"}, NO_TLS),
    ({"AWS_ENDPOINT_URL": "HTTP://minio:9000"}, NO_TLS),
    ({"AWS_ENDPOINT_URL": "https://minio", "AWS_ENDPOINT_URL_S3": "http://minio:9000"}, NO_TLS),
    ({"AWS_ENDPOINT": "http://minio:9000"}, NO_TLS),
    ({"AWS_ENDPOINT_URL": "https://minio", "AWS_ALLOW_INVALID_CERTIFICATES": "true"}, UNCHECKED),
]


@pytest.mark.parametrize(("variables", "expected"), BUCKETS)
def test_a_bucket_is_judged_by_the_endpoint_that_the_environment_names(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    judged(expected, bucket_exposure("s3://bucket/prefix"))
    assert bucket_exposure("/a/directory") is None


@pytest.mark.parametrize("name", ["OUTPUT_DIR", "ARCHIVE_DIR", "PLAYHEAD_BLOB_DIR"])
def test_commands_refuse_a_bucket_over_http_on_another_machine_unless_allowed(monkeypatch, name):
    monkeypatch.setenv(name, "s3://bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    with pytest.raises(InvalidValue, match=f"{name}.*AWS_ENDPOINT_URL.*PLAYHEAD_ALLOW_INSECURE=true"):
        load()
    said = problems()
    monkeypatch.setenv("PLAYHEAD_ALLOW_INSECURE", "true")
    load()

    assert 1 == len(said)


def test_a_producer_refuses_it_for_its_blobs(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    with pytest.raises(InvalidSetting, match="AWS_ENDPOINT_URL"):
        Producer("redis://localhost", blobs="s3://bucket")

    Producer("redis://localhost", blobs="s3://bucket", allow_insecure=True).close()


def judged(expected: str | None, found: str | None) -> None:
    assert (found is None) == (expected is None), found
    assert expected is None or expected in (found or "")
    assert "hunter2" not in (found or "")
