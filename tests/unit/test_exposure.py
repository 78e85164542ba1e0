"""A `Producer` in any program holds to the rule for servers on other machines, as the commands do."""

import pytest

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidSetting

INSECURE = [
    "redis://db",
    "redis://:hunter2@db",
    "redis+sentinel://a,b/main",
    "rediss://db",
    "redis+cluster://127.0.0.1,b",
]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("PLAYHEAD_ALLOW_INSECURE", raising=False)


@pytest.mark.parametrize("url", INSECURE)
def test_a_producer_refuses_a_redis_elsewhere_without_tls_or_password_unless_allowed(url):
    with pytest.raises(InvalidSetting) as refused:
        Producer(url)
    Producer(url, allow_insecure=True).close()

    assert "on another machine and without" in str(refused.value)
    assert "allow_insecure=True" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["redis://localhost", "redis://[::1]", "unix:///run/redis.sock", "rediss://:secret@db", "redis://127.0.0.2"]
)
def test_a_producer_takes_what_is_on_this_machine_or_has_tls_and_a_password(url):
    Producer(url).close()


def test_the_environment_allows_it_too(monkeypatch):
    monkeypatch.setenv("REDIS_URL", INSECURE[0])
    with pytest.raises(InvalidSetting, match="PLAYHEAD_ALLOW_INSECURE=true"):
        Producer.from_environment()
    monkeypatch.setenv("PLAYHEAD_ALLOW_INSECURE", "perhaps")
    with pytest.raises(InvalidSetting, match="must be true or false"):
        Producer.from_environment()
    monkeypatch.setenv("PLAYHEAD_ALLOW_INSECURE", "true")

    Producer.from_environment().close()
