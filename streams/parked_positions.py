"""The hash of the positions that a consumer set aside in a partition: fields of Redis, and what they mean.

A position that is parked has the id of its parked entry, and there is a field `=` and this id. One that an operator
dropped has no such field. One that was given to a worker again has the name of the retry until the work on it ends.
"""

from collections.abc import Mapping

import msgspec

_OF_ID = b"="
_RETRY = b"retry-"


class ParkedPositions(msgspec.Struct, frozen=True):
    """The id of the parked entry by the position of its event, the positions of events that were dropped, and the names
    of retries by the position of the event that was given again.
    """

    parked: dict[bytes, bytes]
    dropped: frozenset[bytes]
    again: dict[bytes, bytes]

    @property
    def all(self) -> frozenset[bytes]:
        """Positions that a reader that comes to them again passes over."""
        return self.dropped | self.parked.keys() | self.again.keys()


def split_positions(fields: Mapping[bytes, bytes]) -> ParkedPositions:
    """Tell the fields of the hash apart."""
    positions = {name: parked_id for name, parked_id in fields.items() if not name.startswith(_OF_ID)}
    parked = {name: parked_id for name, parked_id in positions.items() if _OF_ID + parked_id in fields}
    again = {name: retry for name, retry in positions.items() if retry.startswith(_RETRY)}
    return ParkedPositions(parked, frozenset(positions.keys() - parked.keys() - again.keys()), again)
