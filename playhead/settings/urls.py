"""URLs of servers: refused here, as a library would refuse them later with a message that quotes them."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from playhead.settings.errors import InvalidValue
from playhead.settings.sources import Given
from playhead.streams.errors import InvalidSetting
from playhead.streams.storage.exposure import bucket_exposure

_CREDENTIALS = {"user", "username", "password"}
"""Options after the ? that would count instead of what stands before the host."""


def make_redis_url(host: str, port: int, database: int, password: str, *, tls: bool) -> str:
    """The URL that REDIS_HOST and the settings beside it stand for."""
    credentials = f":{quote(password, safe='')}@" if password else ""
    return f"{'rediss' if tls else 'redis'}://{credentials}{host}:{port}/{database}"


def as_user(url: str, name: str, password: str) -> str:
    """The URL of the same server as another user; libpq's `key=value` form stays one."""
    if "://" not in url:
        from psycopg.conninfo import make_conninfo

        return make_conninfo(url, user=name, password=password)
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    options = [(key, value) for key, value in parse_qsl(parts.query) if key not in _CREDENTIALS]
    query = urlencode(options, quote_via=quote)  # libpq takes a + as it is
    return parts._replace(netloc=f"{quote(name, safe='')}:{quote(password, safe='')}@{hosts}", query=query).geturl()


def check_urls(redis: Given, database: Given) -> None:
    """Refuse a URL that cannot be read.

    Raises:
        InvalidValue: names the setting.
    """
    advice = "cannot be read; write special characters of the password as %XX"
    if redis.value:
        from playhead.streams.redis.connections import RedisAddress

        try:
            if RedisAddress.parse(redis.value).scheme in {"redis", "rediss"}:
                _ = urlsplit(redis.value).port
        except InvalidSetting as error:
            raise InvalidValue(redis, str(error).removeprefix("REDIS_URL ")) from None
        except ValueError:
            raise InvalidValue(redis, advice) from None
    if database.value:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        scheme, separator, _ = database.value.partition("://")
        if separator and "=" not in scheme and scheme not in {"postgresql", "postgres"}:
            raise InvalidValue(database, "must start with postgresql://")
        try:
            port = str(conninfo_to_dict(database.value).get("port") or "")
        except psycopg.Error:
            raise InvalidValue(database, advice) from None
        if not re.fullmatch(r"[\d,]*", port, re.ASCII):
            raise InvalidValue(database, advice)


def check_exposure(redis: Given, database: Given, places: Iterable[Given] = ()) -> None:
    """Refuse a server on another machine without TLS or without a password, and a bucket that is reached without TLS.

    Raises:
        InvalidValue: names the setting.
    """
    for setting, look in (
        (redis, _redis_exposure),
        (database, _postgres_exposure),
        *((place, bucket_exposure) for place in places),
    ):
        problem = look(setting.value) if setting.value else None
        if problem is not None:
            raise InvalidValue(
                setting, f"{problem}, or set PLAYHEAD_ALLOW_INSECURE=true if you trust everyone on the network"
            )


def _redis_exposure(url: str) -> str | None:
    from playhead.streams.redis.connections import RedisAddress
    from playhead.streams.redis.exposure import redis_exposure

    return redis_exposure(RedisAddress.parse(url))


def _postgres_exposure(conninfo: str) -> str | None:
    from playhead.settings.exposure import postgres_exposure

    return postgres_exposure(conninfo)
