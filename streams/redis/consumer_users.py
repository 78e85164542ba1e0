"""A Redis user for one consumer: the rules in `consumer_users.acl` of what it is, on the streams that it works on."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from playhead.streams.domains.catalogue import LOG, Catalogue
from playhead.streams.domains.domain import Read
from playhead.streams.domains.event_types import Stream, event_type_of
from playhead.streams.errors import InvalidSetting
from playhead.streams.redis.users import ACL_FILE, User, users

PREFIX = "playhead-"
"""What the name of each user begins with."""
_RULES = dict(line.split(" ", 1) for line in Path(__file__).with_name("consumer_users.acl").read_text().splitlines())
"""NAME stands for the consumer, STREAM for each stream that it reads or appends to, OUTCOME for each of the latter."""
_CONSUMER = f"{PREFIX}consumer"
_DEFAULT = ACL_FILE.splitlines()[-1]
"""Off, but with its rights: a server loads its append-only file as this user, and drops scripts without rights."""


def users_of(consumers: Iterable[str], catalogue: Catalogue) -> list[User]:
    """Every user of Playhead, with one for each of these consumers in place of the one for all of them.

    Raises:
        InvalidSetting: there is no such consumer, or it has the name of a role.
    """
    roles = {user.name: user.rules for user in users()}
    own = {f"{PREFIX}{name}": name for name in consumers}
    for user, consumer in own.items():
        catalogue.require(consumer)
        if user in roles:
            raise InvalidSetting(f"{consumer} is the name of a role: rename the consumer")
    return [
        *(User(name, rules) for name, rules in roles.items() if not own or name != _CONSUMER),
        *(User(user, tuple(_rules(name, catalogue, roles[_CONSUMER]))) for user, name in own.items()),
    ]


def acl_file(users: Iterable[User]) -> str:
    """Users as lines of an `aclfile`, with a word in the place of each password."""
    lines = [
        f"user {user.name} reset on >{user.name.removeprefix(PREFIX).upper()}-PASSWORD {' '.join(user.rules)}\n"
        for user in users
    ]
    return "".join([*lines, f"{_DEFAULT}\n"])


def _rules(consumer: str, catalogue: Catalogue, of_all: Iterable[str]) -> Iterable[str]:
    if consumer == LOG:  # it trims, repairs and renumbers every stream: there is nothing to take away
        return of_all
    if consumer in catalogue.projections:
        what = ("every", "reader", "projection")
    elif consumer in catalogue.workers:
        what = ("every", "reader", "appender", "worker")
    else:
        what = ("every", "appender", "clock")
    appended = tuple(_appended(consumer, catalogue)) if "appender" in what else ()
    streams = {"STREAM": (*catalogue.reads[consumer], *appended), "OUTCOME": appended}
    rules = " ".join(_RULES[one] for one in what).split()
    words = [one for word in rules for one in _each(word.replace("NAME", consumer), streams)]
    return " ".join(words).replace("( ", "(").replace(" )", ")").split()


def _each(word: str, streams: Mapping[str, Iterable[str]]) -> Iterator[str]:
    for placeholder, names in streams.items():
        if placeholder in word:
            return (word.replace(placeholder, name) for name in dict.fromkeys(names))
    return iter((word,))


def _appended(consumer: str, catalogue: Catalogue) -> Iterator[str]:
    """The streams of its domain, and those of the events that its work ends with."""
    domain = catalogue.domain_of(consumer)
    yield from () if domain is None else domain.streams
    worker = catalogue.workers.get(consumer)
    yield from (_stream(end, catalogue) for end in (() if worker is None else worker.ends))


def _stream(read: Read, catalogue: Catalogue) -> str:
    if isinstance(read, Stream):
        return read.name
    return catalogue.types[read if isinstance(read, str) else event_type_of(read).name].stream
