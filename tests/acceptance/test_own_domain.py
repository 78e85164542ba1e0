"""A domain of a stranger's, `examples/invoices`, installed beside Playhead: nothing of Playhead is edited for it."""

import json
import re
import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen
from zipfile import ZipFile

import psycopg
import pytest

from playhead.embedded.servers import running_servers
from playhead.streams.names import presence_key
from tests.support.environments import CLEAN, ROOT, Environment
from tests.support.receipts import ReceiptServer
from tests.support.servers import plain_client

OURS = ["revenue", "daily-payments", "receipt"]
INVOICES = "playhead:{invoices:0}"
PAID_ON = "2026-01-31"


class Company:
    """`playhead up` in a directory, with a receipt server that it calls."""

    def __init__(self, environment: Environment, directory: Path, receipts: ReceiptServer, wait_until) -> None:
        self.directory, self.receipts, self.wait_until = directory, receipts, wait_until
        self._environment = environment
        self._messages = directory.with_suffix(".messages")
        self._settings = {"INVOICES_RECEIPTS_URL": receipts.url, "PLAYHEAD_LEASE_SECONDS": "1"}

    def start(self) -> None:
        with self._messages.open("wb") as messages:
            self._up = subprocess.Popen(
                [str(self._environment.programs / "playhead"), "up"],
                cwd=self.directory,
                env=CLEAN | self._settings,
                stdout=subprocess.DEVNULL,
                stderr=messages,
            )
        self.wait_until(lambda: "every consumer is ready" in self.messages() or self._up.poll() is not None)
        assert self._up.poll() is None, self.messages()
        servers = running_servers(self.directory / "playhead-data")
        self.redis, self.database = plain_client(servers.redis_url), servers.database_url

    def stop(self) -> int:
        self.redis.close()
        self._up.send_signal(signal.SIGINT)
        return self._up.wait(60)

    def messages(self) -> str:
        return self._messages.read_text()

    def playhead(self, *arguments: str, code: int = 0, stdin: bytes = b"", **settings: str) -> str:
        done = self._environment.run(
            "playhead", *arguments, cwd=self.directory, environment=self._settings | settings, stdin=stdin
        )
        assert code == done.returncode, (done.stdout + done.stderr).decode()
        return done.stdout.decode()

    def json(self, *arguments: str, code: int = 0):
        return json.loads(self.playhead(*arguments, "--json", code=code))

    def append(self, *lines: dict[str, object]) -> None:
        self.playhead("append", stdin=b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def caught_up(self) -> None:
        """Until every consumer has all, the outcomes of workers too."""

        def is_caught_up() -> bool:
            done = self._environment.run("playhead", "status", "--json", cwd=self.directory, environment=self._settings)
            return done.returncode == 0

        self.wait_until(is_caught_up)

    def logged(self, type: str) -> list[dict[str, str]]:
        path = self.directory / "playhead-data/eventlog/invoices/0"
        lines = [json.loads(line) for file in sorted(path.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
        return [line["event"] for line in lines if line["event"]["type"] == type]

    def rows(self) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(
                "SELECT number, amount, currency, paid_on::text, event_order FROM invoices_paid ORDER BY number"
            ).fetchall()

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.directory / "playhead-data/payments").glob("*.csv")}

    def metrics(self, consumer: str) -> str:
        with urlopen(self.places()[f"{consumer} metrics"]) as answer:
            return answer.read().decode()

    def places(self) -> dict[str, str]:
        """Where everything is, as the last `up` said."""
        said = [json.loads(line) for line in self.messages().splitlines() if '"places"' in line]
        return said[-1]["places"]


@pytest.fixture(scope="module")
def company(environment, tmp_path_factory, wait_until):
    with ReceiptServer() as receipts:
        directory = tmp_path_factory.mktemp("company")
        company = Company(environment, directory, receipts, wait_until)
        company.start()
        yield company
        assert company.stop() == 0


def paid(number: str, amount: int = 1250, **attributes: str) -> dict[str, object]:
    data = {"number": number, "amount": amount, "currency": "USD", "paid_on": PAID_ON}
    return {"type": "invoice.paid", "subject": f"invoice/{number}", "data": data, "dataschema": "invoice.paid/2"} | (
        attributes
    )


def receipt(number: str) -> dict[str, object]:
    return {"type": "receipt.sent", "subject": f"invoice/{number}", "data": {"number": number, "receipt": "by hand"}}


def test_each_wheel_adds_one_name_and_has_its_data(environment, wheels):
    assert [
        {"playhead", "playhead-0.2.0.dev0.dist-info"},
        {"acme_invoices", "acme_invoices-1.0.0.dist-info"},
    ] == environment.added
    assert "acme_invoices/migrations/0001_invoices_paid.sql" in ZipFile(wheels[1]).namelist()


def test_help_knows_its_command_and_imports_nothing_heavy_for_it(environment, tmp_path):
    done = environment.run("python", "-X", "importtime", "-m", "playhead", "--help", cwd=tmp_path)
    modules = {line.rpartition(b"|")[2].strip() for line in done.stderr.splitlines()}

    assert b"Invoices that were paid." in done.stdout, done.stderr.decode()
    assert b"acme_invoices.events" in modules
    assert set() == {b"psycopg", b"httpx", b"redis", b"faststream", b"acme_invoices.commands"} & modules


def test_consumers_says_which_package_each_comes_from(company):
    found = {one["name"]: one for one in company.json("consumers")["consumers"]}

    assert ["acme_invoices"] * 3 == [found[name]["package"] for name in OURS]
    assert [["invoices"]] * 3 == [found[name]["streams"] for name in OURS]
    assert ["projection", "projection", "worker"] == [found[name]["kind"] for name in OURS]
    assert "playhead" == found["jobs"]["package"]
    assert "invoices" in found["log"]["streams"]
    assert "playhead-data/payments" == company.places()["payments"]


def test_from_an_event_come_a_row_a_line_one_call_and_one_outcome_and_a_replay_changes_none(company):
    old = {"number": "A-1", "euros": 7, "paid_on": PAID_ON}
    company.append(
        {"type": "invoice.paid", "subject": "invoice/A-1", "data": old, "dataschema": "invoice.paid/1", "id": "a1"},
        paid("A-2", id="a2", correlationid="order-2"),
    )
    company.append(paid("A-2", id="a2"))
    company.caught_up()
    rows, files, sent = company.rows(), company.files(), company.logged("receipt.sent")

    assert [("A-1", 700, "EUR", PAID_ON), ("A-2", 1250, "USD", PAID_ON)] == [row[:4] for row in rows]
    assert [f"{rows[0][4]},A-1,700,EUR,a1", f"{rows[1][4]},A-2,1250,USD,a2"] == files[f"{PAID_ON}.csv"].splitlines()[1:]
    assert {"A-1": 1, "A-2": 1} == company.receipts.asked
    assert {"a1", "a2"} == {event["causationid"] for event in sent}
    assert {"A-1", "A-2"} == {event["data"]["number"] for event in sent}
    assert {"order-2"} == {event["correlationid"] for event in sent if event.get("causationid") == "a2"}
    assert old == company.logged("invoice.paid")[0]["data"], "the log keeps it as it was written"

    company.playhead("replay", "--to", "revenue", "--to", "daily-payments")
    company.playhead("replay", "--to", "revenue")
    company.caught_up()

    assert (rows, files) == (company.rows(), company.files())
    assert {"A-1": 1, "A-2": 1} == company.receipts.asked
    assert sent == company.logged("receipt.sent")


def test_a_replay_brings_back_rows_and_files_also_of_an_older_version(company):
    old = {"number": "G-1", "euros": 7, "paid_on": PAID_ON}
    company.append({"type": "invoice.paid", "subject": "invoice/G-1", "data": old, "dataschema": "invoice.paid/1"})
    company.caught_up()
    rows, files = company.rows(), company.files()
    with psycopg.connect(company.database) as connection:
        connection.execute("TRUNCATE invoices_paid")
    for name in files:
        (company.directory / "playhead-data/payments" / name).unlink()
    company.playhead("replay", "--to", "revenue", "--to", "daily-payments")
    company.caught_up()

    assert "G-1" in {row[0] for row in rows}
    assert (rows, files) == (company.rows(), company.files())


def test_a_busy_server_is_asked_again_and_a_refused_invoice_is_parked_until_it_is_retried(company):
    company.receipts.busy = 1
    company.receipts.refused.add("B-2")
    company.append(paid("B-1"), paid("B-2", id="b2"))
    company.wait_until(lambda: company.json("parked", "list", "receipt"))
    company.wait_until(lambda: "B-1" in {event["data"]["number"] for event in company.logged("receipt.sent")})
    (parked,) = company.json("parked", "list", "receipt")

    assert 3 <= company.receipts.asked["B-1"] + company.receipts.asked["B-2"]
    assert "invoice/B-2" == parked["subject"]
    assert "no such customer" in parked["reason"]
    assert "b2" in company.playhead("parked", "show", "receipt", parked["id"])

    company.receipts.refused.clear()
    company.playhead("parked", "retry", "receipt")
    company.wait_until(lambda: "b2" in {event.get("causationid") for event in company.logged("receipt.sent")})
    company.caught_up()

    assert [] == company.json("parked", "list", "receipt")


def test_a_row_that_is_gone_is_named_by_verify_and_repaired(company):
    company.append(paid("C-1"))
    company.caught_up()
    rows = company.rows()
    well = company.json("verify")
    with psycopg.connect(company.database) as connection:
        connection.execute("DELETE FROM invoices_paid WHERE number = 'C-1'")
    (fault,) = company.json("verify", code=4)["faults"]
    repaired = company.json("verify", "--repair")

    assert [] == well["faults"]
    assert len(rows) <= well["checked"]["revenue"]
    assert ("missing", "revenue", "C-1") == (fault["kind"], fault["projection"], fault["key"])
    assert (1, []) == (repaired["repaired"], repaired["faults"])
    assert rows == company.rows()


def test_a_row_that_was_changed_or_that_no_event_gave_is_named_by_verify(company):
    company.append(paid("V-1"))
    company.caught_up()
    rows = company.rows()
    with psycopg.connect(company.database) as connection:
        connection.execute("UPDATE invoices_paid SET amount = amount + 1 WHERE number = 'V-1'")
        made = '(jsonb_populate_record(invoices_paid, \'{"number": "V-2", "event_order": "by hand"}\')).*'
        connection.execute(f"INSERT INTO invoices_paid SELECT {made} FROM invoices_paid LIMIT 1")
    found = company.json("verify", "--repair", code=4)
    with psycopg.connect(company.database) as connection:
        connection.execute("DELETE FROM invoices_paid WHERE number = 'V-2'")

    assert 1 == found["repaired"]
    assert [("stray", "V-2")] == [(fault["kind"], fault["key"]) for fault in found["faults"]]
    assert rows == company.rows()
    assert [] == company.json("verify")["faults"]


def test_files_that_are_gone_altered_or_nobodys_are_named_by_verify_and_repaired(company):
    days = [f"2026-02-0{day}" for day in (1, 2, 3)]
    for day in days:
        line = paid(f"G-{day}")
        company.append(line | {"data": {**line["data"], "paid_on": day}})
    company.caught_up()
    files, directory = company.files(), company.directory / "playhead-data/payments"
    well = company.json("verify")
    gone, altered, shorter, stray = (directory / f"{name}.csv" for name in (*days, "stray"))
    gone.unlink()
    altered.write_text(altered.read_text() + "9,G-9,9,USD,nobody\n")
    shorter.write_text(shorter.read_text().splitlines(keepends=True)[0])
    stray.write_text("mine")

    found = company.json("verify", code=4)["faults"]
    repaired = company.json("verify", "--repair", code=4)

    assert ([], 0) == (well["faults"], well["repaired"])
    assert well["checked"]["revenue"] == well["checked"]["daily-payments"]
    assert {
        ("missing", gone.name, str(gone)),
        ("altered", altered.name, str(altered)),
        ("stale", shorter.name, str(shorter)),
        ("stray", stray.name, str(stray)),
    } == {(fault["kind"], fault["key"], str(company.directory / fault["file"])) for fault in found}
    assert {"daily-payments"} == {fault["projection"] for fault in found}
    assert (3, ["stray"]) == (repaired["repaired"], [fault["kind"] for fault in repaired["faults"]])
    assert "nobody" in next((directory / ".replaced").iterdir()).read_text()

    stray.unlink()

    assert [] == company.json("verify")["faults"]
    assert files == company.files()


def test_a_projection_that_nothing_compares_is_named_by_verify(company):
    (company.directory / "unseen.py").write_text(
        "from playhead import Domain\n"
        "unseen = Domain('unseen', requires=['invoices'])\n"
        "class Index:\n"
        "    def __init__(self, place): pass\n"
        "unseen.projection('search-index', Index, reads=['invoice.paid'])\n"
    )
    domains = {"PLAYHEAD_DOMAINS": "unseen:unseen"}

    *_, summary = company.playhead("verify", **domains).splitlines()
    found = json.loads(company.playhead("verify", "--json", **domains))

    assert re.fullmatch(r"verified (\d+) of (\d+) projections; not compared: search-index", summary)
    assert ["search-index"] == found["unchecked"]
    assert "search-index" not in found["checked"]
    assert [] == company.json("verify")["unchecked"]


def test_another_process_fences_and_its_successor_goes_on(company):
    with psycopg.connect(company.database) as connection:
        epoch = "SELECT epoch FROM playhead_checkpoints WHERE projection = 'revenue' AND source = 'invoices/0'"
        connection.execute(
            epoch.replace("SELECT epoch FROM", "UPDATE").replace(" WHERE", " SET epoch = epoch + 1 WHERE")
        )
        (stolen,) = connection.execute(epoch).fetchone()
    company.append(paid("D-1"))
    company.caught_up()
    with psycopg.connect(company.database) as connection:
        (now,) = connection.execute(epoch).fetchone()

    assert now > stolen
    assert ["D-1"] == [row[0] for row in company.rows() if row[0] == "D-1"]
    assert company.redis.exists(presence_key(INVOICES, "revenue")), "a process holds the lease"


def test_what_every_consumer_is_past_is_trimmed(company):
    company.append(*[receipt(f"E-{number}") for number in range(250)])
    company.wait_until(lambda: company.redis.xlen(INVOICES) < 200)  # Redis removes a hundred at once

    assert 250 == len([event for event in company.logged("receipt.sent") if event["subject"].startswith("invoice/E-")])


def test_metrics_and_traces_are_there(company):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    company.append(paid("F-1", id="f1", traceparent=trace))
    company.caught_up()
    (sent,) = [event for event in company.logged("receipt.sent") if event.get("causationid") == "f1"]

    assert 'playhead_events_applied_total{partition="invoices/0",projection="revenue"}' in company.metrics("revenue")
    assert 'playhead_events_applied_total{partition="invoices/0"' in company.metrics("daily-payments")
    assert re.search(
        r'^playhead_\w+\{outcome="done",.*projection="receipt"\} [1-9]', company.metrics("receipt"), re.MULTILINE
    )
    assert trace.split("-")[1] == sent["traceparent"].split("-")[1]


def test_status_and_doctor_know_it(company):
    company.caught_up()
    found = {(one["name"], one["partition"]): one["state"] for one in company.json("status")["consumers"]}
    checks = {check["name"]: check["result"] for check in company.json("doctor")["checks"]}

    assert ["running"] * 3 == [found[name, "invoices/0"] for name in OURS]
    assert "ok" == checks["receipt server"]
    assert "ok" == checks["invoices payments directory"]


def test_its_command_reads_its_table(company):
    data = {"number": "H-1", "amount": 700, "currency": "CHF", "paid_on": PAID_ON}
    company.append(paid("H-1") | {"data": data})
    company.caught_up()
    found = company.json("invoices", "revenue")

    assert {"CHF": 700}.items() <= {one["currency"]: one["amount"] for one in found}.items()
    assert f"{PAID_ON}  CHF          7.00  1 invoices" in company.playhead("invoices", "revenue")


def test_a_new_database_gets_its_migrations_under_its_name(company):
    with closing(psycopg.connect(company.database, autocommit=True)) as connection:
        connection.execute("CREATE DATABASE another")
    url = psycopg.conninfo.make_conninfo(company.database, dbname="another")

    assert "invoices/0001_invoices_paid" in company.playhead("db", "upgrade", DATABASE_URL=url).splitlines()
    assert "the database is up to date\n" == company.playhead("db", "upgrade", DATABASE_URL=url)


def test_settings_and_run_know_its_names(company):
    shown = {one["name"]: one["value"] for one in company.json("config", "show")}

    assert company.receipts.url == shown["INVOICES_RECEIPTS_URL"]
    assert "playhead-data/payments" == shown["INVOICES_PAYMENTS_DIR"]
    assert "" == company.playhead("run", "revenues", code=2)


def test_its_own_tests_pass(environment, tmp_path):
    shutil.copytree(ROOT / "examples" / "invoices" / "tests", tmp_path / "tests")
    done = environment.run("python", "-m", "pytest", "-q", "-W", "error", "tests", cwd=tmp_path)

    assert 0 == done.returncode, done.stdout.decode()
    assert b" passed" in done.stdout
