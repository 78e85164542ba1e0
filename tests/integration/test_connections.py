"""Every form of URL against a server that is reached that way."""

import asyncio
import shutil
import signal
import subprocess
from urllib.parse import quote

import pytest
from redis import Redis, RedisCluster
from redis.exceptions import RedisError

from playhead.embedded.errors import ServerDidNotStart
from playhead.embedded.processes import ServerProcess, free_port
from playhead.embedded.valkey import server_program
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidSetting, NotReplicated, RedisUnavailable
from playhead.streams.partitions import Partition
from playhead.streams.redis.connections import RedisAddress, connect
from tests.support.connections import close_and_use
from tests.support.servers import answers, plain_client

JOBS = Partition("jobs", 0)
PASSWORD = "p:a/s@s#w%rd?"
SECRET = "hunter2"


@pytest.fixture
def start(tmp_path):
    """Start a server with more options."""
    running = []

    def start(name, *options, ready, program=None):
        directory = tmp_path / name
        process = ServerProcess("redis", directory, signal.SIGTERM)
        process.prepare()
        running.append(process)
        process.spawn([str(program or server_program()), *map(str, options)])
        process.wait_until(ready)
        return directory

    yield start
    for process in reversed(running):
        process.stop()


def standalone(start, port, *options, url=None, **more):
    url = url or f"redis://127.0.0.1:{port}/0"
    return start("redis", "--port", port, "--bind", "127.0.0.1", *options, ready=lambda: answers(url), **more)


def check(url):
    """Append through this URL, and read what is there with the same client."""
    with Producer(url) as producer:
        first = producer.append("job.completed", subject="job/1", data={}, id="one")
        again = producer.append("job.completed", subject="job/1", data={}, id="one")
        assert first == again
    client = connect(url)
    assert [b"one"] == [fields[b"ce_id"] for _, fields in client.xrange(JOBS.key)]
    client.close()
    with Producer(url, durability="replicas:1") as producer, pytest.raises(NotReplicated, match="0 of 1"):
        producer.append("job.completed", subject="job/1", data={}, id="two")


