"""`playhead db`: the schema of the database."""

from cyclopts import App

from playhead.projections.migrations import gone
from playhead.projections.migrations import upgrade as apply_missing
from playhead.projections.postgres import connect
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.terminal.exit_codes import DONE, FAILED
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, say

db_app = App(name="db", help="Upgrade the database of the projections.")


@db_app.command
def upgrade(*, share_database: bool = False, data_dir: DataDir = None, json: Json = False) -> int:
    """Apply the migrations that the database lacks, all of them or none, and print their names.

    Exit code 1 if a table of an applied migration was dropped: no migration creates it again; or if the database has
    tables of another program only.

    Args:
        share_database: Create the tables of Playhead beside those of another program.

    Example:
        playhead db upgrade
    """
    url = servers(load(data_dir), redis=False).database_url
    applied = apply_missing(url, shared=share_database)
    with connect(url, "playhead-migrations") as connection:
        missing, database = gone(connection), connection.info.dbname
        schema = connection.execute("SELECT current_schema()").fetchone()
    if applied:
        say(f"the tables are in the schema {schema and schema[0]} of the database {database}")
    if json:
        print_json(applied)
    elif applied or not missing:
        print_lines(*applied or ["the database is up to date"])
    if missing:
        say(f"tables were dropped: {', '.join(missing)}; to restore them, see docs/recovery.md, Lost tables")
    return FAILED if missing else DONE
