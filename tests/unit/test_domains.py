"""What a domain declares, what domains declare together, and how they are found: every mistake is one clear error."""

import re
import sys
from dataclasses import make_dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypedDict

import msgspec
import pytest

from playhead import Domain, InvalidEvent, Stream
from playhead.commands.app import listed
from playhead.projections.migrations import migrations
from playhead.settings.settings import declared
from playhead.streams.domains import discovery
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.discovery import Found, entry_points, load, named
from playhead.streams.domains.event_types import event_type_of
from playhead.streams.domains.settings import choice
from playhead.streams.errors import DomainInvalid, DomainNotLoaded, DomainsCollide, InvalidSetting
from playhead.streams.events import new_event


class Paid(msgspec.Struct, frozen=True):
    number: str
    amount: int


def a_domain(name="invoices", module="acme_invoices.domain", file=__file__, **options):
    """A domain as the module of that name would declare it; one without a file is that of a REPL."""
    space = {"__name__": module, "Domain": Domain, "name": name, "options": options}
    if file is not None:
        space["__file__"] = file
    exec("domain = Domain(name, **options)", space)
    return space["domain"]


def paid(stream, type="invoice.paid", **options):
    """Declare a Struct of its own as an event type."""
    return stream.event(type, subject="invoice/{number}", **options)(type_of(Paid))


def type_of(payload):
    return msgspec.defstruct(payload.__name__, [("number", str), ("amount", int)], frozen=True)


def refused(*domains):
    with pytest.raises((DomainInvalid, DomainsCollide)) as caught:
        Catalogue(domains)
    return str(caught.value)


class TestNames:
    @pytest.mark.parametrize("name", ["", "Invoices", "in voices", "1st", "a/b", "a:b", "é", "x" * 64, "in_voices"])
    def test_a_name_that_is_none_is_refused(self, name):
        for declare in (
            a_domain,
            lambda name: a_domain().stream(name),
            lambda name: a_domain().projection(name, "a:b", reads=["job.completed"]),
            lambda name: a_domain().worker(name, "a:b", on="job.completed", ends=[]),
            lambda name: a_domain().clock(name, "a:b", every=1),
            lambda name: a_domain().command("a:b", help="", name=name or "-"),
        ):
            with pytest.raises(DomainInvalid, match="lower-case letters"):
                declare(name)

    @pytest.mark.parametrize("name", ["", "invoice paid", "invoice/paid", "invoice.paid\n"])
    def test_an_event_type_that_is_no_name_is_refused(self, name):
        with pytest.raises(DomainInvalid, match="an event type has no spaces"):
            paid(Stream("invoices"), name)

    @pytest.mark.parametrize("name", ["", "receipts_url", "RECEIPTS URL", "1RECEIPTS"])
    def test_a_setting_that_is_no_environment_variable_is_refused(self, name):
        with pytest.raises(DomainInvalid, match="INVOICES_CURRENCY"):
            a_domain().setting(name, "", "Where receipts go.")

    def test_a_setting_without_a_reader_for_its_type_asks_for_one(self):
        with pytest.raises(DomainInvalid, match="read="):
            a_domain().setting("RECEIPTS", [], "Receipts.")

    @pytest.mark.parametrize(
        ("default", "read", "said"),
        [
            ("", int, "'' ; it cannot be read: ValueError: invalid literal for int() with base 10: ''"),
            ("dollars", choice("USD", "EUR"), "'dollars'; it must be one of USD, EUR"),
            (-5, None, "'-5'; it must be a whole number from 0 up"),
        ],
    )
    def test_a_setting_whose_default_cannot_be_read_is_refused(self, default, read, said):
        with pytest.raises(DomainInvalid) as caught:
            a_domain().setting("INVOICES_CURRENCY", default, "The currency.", read=read)

        assert f"the default of the setting INVOICES_CURRENCY is {said}".replace(" ;", ";") == str(caught.value)


