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
def upgrade(*, data_dir: DataDir = None, json: Json = False) -> int:
    """Apply the migrations that the database lacks, all of them or none, and print their names.

    Exit code 1 if a table of an applied migration was dropped: no migration creates it again.

    Example:
        playhead db upgrade
    """
    url = servers(load(data_dir), redis=False).database_url
    applied = apply_missing(url)
    with connect(url, "playhead-migrations") as connection:
        missing = gone(connection)
    if json:
        print_json(applied)
    elif applied or not missing:
        print_lines(*applied or ["the database is up to date"])
    if missing:
        say(f"tables were dropped: {', '.join(missing)}; to restore them, see docs/recovery.md, Lost tables")
    return FAILED if missing else DONE
