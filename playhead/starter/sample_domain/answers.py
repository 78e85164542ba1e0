"""The projection `sample-domain-answers`: a row for each answer in the table sample_domain_answers."""

from collections.abc import Sequence
from pathlib import Path

from playhead import Connection, Recorded, TableProjection

from sample_domain.domain import Answered

_STORE = (Path(__file__).parent / "sql" / "store_answer.sql").read_bytes()


class Answers(TableProjection):
    """Writes rows in the transaction that moves the checkpoint, so each event takes effect once."""

    def apply(self, connection: Connection, events: Sequence[Recorded[Answered]]) -> None:
        """Store each answer under its id. A replay brings old events again: a row that a later one wrote stands."""
        with connection.cursor() as cursor:
            cursor.executemany(_STORE, [(event.data.id, event.data.answer, str(event.order)) for event in events])
