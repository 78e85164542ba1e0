"""Where a reader is: up to which entry its sink has everything, in each stream that it reads."""

from playhead.streams.positions import START, Position


class Cursors:
    """A position for the live stream of a partition and for each replay into it; the live one has a sequence number."""

    def __init__(self, live: str) -> None:
        self.live = live
        """The key of the live stream."""
        self.positions: dict[str, Position] = {}
        """By the key of the stream."""
        self.sequence: int | None = None
        """The number of the last live entry up to the position that has one, None if not known."""
        self._is_numbered = True

    @property
    def position(self) -> Position:
        """Where it is in the live stream."""
        return self.positions.get(self.live, START)

    @property
    def sequence_here(self) -> int | None:
        """The number of the very entry at the position; None if not known, or if another client added it without."""
        return self.sequence if self._is_numbered else None

    @property
    def replays(self) -> set[str]:
        """The keys of the replays that are followed."""
        return self.positions.keys() - {self.live}

    def start(self, position: Position) -> None:
        """Begin at a position of the live stream; what is known of its sequence number stays known."""
        self.sequence = self.sequence_here if position == self.position else None
        self._is_numbered = True
        self.positions = {self.live: position}

    def move(self, key: str, position: Position, sequence: int | None) -> None:
        """The sink has everything up to this entry, or it is parked."""
        self.positions[key] = position
        if key == self.live:
            self._is_numbered = sequence is not None
            if sequence is not None:
                self.sequence = sequence

    def pass_over(self, position: Position) -> None:
        """Nothing is left to be read up to this position of the live stream."""
        self.positions[self.live] = position

    def number(self, sequence: int | None) -> None:
        """The entry at the position of the live stream has this number, as log or stream tell."""
        self.sequence, self._is_numbered = sequence, True