class TestClocks:
    @pytest.mark.parametrize("every", [0, -1, 0.0, float("nan"), float("inf"), "5", True, None, timedelta(seconds=5)])
    def test_a_clock_runs_every_so_many_seconds(self, every):
        with pytest.raises(DomainInvalid, match="every= of the clock tidy must be a number of seconds above 0, not "):
            a_domain().clock("tidy", "a:b", every=every)

    def test_the_default_of_its_setting_is_such_a_number(self):
        domain = a_domain()
        setting = domain.setting("TIDY_SECONDS", 0, "Seconds between two rounds.")
        with pytest.raises(DomainInvalid, match="above 0, not the default of TIDY_SECONDS, 0"):
            domain.clock("tidy", "a:b", every=setting)


class TestEventTypes:
    @pytest.mark.parametrize(
        "payload",
        [
            msgspec.defstruct("Open", [("number", str)]),
            make_dataclass("Open", ["number"], frozen=True),
            type("Open", (), {}),
            TypedDict("Open", {"number": str}),
        ],
    )
    def test_a_payload_that_is_no_frozen_struct_is_refused(self, payload):
        with pytest.raises(
            DomainInvalid, match=r"invoice\.paid, Open, must be a msgspec\.Struct with frozen=True, because a fact"
        ):
            Stream("invoices").event("invoice.paid", subject="x")(payload)

    @pytest.mark.parametrize("subject", [None, 7, b"invoice/{number}"])
    def test_a_subject_is_a_template_or_a_function(self, subject):
        with pytest.raises(DomainInvalid, match=r"the subject of invoice\.paid is a template such as invoice/\{num"):
            Stream("invoices").event("invoice.paid", subject=subject)(type_of(Paid))

    @pytest.mark.parametrize("subject", [None, 7, b"invoice/1"])
    def test_a_function_returns_the_subject_as_text(self, subject):
        declared = event_type_of(Stream("invoices").event("invoice.paid", subject=lambda _: subject)(type_of(Paid)))
        with pytest.raises(InvalidEvent, match=r"^subject: of invoice\.paid must be text; its function returned "):
            declared.subject_of(declared.payload("1", 2))

    def test_a_subject_names_fields_of_the_payload(self):
        with pytest.raises(DomainInvalid, match="'id', for which Paid has no field"):
            Stream("invoices").event("invoice.paid", subject="invoice/{id}")(type_of(Paid))

    @pytest.mark.parametrize("subject", ["invoice/{number", "invoice/number}", "invoice/{}", "invoice/{0}"])
    def test_a_subject_that_is_no_template_is_refused(self, subject):
        with pytest.raises(DomainInvalid, match=re.escape(repr(subject))):
            Stream("invoices").event("invoice.paid", subject=subject)(type_of(Paid))

    @pytest.mark.parametrize("subject", [lambda paid: paid.nobody, "invoice/{number:d}"])
    def test_a_subject_that_cannot_be_made_is_refused_with_why(self, subject):
        declared = event_type_of(Stream("invoices").event("invoice.paid", subject=subject)(type_of(Paid)))
        with pytest.raises(InvalidEvent, match=r"subject: of invoice\.paid cannot be made: \w+Error: "):
            declared.subject_of(declared.payload("1", 2))

    @pytest.mark.parametrize("version", [0, -1, 1.5, "2", True, None])
    def test_a_version_counts_from_one(self, version):
        with pytest.raises(DomainInvalid, match="from 1 up"):
            paid(Stream("invoices"), version=version)

    def test_a_type_is_declared_once_in_a_stream(self):
        stream = Stream("invoices")
        paid(stream)
        with pytest.raises(DomainInvalid, match=r"invoice\.paid is declared twice in the stream invoices"):
            paid(stream)

    def test_a_struct_is_the_payload_of_one_type(self):
        stream = Stream("invoices")
        declared = paid(stream)
        with pytest.raises(DomainInvalid, match=r"payload of invoice\.paid, and cannot be that of invoice\.sent too"):
            stream.event("invoice.sent", subject="x")(declared)

    def test_a_struct_that_is_no_event_says_how_it_becomes_one(self):
        with pytest.raises(InvalidEvent, match=r"Paid is not declared.*@stream\.event"):
            event_type_of(Paid)


