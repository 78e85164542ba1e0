"""`playhead db`: the schema of the database."""

from cyclopts import App

from playhead.options import DataDir, Json
from playhead.output import print_json
from playhead.settings import load, servers
from projections.migrations import upgrade as apply_missing

db_app = App(name="db", help="The database of the projections.")


@db_app.command
def upgrade(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Apply the migrations that the database lacks, all of them or none, and print their names.

    Example:
        playhead db upgrade
    """
    applied = apply_missing(servers(load(data_dir), redis=False).database_url)
    if json:
        print_json(applied)
    else:
        print("\n".join(applied) or "the database is up to date")
