from pathlib import Path

import pytest

from playhead import Domain
from playhead.jobs.domain import OUTPUT_DIR
from playhead.settings.core import BATCH
from playhead.settings.errors import InvalidValue
from playhead.settings.masking import mask
from playhead.settings.settings import declared, load, problems, unknown_settings
from playhead.settings.urls import as_user
from playhead.streams.domains.discovery import chosen
from playhead.streams.domains.settings import GivenValues, Setting
from playhead.streams.errors import InvalidSetting


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch) -> Path:
    """An empty working directory and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in declared():
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def origin(name: str, data_dir: Path | None = None) -> tuple[str, str]:
    return next((one.value, one.origin) for one in load(data_dir).origins if one.name == name)


def test_a_flag_wins_over_the_environment_then_dotenv_then_toml_then_the_default(directory, monkeypatch):
    seen = [origin("PLAYHEAD_DATA_DIR")]
    (directory / "playhead.toml").write_text('data_dir = "from-toml"\nbatch = 7\n')
    seen.append(origin("PLAYHEAD_DATA_DIR"))
    (directory / ".env").write_text("PLAYHEAD_DATA_DIR=from-dotenv\n")
    seen.append(origin("PLAYHEAD_DATA_DIR"))
    monkeypatch.setenv("PLAYHEAD_DATA_DIR", "from-environment")
    seen += [origin("PLAYHEAD_DATA_DIR"), origin("PLAYHEAD_DATA_DIR", Path("from-flag"))]

    assert seen == [
        ("playhead-data", "default"),
        ("from-toml", "playhead.toml"),
        ("from-dotenv", ".env"),
        ("from-environment", "environment"),
        ("from-flag", "flag"),
    ]
    assert load()[BATCH] == 7


def test_directories_without_a_setting_lie_in_the_data_directory(monkeypatch):
    monkeypatch.setenv("EVENT_LOG_DIR", "/log")
    found = load(Path("data"))

    assert ("data/outputs", Path("/log")) == (found[OUTPUT_DIR], found.event_log_dir)


def test_a_url_is_made_of_host_and_password_where_none_is_set(monkeypatch):
    monkeypatch.setenv("REDIS_HOST", "db")
    monkeypatch.setenv("REDIS_PASSWORD", "a/b@c")
    monkeypatch.setenv("REDIS_SSL", "yes")

    assert load().redis_url == "rediss://:a%2Fb%40c@db:6379/0"
    assert origin("REDIS_URL")[1] == "REDIS_HOST"

    monkeypatch.setenv("REDIS_URL", "redis://localhost")

    assert load().redis_url == "redis://localhost"


@pytest.mark.parametrize(
    ("shown", "url"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:***@host:6379/0", "redis://:secret@host:6379/0"),
        ("redis+sentinel://user:***@a,b/mine/0", "redis+sentinel://user:se:cret@a,b/mine/0"),
        ("redis://:***@host", "redis://:se/cr@et@host"),
        ("postgresql://me:***@host/db?sslmode=require", "postgresql://me:secret@host/db?sslmode=require"),
        ("postgresql://host/db?user=me&password=***", "postgresql://host/db?user=me&password=secret"),
        ("host=h password=*** dbname=d", "host=h password='sec ret' dbname=d"),
        ("unix://me:***@/run/a@b:c/redis.sock", "unix://me:secret@/run/a@b:c/redis.sock"),
        ("unix:///run/a@b:c/redis.sock?password=***&db=1", "unix:///run/a@b:c/redis.sock?password=secret&db=1"),
        ("postgresql://me:***@/db?host=/run/a@b:c&port=5432", "postgresql://me:secret@/db?host=/run/a@b:c&port=5432"),
    ],
)
def test_a_url_is_shown_without_its_password(shown, url):
    assert shown == mask(url)


def test_a_password_of_its_own_is_never_shown(monkeypatch):
    monkeypatch.setenv("REDIS_HOST", "localhost")
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")

    assert "hunter2" not in str([one.shown for one in load().origins])


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("PLAYHEAD_PARTITIONS", "0", "from 1 to 4096"),
        ("PLAYHEAD_PARTITIONS", "two", "whole number"),
        ("PLAYHEAD_HTTP_PORT", "65536", "from 0 to 65535"),
        ("PLAYHEAD_LEASE_SECONDS", "nan", "number from 1"),
        ("PLAYHEAD_BATCH", "-1", "from 1 up"),
        ("PLAYHEAD_LOG_FORMAT", "xml", "auto, console, json"),
        ("PLAYHEAD_LOG_LEVEL", "loud", "info, warning, error, critical"),
        ("REDIS_TIMEOUT", "0", "number from 1"),
        ("REDIS_URL", "memcached://host", "redis://"),
        ("REDIS_URL", "redis://:hunter2@host:port", "cannot be read"),
        ("DATABASE_URL", "postgresql://me:hunter2@host:port/db", "cannot be read"),
        ("DATABASE_URL", "postgresql+psycopg://me:hunter2@host/db", "must start with postgresql://"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name_and_origin_without_secrets(monkeypatch, name, value, wanted):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidValue) as refused:
        load()

    assert str(refused.value).startswith(f"{name} (environment)")
    assert wanted in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_every_problem_is_found_at_once(directory, monkeypatch):
    (directory / "playhead.toml").write_text('partitions = 0\nlog_format = "xml"\n')
    monkeypatch.setenv("REDIS_TIMEOUT", "soon")

    assert {one.split()[0] for one in problems()} == {"PLAYHEAD_PARTITIONS", "PLAYHEAD_LOG_FORMAT", "REDIS_TIMEOUT"}


def test_an_unknown_name_is_told_with_the_nearest(directory, monkeypatch):
    monkeypatch.setenv("PLAYHEAD_PARTITION", "2")
    monkeypatch.setenv("REDIS_URI", "redis://x")
    monkeypatch.setenv("REDIS_PORT_6379_TCP", "set by somebody else")
    (directory / ".env").write_text("PLAYHEAD_BATCHES=1\nSOMETHING=else\n")
    (directory / "playhead.toml").write_text('output_dirr = "x"\n')

    assert unknown_settings() == [
        "PLAYHEAD_PARTITION (environment) is not a setting; did you mean PLAYHEAD_PARTITIONS?",
        "REDIS_URI (environment) is not a setting; did you mean REDIS_URL?",
        "PLAYHEAD_BATCHES (.env) is not a setting; did you mean PLAYHEAD_BATCH?",
        "output_dirr (playhead.toml) is not a setting; did you mean output_dir?",
    ]


@pytest.mark.parametrize("toml", ["= nothing", "batch = [1]"])
def test_a_toml_file_that_cannot_be_read_is_named(directory, toml):
    (directory / "playhead.toml").write_text(toml)
    with pytest.raises(InvalidSetting, match=r"playhead\.toml"):
        load()


NO_TLS, NO_PASSWORD = "without TLS", "without a password"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("REDIS_URL", "redis://:hunter2@db", NO_TLS),
        ("REDIS_URL", "redis://:hunter2@10.0.0.1:6379/0", NO_TLS),
        ("REDIS_URL", "redis://:hunter2@[2001:db8::1]", NO_TLS),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1.example.org", NO_TLS),
        ("REDIS_URL", "redis+sentinel://:hunter2@localhost,db/mine", NO_TLS),
        ("REDIS_URL", "redis+cluster://:hunter2@a,b", NO_TLS),
        ("REDIS_URL", "rediss://db", NO_PASSWORD),
        ("REDIS_HOST", "db", NO_TLS),
        ("DATABASE_URL", "postgresql://me:hunter2@db/x", NO_TLS),
        ("DATABASE_URL", "postgresql://me:hunter2@db/x?sslmode=prefer", NO_TLS),
        ("DATABASE_URL", "postgresql://me:hunter2@localhost,db/x", NO_TLS),
        ("DATABASE_URL", "postgresql://me:hunter2@localhost/x?hostaddr=10.0.0.1", NO_TLS),
        ("DATABASE_URL", "host=db password=hunter2", NO_TLS),
        ("DATABASE_URL", "postgresql://me@db/x?sslmode=verify-full", NO_PASSWORD),
    ],
)
def test_a_server_elsewhere_without_tls_or_password_is_refused_unless_allowed(
    monkeypatch, directory, name, value, problem
):
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidValue) as refused:
        load()
    said = problems()
    monkeypatch.setenv("PLAYHEAD_ALLOW_INSECURE", "true")
    load()

    assert [str(refused.value)] == said
    assert problem in said[0]
    assert "PLAYHEAD_ALLOW_INSECURE=true" in said[0]
    assert "hunter2" not in said[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "redis://localhost"),
        ("REDIS_URL", "redis://127.0.0.2:6379"),
        ("REDIS_URL", "redis://[::1]"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("REDIS_URL", "rediss://:secret@db"),
        ("REDIS_URL", "redis+cluster://:secret@a,b?ssl=true"),
        ("REDIS_URL", "redis+sentinel://:secret@a,b/mine?ssl=true"),
        ("DATABASE_URL", "postgresql:///x"),
        ("DATABASE_URL", "postgresql://localhost/x"),
        ("DATABASE_URL", "postgresql:///x?host=/run/postgresql"),
        ("DATABASE_URL", "postgresql://me:secret@db/x?sslmode=verify-full"),
        ("DATABASE_URL", "postgresql://me@db/x?sslmode=verify-full&passfile=/etc/passwd"),
    ],
)
def test_a_server_here_or_with_tls_and_password_is_not_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    assert [] == problems()


def test_what_libpq_reads_from_the_environment_counts(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql:///x")
    monkeypatch.setenv("PGHOST", "db")
    refused = problems()
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGPASSWORD", "secret")

    assert NO_TLS in refused[0]
    assert [] == problems()


class TestSettingsOfADomain:
    @pytest.fixture
    def domain(self):
        domain = Domain("invoices")
        rate = domain.setting("INVOICES_RATE", "2", "Invoices a second.", read=int)
        domain.setting("INVOICES_KEY", "0", "The key of the bank.", read=int, secret=True)
        domain.clock("remind", "a:b", every=domain.setting("REMIND_SECONDS", 5.0, "Seconds between two reminders."))
        with chosen([domain]):
            yield rate

    def test_an_error_of_a_reader_says_of_which_setting_and_from_where(self, domain, directory):
        (directory / "playhead.toml").write_text('invoices_rate = "fast"')
        with pytest.raises(InvalidValue) as refused:
            load()

        assert (
            "INVOICES_RATE (playhead.toml) is 'fast'; it cannot be read:"
            " ValueError: invalid literal for int() with base 10: 'fast'" == str(refused.value)
        )

    def test_an_error_of_a_reader_quotes_no_secret(self, domain, monkeypatch):
        monkeypatch.setenv("INVOICES_KEY", "hunter2")

        assert ["INVOICES_KEY (environment) is '***'; it cannot be read: ValueError"] == problems()
        with pytest.raises(InvalidSetting, match=r"^INVOICES_KEY is secret; it cannot be read: ValueError$"):
            GivenValues({"INVOICES_KEY": "hunter2"})[Setting("INVOICES_KEY", "0", "", int, secret=True)]

    def test_a_value_that_a_test_gives_is_refused_by_name(self, domain):
        with pytest.raises(InvalidSetting, match=r"^INVOICES_RATE is 'fast'; it cannot be read: ValueError: "):
            GivenValues({"INVOICES_RATE": "fast"})[domain]

    def test_the_seconds_between_rounds_of_a_clock_are_above_zero(self, domain, monkeypatch):
        monkeypatch.setenv("REMIND_SECONDS", "0")

        (said,) = problems()
        assert said == (
            "REMIND_SECONDS (environment) is '0'; it must be a number of seconds above 0: the clock remind runs that"
            " often"
        )


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("redis://h:6379/0", "redis://new:pw@h:6379/0"),
        ("rediss://:old@h/0?ssl_ca_certs=f&password=old", "rediss://new:pw@h/0?ssl_ca_certs=f"),
        ("unix:///run/redis.sock?db=1", "unix://new:pw@/run/redis.sock?db=1"),
        ("postgresql://a:b@h,i:1/d?user=a&sslmode=verify-full", "postgresql://new:pw@h,i:1/d?sslmode=verify-full"),
        ("postgresql://a:b@/d?host=/r/a%20b%2Bc&port=5", "postgresql://new:pw@/d?host=%2Fr%2Fa%20b%2Bc&port=5"),
        ("user=a dbname=d host=h", "user=new dbname=d host=h password=pw"),
    ],
)
def test_a_url_is_made_for_another_user_of_the_same_server(url, other):
    assert other == as_user(url, "new", "pw")