class TestUpcasters:
    def test_each_version_leads_to_the_next(self):
        stream = Stream("invoices")
        stream.upcaster("invoice.paid", version=1)(lambda data: {"number": data["id"], "cents": data["cents"]})
        stream.upcaster("invoice.paid", version=2)(lambda data: {"number": data["number"], "amount": data["cents"]})
        declared = event_type_of(paid(stream, version=3))
        first = new_event("invoice.paid", subject="x", data={"id": "7", "cents": 5}, dataschema="invoice.paid/1")
        second = msgspec.structs.replace(first, data=b'{"number":"7","cents":5}', dataschema="invoice.paid/2")

        assert [("7", 5)] * 2 == [msgspec.structs.astuple(declared.decode(one)) for one in (first, second)]

    def test_a_gap_says_which_upcaster_is_missing(self):
        domain = a_domain()
        stream = domain.stream("invoices")
        paid(stream, version=3)
        stream.upcaster("invoice.paid", version=1)(dict)

        assert "there is no upcaster from version 2: declare it with @stream.upcaster" in refused(domain)

    def test_two_from_one_version_are_refused(self):
        stream = Stream("invoices")
        stream.upcaster("invoice.paid", version=1)(dict)
        with pytest.raises(DomainInvalid, match="there are two upcasters from version 1"):
            stream.upcaster("invoice.paid", version=1)(dict)

    @pytest.mark.parametrize(
        ("type", "version", "said"),
        [("invoice.payed", 1, "not an event type of the stream"), ("invoice.paid", 1, "is at version 1")],
    )
    def test_one_that_leads_nowhere_is_refused(self, type, version, said):
        domain = a_domain()
        stream = domain.stream("invoices")
        paid(stream)
        stream.upcaster(type, version=version)(dict)

        assert said in refused(domain)

    def test_one_that_fails_says_of_which_version_the_payload_was_taken_to_be(self):
        stream = Stream("invoices")
        stream.upcaster("invoice.paid", version=1)(lambda data: {**data, "amount": data["euros"] * 100})
        declared = event_type_of(paid(stream, version=2))
        event = new_event("invoice.paid", subject="x", data={"number": "7", "amount": 5})
        with pytest.raises(
            InvalidEvent, match=r"not a payload of version 1 of invoice\.paid: .*KeyError: 'euros'; `dataschema`"
        ):
            declared.decode(event)

    def test_one_may_make_whatever_msgspec_writes(self):
        stream = Stream("visits")

        @stream.event("visit.made", version=2, subject="visit/{id}")
        class Visit(msgspec.Struct, frozen=True):
            id: str
            day: date

        stream.upcaster("visit.made", version=1)(lambda data: {"id": data["id"], "day": date(2026, 1, data["day"])})
        event = new_event("visit.made", subject="x", data={"id": "7", "day": 5})

        assert date(2026, 1, 5) == event_type_of(Visit).decode(event).day

    @pytest.mark.parametrize("made", [{"number": "7", "amount": float("nan")}, {"number": "7", "amount": object()}])
    def test_what_is_no_json_makes_an_invalid_event(self, made):
        stream = Stream("invoices")
        stream.upcaster("invoice.paid", version=1)(lambda data: made)
        declared = event_type_of(paid(stream, version=2))
        with pytest.raises(InvalidEvent, match="not a valid Paid"):
            declared.decode(new_event("invoice.paid", subject="x", data={}))

    def test_a_payload_that_its_struct_refuses_in_any_way_makes_an_invalid_event(self):
        stream = Stream("invoices")

        @stream.event("invoice.paid", subject="invoice/{number}")
        class Strict(msgspec.Struct, frozen=True):
            number: str

            def __post_init__(self):
                {}[self.number]

        with pytest.raises(InvalidEvent, match="not a valid Strict: KeyError: '7'"):
            event_type_of(Strict).decode(new_event("invoice.paid", subject="x", data={"number": "7"}))

    def test_a_payload_of_a_newer_version_asks_for_an_upgrade(self):
        declared = event_type_of(paid(Stream("invoices")))
        event = new_event("invoice.paid", subject="x", data={}, dataschema="invoice.paid/2")
        with pytest.raises(InvalidEvent, match="newer than 1, the one known here: upgrade"):
            declared.decode(event)


