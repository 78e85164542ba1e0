"""`replicas:N`: an append is acknowledged only when that many replicas have it."""

import os
import signal

import pytest
from redis import Redis

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidSetting, NotReplicated, RedisUnavailable
from playhead.streams.partitions import Partition
from tests.support.servers import SERVERS, make_server, plain_client

JOBS = Partition("jobs", 0)


class Pair:
    def __init__(self, master, replica):
        self.url, self._replica = master.url, plain_client(replica.url)
        with plain_client(master.url) as client:
            at = client.connection_pool.connection_kwargs
            client.config_set("repl-diskless-sync-delay", 0)
            self._replica.config_set("masterauth", at.get("password") or "")
            self._replica.execute_command("REPLICAOF", at["host"], at["port"])
        self._pid = self._replica.info("server")["process_id"]

    def linked(self):
        return self._replica.info("replication")["master_link_status"] == "up"

    def pause(self):
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self._pid, signal.SIGCONT)

    def ids(self):
        return [fields[b"ce_id"].decode() for _, fields in self._replica.xrange(JOBS.key)]


@pytest.fixture(scope="module", params=SERVERS)
def module_pair(request, tmp_path_factory):
    servers = [make_server(request.param, tmp_path_factory.mktemp("redis"), tcp=True) for _ in range(2)]
    for server in servers:
        server.start()
    yield Pair(*servers)
    for server in reversed(servers):
        server.stop()


@pytest.fixture
def pair(module_pair, wait_until):
    wait_until(module_pair.linked)
    with plain_client(module_pair.url) as client:
        client.flushall()
    yield module_pair
    module_pair.resume()


def append(producer, id):
    return producer.append("job.completed", subject="job/1", data={}, id=id)


def test_what_was_acknowledged_is_on_the_replica(pair):
    with Producer(pair.url, durability="replicas:1") as producer:
        for number in range(20):
            append(producer, f"id-{number}")

            assert f"id-{number}" == pair.ids()[-1]


def test_without_a_confirmation_append_fails_again_and_again_until_there_is_one(pair):
    with Producer(pair.url, durability="replicas:1") as producer:
        first = append(producer, "id-1")
        pair.pause()
        with pytest.raises(NotReplicated, match="0 of 1"):
            append(producer, "id-2")
        with Producer(pair.url, durability="replicas:1") as other, pytest.raises(NotReplicated):
            append(other, "id-2")  # known to the master, and written by another connection
        pair.resume()
        again = append(producer, "id-2")

    assert first < again
    assert ["id-1", "id-2"] == pair.ids()


def test_replicas_that_do_not_confirm_are_named_before_a_short_timeout_is_over(pair):
    with Producer(pair.url, durability="replicas:1", timeout=0.5) as producer:
        append(producer, "id-1")
        pair.pause()
        with pytest.raises(NotReplicated, match="0 of 1"):
            append(producer, "id-2")


def test_the_control_without_replicas_acknowledges_what_the_replica_lacks(pair):
    with Producer(pair.url) as producer:
        pair.pause()

        assert append(producer, "id-1") is not None


def test_more_replicas_than_there_are_is_an_error_that_a_spool_takes(pair, tmp_path):
    with Producer(pair.url, durability="replicas:2") as producer, pytest.raises(RedisUnavailable, match="1 of 2"):
        append(producer, "id-1")

    producer = Producer(pair.url, durability="replicas:2", spool=tmp_path)
    assert append(producer, "id-1") is None
    producer.close(flush_seconds=0)
    with Producer(pair.url, durability="replicas:1", spool=tmp_path) as producer:
        producer.flush()
        assert append(producer, "id-2") is not None

    assert ["id-1", "id-2"] == pair.ids()


@pytest.mark.parametrize("durability", ["", "replicas", "replicas:0", "replicas:-1", "replicas:x", "always"])
def test_an_unknown_durability_names_the_known_ones(durability):
    with pytest.raises(InvalidSetting, match="replicas:N"):
        Producer(Redis(), durability=durability)
