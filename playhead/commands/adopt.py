"""`playhead adopt`: make every place that the settings name one of this installation."""

from contextlib import closing
from typing import Annotated

import msgspec
from cyclopts import Parameter

from playhead.belonging import every_place
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.streams.installation import Mark, RedisMark, new_installation
from playhead.streams.redis.connections import connect
from playhead.terminal.exit_codes import DONE
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, say


class Adopted(msgspec.Struct, frozen=True):
    """A place, the id that it had, and the one that it has now, or would have."""

    place: str
    before: str | None
    after: str


def adopt(
    *, dry_run: Annotated[bool, Parameter(negative=())] = False, data_dir: DataDir = None, json: Json = False
) -> int:
    """Give every place that the settings name the id of the event log: Redis, database, directories and buckets.

    Consumers refuse a place with the id of another installation, and the log writer an empty directory if there
    has been a log. If that is what you want, stop all consumers and adopt the places, for example a restored
    database, a new Redis, or a new directory for a log that is lost. What they hold is not changed: run `playhead
    verify` afterwards.

    Args:
        dry_run: Show the ids and change nothing.

    Example:
        playhead adopt --dry-run
    """
    settings = load(data_dir)
    reached = servers(settings)
    with closing(connect(reached.redis_url, settings.redis_timeout)) as client:
        places: list[Mark] = [*every_place(settings, reached), RedisMark(client)]
        standing = [place.read() for place in places]
        redis = standing[-1]
        installation = standing[0] or redis or next((one for one in standing if one), None) or new_installation()
        if not dry_run:
            for place, before in zip(places, standing, strict=True):
                if before != installation:
                    place.write(installation)
    found = [Adopted(place.title, before, installation) for place, before in zip(places, standing, strict=True)]
    if json:
        print_json(found)
        return DONE
    for one in found:
        print_lines(f"{one.place}: {one.before or 'no id'}" + ("" if one.before == one.after else f" -> {one.after}"))
    if dry_run:
        say("nothing was changed")
    return DONE