class TestTwoDomains:
    @pytest.mark.parametrize(
        ("what", "declare"),
        [
            ("stream invoices", lambda domain: domain.stream("invoices")),
            ("event type invoice.paid", lambda domain: paid(domain.stream(f"of-{domain.name}"))),
            ("projection revenue", lambda domain: domain.projection("revenue", "a:b", reads=["job.failed"])),
            ("worker receipt", lambda domain: domain.worker("receipt", "a:b", on="job.failed", ends="job.completed")),
            ("clock remind", lambda domain: domain.clock("remind", "a:b", every=1)),
            ("command bills", lambda domain: domain.command("a:b", help="", name="bills")),
            ("setting RECEIPTS_URL", lambda domain: domain.setting("RECEIPTS_URL", "", "")),
        ],
    )
    def test_that_declare_the_same_name_are_both_named(self, what, declare):
        one, other = a_domain("one", "acme.one"), a_domain("other", "bolt.other")
        declare(one)
        declare(other)

        assert f"one (acme.one) and other (bolt.other) both declare the {what}: rename it in one of them" == refused(
            one, other
        )

    def test_of_one_name_in_one_module_are_named_with_it(self):
        assert "acme.domain declares the domain invoices twice: rename one of them" == refused(
            a_domain(module="acme.domain"), a_domain(module="acme.domain")
        )

    def test_of_one_name_are_both_named(self):
        said = refused(a_domain(module="acme.domain"), a_domain(module="bolt.domain"))

        assert "acme.domain and bolt.domain both declare the domain invoices" in said

    def test_with_a_projection_and_a_worker_of_one_name_are_both_named(self):
        one, other = a_domain("one", "acme.one"), a_domain("other", "bolt.other")
        one.projection("receipt", "a:b", reads=["job.completed"])
        other.worker("receipt", "a:b", on="job.completed", ends="job.failed")

        assert "one (acme.one) and other (bolt.other) both declare the consumer receipt" in refused(one, other)

    def test_that_require_each_other_are_shown_in_their_circle(self):
        circle = [a_domain("one", requires=["two"]), a_domain("two", requires=["three"])]

        assert "one -> two -> three -> one" in refused(*circle, a_domain("three", requires=["one"]))

    def test_stand_behind_those_that_they_require(self):
        catalogue = Catalogue([a_domain("one", requires=["two"]), a_domain("two")])

        assert ["two", "one"] == [domain.name for domain in catalogue.domains]

    def test_of_which_one_is_missing_say_so(self):
        assert "the domain invoices (acme.domain) requires billing, which is not installed" == refused(
            a_domain(module="acme.domain", requires=["billing"])
        )