def test_a_password_a_user_and_a_database(start):
    port = free_port()
    standalone(start, port, "--requirepass", PASSWORD, url=f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0")
    with Redis(port=port, password=PASSWORD) as client:
        client.acl_setuser("app", enabled=True, passwords=[f"+{PASSWORD}"], keys=["playhead:*"], commands=["+@all"])

    check(f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0")
    check(f"redis://app:{quote(PASSWORD, safe='')}@localhost:{port}/3?socket_timeout=4")
    options = "decode_responses=false&encoding=utf-8&protocol=2&health_check_interval=1&client_name=app&ssl=no"
    check(f"redis://app:{quote(PASSWORD, safe='')}@localhost:{port}/4?{options}")

    with Producer(f"redis://app:{SECRET}@127.0.0.1:{port}/0") as producer, pytest.raises(RedisUnavailable) as refused:
        producer.append("job.completed", subject="job/1", data={})
    assert SECRET not in str(refused.value)


def test_a_unix_socket(start, tmp_path):
    path = tmp_path / "redis.sock"
    start("redis", "--port", 0, "--unixsocket", path, ready=lambda: answers(f"unix://{path}"))

    check(f"unix://{path}")
    check(f"unix://{path}?db=2")


@pytest.fixture
def start_with_tls(start, tmp_path):
    """Start a server with more options that takes TLS alone, by the word of an authority of one's own."""
    program, openssl = shutil.which("redis-server"), shutil.which("openssl")
    if program is None or openssl is None:
        pytest.skip("needs openssl, and a redis-server with TLS")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]

    def run(port, *options):
        tls = ["--tls-port", port, "--port", 0, "--tls-auth-clients", "no", *files]
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
        try:
            start("redis", *tls, *options, ready=lambda: answers(url), program=program)
        except ServerDidNotStart as error:
            pytest.skip(f"redis-server has no TLS: {error}")
        return url

    return run


def test_tls_with_an_authority_of_ones_own(start_with_tls):
    port = free_port()

    check(start_with_tls(port))

    stranger = connect(f"rediss://127.0.0.1:{port}/0", retries=0)
    with Producer(stranger) as producer, pytest.raises(RedisUnavailable, match="certificate"):
        producer.append("job.completed", subject="job/1", data={})


def test_a_cluster_with_tls(start_with_tls, wait_until):
    port = free_port()
    url = start_with_tls(port, "--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", free_port())
    with plain_client(url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    url = url.replace("rediss://", "redis+cluster://").replace("?", "?ssl=true&")

    check(url)

    assert asyncio.run(close_and_use(url)) > 0


def test_sentinel(start, tmp_path):
    port, sentinel_port = free_port(), free_port()
    password = quote(PASSWORD, safe="")
    standalone(start, port, "--requirepass", PASSWORD, url=f"redis://:{password}@127.0.0.1:{port}/0")
    url = f"redis+sentinel://:{password}@127.0.0.1:1,127.0.0.1:{sentinel_port}/main/0"
    settings = tmp_path / "sentinel.conf"
    settings.write_text(
        f"port {sentinel_port}\nbind 127.0.0.1\n"
        f'sentinel monitor main 127.0.0.1 {port} 1\nsentinel auth-pass main "{PASSWORD}"\n'
    )
    start("sentinel", settings, "--sentinel", ready=lambda: answers(f"redis://127.0.0.1:{sentinel_port}"))

    check(url)

    with Producer(url.replace("/main/", "/other/")) as producer, pytest.raises(RedisUnavailable, match="other"):
        producer.append("job.completed", subject="job/1", data={})


def test_cluster(start, wait_until):
    port = free_port()
    standalone(
        start, port, "--cluster-enabled", "yes", "--requirepass", SECRET, url=f"redis://:{SECRET}@127.0.0.1:{port}"
    )
    with plain_client(f"redis://:{SECRET}@127.0.0.1:{port}") as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    url = f"redis+cluster://:{SECRET}@127.0.0.1:1,127.0.0.1:{port}"

    check(url)

    client = connect(url)
    assert isinstance(client, RedisCluster)
    client.close()


def test_a_cluster_that_is_away_is_unavailable_and_a_spool_takes_over(tmp_path):
    url = f"redis+cluster://:{SECRET}@127.0.0.1:1"

    with Producer(url) as producer, pytest.raises(RedisUnavailable) as refused:
        producer.append("job.completed", subject="job/1", data={})
    assert SECRET not in str(refused.value)
    with Producer(url, spool=tmp_path) as producer:
        assert producer.append("job.completed", subject="job/1", data={}) is None


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "redis://host"),
        ("localhost:6379", "redis://host"),
        (f"http://u:{SECRET}@host", "redis://host"),
        (f"redis://:{SECRET}/x@host:6379/0", "%2F"),
        (f"redis://:{SECRET}#@host:6379/0", "%2F"),
        (f"redis://u:{SECRET}@host:port/0", "port"),
        (f"redis://u:{SECRET}@host:99999/0", "port"),
        (f"redis://u:{SECRET}@host:6379/zero", "database"),
        (f"redis://u:{SECRET}@[::1/0", "brackets"),
        (f"redis://u:{SECRET}@a:1,b:2/0", "redis+sentinel://"),
        (f"redis://u:{SECRET}@host/0?socket_timeout=soon", "socket_timeout"),
        (f"redis://u:{SECRET}@host/0?socket_timeout=0", "socket_timeout after the ? must be a number of seconds"),
        (f"redis://u:{SECRET}@host/0?socket_timeout=nan", "socket_timeout"),
        (f"redis://u:{SECRET}@host/0?socket_connect_timeout=-1", "socket_connect_timeout"),
        (f"redis://u:{SECRET}@host/0?health_check_interval=-1", "health_check_interval"),
        (f"redis://u:{SECRET}@host/0?decode_responses=true", "decode_responses after the ? cannot be used"),
        (f"redis+cluster://u:{SECRET}@host?decode_responses=yes", "decode_responses"),
        (f"redis+sentinel://u:{SECRET}@host/main?decode_responses=1", "decode_responses"),
        (f"unix://u:{SECRET}@/redis.sock?decode_responses=True", "decode_responses"),
        (f"redis://u:{SECRET}@host/0?encoding=latin-1", "encoding"),
        (f"redis://u:{SECRET}@host/0?encoding_errors=ignore", "encoding_errors"),
        (f"redis://u:{SECRET}@host/0?protocol=3", "protocol"),
        (f"redis://u:{SECRET}@host/0?Decode_Responses=true", "is no option that can be used"),
        (f"redis://u:{SECRET}@host/0?single_connection_client=true", "is no option that can be used"),
        (f"redis://u:{SECRET}@host/0?password={SECRET}&password={SECRET}", "password stands twice"),
        (f"redis://u:{SECRET}@host/0?db=x", "db after the ? must be a whole number"),
        (f"redis://u:{SECRET}@host/0?soket_timeout=1", "soket_timeout"),
        (f"rediss://u:{SECRET}@host/0?ssl_cert_reqs=maybe", "required"),
        (f"rediss://u:{SECRET}@host/0?ssl_ca_certs=/no/such/file", "/no/such/file"),
        (f"unix://u:{SECRET}@", "path"),
        (f"redis+sentinel://u:{SECRET}@host:26379", "service"),
        (f"redis+sentinel://u:{SECRET}@host:26379/main/zero", "database"),
        (f"redis+sentinel://u:{SECRET}@host:no/main", "port"),
        (f"redis+cluster://u:{SECRET}@host:6379/1", "database 0"),
        (f"redis+cluster://u:{SECRET}@host:/x:y@z", "%"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_change_and_no_password(url, advice):
    with pytest.raises(InvalidSetting) as refused, Producer(connect(url)):
        pass

    assert advice in str(refused.value)
    assert SECRET not in str(refused.value)
    cause = refused.value.__cause__
    assert cause is None or SECRET not in str(cause)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis://", (("localhost", 6379),)),
        ("redis://[::1]:7000", (("::1", 7000),)),
        ("redis+cluster://[::1],b:7001", (("::1", 6379), ("b", 7001))),
        ("redis+sentinel://a,b:1/main", (("a", 26379), ("b", 1))),
    ],
)
def test_hosts_and_their_default_ports(url, hosts):
    assert hosts == RedisAddress.parse(url).hosts


def test_nobody_needs_redis_to_make_a_producer():
    Producer("redis+cluster://127.0.0.1:1").close()
    Producer("redis://127.0.0.1:1").close()
    with pytest.raises((RedisError, RedisUnavailable)):
        connect("redis+cluster://127.0.0.1:1")