class TestWhatIsRead:
    @pytest.mark.parametrize(
        ("reads", "said"),
        [
            (["invoice.paid"], "revenue reads invoice.paid, which no installed domain declares"),
            ([Stream("invoices")], "revenue reads the stream invoices, which no installed domain declares"),
            ([Paid], "revenue reads Paid is not declared as an event"),
            ([], "revenue reads nothing"),
        ],
    )
    def test_a_projection_or_worker_reads_what_is_declared(self, reads, said):
        projection, worker = a_domain(), a_domain()
        projection.projection("revenue", "a:b", reads=reads)
        worker.worker("revenue", "a:b", on=reads, ends="receipt.sent")

        assert said in refused(projection)
        assert said in refused(worker)

    def test_a_stream_is_read_as_such_and_not_by_its_name(self):
        domain = a_domain()
        domain.stream("invoices")
        domain.projection("revenue", "a:b", reads="invoices")
        assert "revenue reads 'invoices', which is a stream, not an event type: pass its Stream" == refused(domain)

    def test_a_worker_ends_with_what_is_declared(self):
        domain = a_domain()
        type = paid(domain.stream("invoices"))
        domain.worker("receipt", "a:b", on=type, ends=["receipt.sent"])

        assert "receipt ends with receipt.sent, which no installed domain declares" in refused(domain)

    def test_a_worker_whose_work_never_ends_is_refused(self):
        domain = a_domain()
        type = paid(domain.stream("invoices"))
        domain.worker("receipt", "a:b", on=type, ends=[])

        assert "receipt ends with nothing: name in ends=" in refused(domain)

    @pytest.mark.parametrize("other", [{"target": "a:b"}, {"failed": "a:b"}])
    def test_a_worker_with_a_handler_has_no_function(self, other):
        with pytest.raises(DomainInvalid, match="receipt has a handler="):
            a_domain().worker("receipt", on="job.completed", ends="job.failed", handler="a:b", **other)

    @pytest.mark.parametrize("several", [False, True])
    def test_one_event_type_stands_for_a_list_of_it(self, several):
        domain = a_domain()
        stream = domain.stream("invoices")
        for number, read in enumerate((paid(stream), "invoice.paid", stream)):
            domain.projection(f"revenue-{number}", "a:b", reads=[read] if several else read)
            domain.worker(f"receipt-{number}", "a:b", on=(read,) if several else read, ends=[read] if several else read)

        catalogue = Catalogue([domain])

        assert {frozenset({"invoice.paid"})} == set(catalogue.kinds.values())
        assert [1] * 3 == [len(worker.ends) for worker in catalogue.workers.values()]

    def test_the_name_of_the_log_is_taken(self):
        domain = a_domain(module="acme.domain")
        domain.clock("log", "a:b", every=1)

        assert "playhead and invoices (acme.domain) both declare the consumer log" in refused(domain)


class TestExtensions:
    def test_of_a_kind_that_does_not_exist_name_those_that_do(self):
        with pytest.raises(DomainInvalid, match="no extension 'chekc'; there are check, demo, observer"):
            a_domain().extend("chekc", "a:b")

    @pytest.mark.parametrize("what", ["files", "capture"])
    def test_of_which_there_can_be_one_name_both_that_declare_it(self, what):
        one, other = a_domain("one", "acme.one"), a_domain("other", "bolt.other")
        one.extend(what, "a:b")
        other.extend(what, "a:b")

        assert f"acme.one and bolt.other both declare the extension {what}" in refused(one, other)
        assert "a:b" == Catalogue([one]).extension(what)

    def test_of_other_kinds_are_there_from_every_domain(self):
        one, other = a_domain("one"), a_domain("other")
        one.extend("check", "a:b")
        other.extend("check", "c:d")

        assert ["a:b", "c:d"] == Catalogue([one, other]).extensions("check")


class TestMigrations:
    def test_are_beside_the_module(self):
        assert Path(__file__).parent / "sql" == a_domain(migrations="sql").migrations

    def test_of_a_module_without_a_file_need_an_absolute_path(self, tmp_path):
        with pytest.raises(DomainInvalid, match=r"'sql' is relative .* __main__, which has none: .* absolute path"):
            a_domain(module="__main__", file=None, migrations="sql")

        assert tmp_path == a_domain(module="__main__", file=None, migrations=str(tmp_path)).migrations


class TestNamesOfPlayhead:
    @pytest.fixture
    def install(self, monkeypatch):
        """Make a domain the only one that is installed."""

        def install(domain):
            readers = ("commands.app", "settings.settings", "projections.migration_files")
            for module in (f"playhead.{reader}" for reader in readers):
                monkeypatch.setattr(sys.modules[module], "installed", lambda: Catalogue([domain]))

        return install

    def test_a_command_of_playhead_is_refused(self, install):
        domain = a_domain(module="acme.domain")
        domain.command("a:b", help="", name="status")
        install(domain)

        with pytest.raises(DomainsCollide, match=r"playhead and acme\.domain both declare the command status"):
            listed()

    @pytest.mark.parametrize("name", ["DATABASE_URL", "PLAYHEAD_BATCH", "BATCH"])
    def test_a_setting_of_playhead_or_its_key_in_the_file_is_refused(self, install, name):
        domain = a_domain(module="acme.domain")
        domain.setting(name, "", "Another one.")
        install(domain)

        with pytest.raises(DomainsCollide, match=rf"playhead declares .*{name}.*acme\.domain declares {name}"):
            declared()

    def test_a_setting_that_nobody_declares_is_refused(self, install):
        domain = a_domain(module="acme.domain")
        domain.clock("remind", "a:b", every=a_domain().setting("REMIND_SECONDS", 5, "Seconds between reminders."))
        install(domain)

        with pytest.raises(DomainInvalid, match="remind refers to the setting REMIND_SECONDS, which no installed"):
            declared()

    def test_a_directory_without_migrations_is_refused(self, tmp_path):
        with pytest.raises(DomainInvalid, match=r"invoices \(acme_invoices\.domain\) has no numbered SQL file"):
            migrations([a_domain(migrations=str(tmp_path))])

    @pytest.mark.parametrize(
        "name",
        ["tables.sql", "1_tables.sql", "00001_tables.sql", "0001-tables.sql", "0001.sql", "0001_.sql", "0001_A.SQL"],
    )
    def test_a_migration_without_a_number_of_four_digits_is_refused(self, tmp_path, name):
        (tmp_path / "0001_first.sql").touch()
        (tmp_path / "README.md").touch()
        (tmp_path / name).touch()

        with pytest.raises(DomainInvalid, match=rf"{re.escape(name)}, .* is not named by a number of four digits"):
            migrations([a_domain(migrations=str(tmp_path))])

    def test_two_migrations_of_one_number_are_refused(self, tmp_path):
        (tmp_path / "0001_a.sql").touch()
        (tmp_path / "0001_b.sql").touch()

        with pytest.raises(DomainInvalid, match=r"have one number, .*0001_a\.sql and 0001_b\.sql: number them in the"):
            migrations([a_domain(migrations=str(tmp_path))])


class TestFinding:
    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        """A module on the path, with this text."""
        monkeypatch.syspath_prepend(str(tmp_path))

        def write(text):
            (tmp_path / "acme_module.py").write_text(text)
            sys.modules.pop("acme_module", None)

        yield write
        sys.modules.pop("acme_module", None)

    def test_what_a_domain_prints_does_not_stand_in_the_output_of_a_command(self, package, capsys):
        package("from playhead import Domain\nprint('hello')\ninvoices = Domain('invoices')\n")
        load([Found("acme_module:invoices", "a test")])

        assert ("", "hello\n") == capsys.readouterr()

    def test_a_domain_named_twice_is_one(self, package):
        package("from playhead import Domain\ninvoices = Domain('invoices')\n")
        found = load([Found("acme_module:invoices", "a test"), Found("acme_module:invoices", "another")])

        assert ["invoices"] == [domain.name for domain in found]

    @pytest.mark.parametrize(
        ("target", "text", "said"),
        [
            ("no_such_module:invoices", "", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("acme_module:invoices", "", "AttributeError: module 'acme_module' has no attribute 'invoices'"),
            ("acme_module:invoices", "import no_such_module", "No module named 'no_such_module'"),
            ("acme_module:invoices", "invoices = (", "SyntaxError"),
            ("acme_module:invoices", "raise SystemExit('stop')", "SystemExit: stop"),
            ("acme_module:invoices", "invoices = 7", "is not a Domain, but of type int"),
            ("acme_module", "", "write module:attribute"),
            (":invoices", "", "write module:attribute"),
            ("acme_module:", "", "write module:attribute"),
        ],
    )
    def test_a_domain_that_cannot_be_had_is_named_with_what_names_it(self, package, target, text, said):
        package(text)
        with pytest.raises(DomainNotLoaded) as caught:
            load([Found(target, "domains in playhead.toml")])

        assert target in str(caught.value)
        assert "(domains in playhead.toml)" in str(caught.value)
        assert said in str(caught.value)

    def test_a_declaration_that_is_wrong_says_so_and_not_that_it_cannot_be_imported(self, package):
        package("from playhead import Domain\ninvoices = Domain('In voices')")
        with pytest.raises(DomainInvalid) as caught:
            load([Found("acme_module:invoices", "PLAYHEAD_DOMAINS")])

        assert (
            "the declaration of acme_module:invoices (PLAYHEAD_DOMAINS) is wrong: the name of a domain has lower-case"
            " letters, digits and hyphens; not 'In voices'" == str(caught.value)
        )

    def test_entry_points_are_read_from_the_metadata_of_installed_packages_those_of_playhead_first(self, tmp_path):
        for name, text in {
            "acme_invoices-1.0.dist-info": "[console_scripts]\na = b:c\n\n[playhead.domains]\nit = acme.domain:it\n",
            "bolt.egg-info": "[playhead.domains]\n# none yet\nbolt = bolt:domain [extra]\n",
            "other-1.0.dist-info": "[console_scripts]\nother = other:main\n",
            "playhead-1.0.dist-info": "[playhead.domains]\n20-b = b:b\n10-z = z:z\n",
        }.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "entry_points.txt").write_text(text)

        assert [
            Found("z:z", "the installed package playhead"),
            Found("b:b", "the installed package playhead"),
            Found("bolt:domain", "the installed package bolt"),
            Found("acme.domain:it", "the installed package acme_invoices"),
        ] == list(entry_points([str(tmp_path), str(tmp_path / "nowhere")]))

    def test_the_environment_counts_before_the_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "playhead.toml").write_text('domains = ["file:domain"]')
        from_file = named()
        monkeypatch.setenv("PLAYHEAD_DOMAINS", "one:domain, two:domain,")

        assert [Found("file:domain", "domains in playhead.toml")] == from_file
        assert ["one:domain", "two:domain"] == [found.target for found in named()]

    @pytest.mark.parametrize("value", ['"a:b"', "[1]", "{}"])
    def test_domains_of_another_form_are_refused(self, tmp_path, monkeypatch, value):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "playhead.toml").write_text(f"domains = {value}")

        with pytest.raises(InvalidSetting, match="must be a list"):
            named()

    def test_a_file_that_is_not_toml_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "playhead.toml").write_text("domains = [")

        with pytest.raises(InvalidSetting, match=r"playhead\.toml is not TOML: "):
            named()

    def test_the_domains_of_playhead_stand_first(self):
        assert ["jobs", "organizations", "recordings", "content", "notes", "documents"] == [
            domain.name for domain in discovery.installed().domains if domain.package == "playhead"
        ]


def test_workers_on_one_event_type_are_rivals():
    domain = a_domain()
    stream = domain.stream("invoices")
    paid(stream)
    paid(stream, "invoice.canceled")
    for name, on in (("first", "invoice.paid"), ("second", stream), ("third", "invoice.canceled")):
        domain.worker(name, "a:b", on=on, ends="invoice.paid")
    catalogue = Catalogue([domain])

    assert [{"second"}, {"first", "third"}] == [catalogue.rivals_of(name) for name in ("first", "second")]
