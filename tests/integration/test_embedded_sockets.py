"""Who can connect to the embedded servers, and who could answer in their place."""

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from playhead.embedded import sockets
from playhead.embedded.errors import SocketPathTooLong
from playhead.embedded.servers import embedded_servers, running_servers
from playhead.streams.errors import Untrusted
from tests.support.addresses import address, dial

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
NOBODY = 65534


@pytest.fixture
def short():
    """A directory that every user may enter, with a short path."""
    directory = Path(tempfile.mkdtemp(prefix="s-", dir=sockets.SHORTEST))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def long(tmp_path):
    """A data directory in which no socket has room."""
    return tmp_path / ("d" * 100) / "data"


@pytest.fixture
def runtime(short, monkeypatch):
    """XDG_RUNTIME_DIR."""
    directory = short / "runtime"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    return directory


def test_the_servers_listen_on_sockets_of_their_owner_alone(short):
    with embedded_servers(short / "data") as servers:
        listening = listens(short / "data")
        paths = [Path(address(url)) for url in (servers.redis_url, servers.database_url)]
        modes = [stat.S_IMODE(path.stat().st_mode) for path in paths]
        directories = {stat.S_IMODE(parent.stat().st_mode) for path in paths for parent in path.parents[:1]}

    assert [] == [one for one in listening if one.family != socket.AF_UNIX]
    assert [short / "data/sockets/valkey.sock", short / "data/sockets/postgres/.s.PGSQL.5432"] == paths
    assert [0o700, 0o700] == modes
    assert {0o700} == directories


def test_they_listen_on_ports_of_this_machine_if_that_is_wanted(tmp_path):
    with embedded_servers(tmp_path / "data", tcp=True) as servers:
        listening = listens(tmp_path / "data")
        assert answer(servers)
        assert running_servers(tmp_path / "data") == servers

    assert ["127.0.0.1", "127.0.0.1"] == [one.laddr.ip for one in listening]


def test_data_stay_whether_sockets_or_ports_are_used(tmp_path):
    for tcp in (False, True, False):
        with embedded_servers(tmp_path / "data", tcp=tcp) as servers:
            with redis.Redis.from_url(servers.redis_url) as client:
                client.incr("starts")
            with psycopg.connect(servers.database_url) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS starts ()")
                connection.execute("INSERT INTO starts DEFAULT VALUES")
                rows = connection.execute("SELECT count(*) FROM starts").fetchone()
            with redis.Redis.from_url(servers.redis_url) as client:
                count = client.get("starts")

    assert ((3,), b"3") == (rows, count)


@ROOT
@pytest.mark.parametrize("is_long", [False, True])
def test_another_user_can_neither_connect_nor_listen(short, runtime, is_long):
    data_dir = short / ("d" * 100 if is_long else "data")
    short.chmod(0o777)
    with embedded_servers(data_dir) as servers:
        runtime.chmod(0o755)  # even if what is above lets in anybody
        data_dir.chmod(0o755)
        said = [as_nobody(servers, url, what) for url in urls(servers) for what in ("connect", "replace")]
        assert answer(servers)

    assert ["PermissionError"] * 4 == said


@ROOT
def test_another_user_is_refused_by_a_server_that_became_nobody(short):
    """As this machine allows namespaces, the directories are given away as the launcher would."""
    with embedded_servers(short / "data", redis=False) as servers:
        (path,) = (Path(address(servers.database_url)),)
        for one in (path, path.parent):
            os.chown(one, NOBODY, NOBODY)
        said = [as_nobody(servers, servers.database_url, what) for what in ("connect", "replace")]
        assert answer(servers)

    assert ["PermissionError", "PermissionError"] == said


def test_a_stranger_on_the_port_of_a_killed_server_is_sent_nothing(tmp_path):
    with embedded_servers(tmp_path / "data", tcp=True) as servers:
        kill_servers(tmp_path / "data")
        for url in urls(servers):
            with listening_at(address(url)) as heard:
                assert running_servers(tmp_path / "data") is None
            assert [] == heard


@pytest.mark.parametrize("server", ["valkey", "postgres"])
@pytest.mark.parametrize("change", ["a link", "another owner", "another mode"])
def test_a_stranger_in_place_of_the_sockets_is_sent_nothing(long, short, runtime, server, change):
    """A directory for temporary files is everybody's: whoever removed ours there could have made another."""
    with embedded_servers(long, redis=server == "valkey", postgres=server == "postgres") as servers:
        (url,) = urls(servers)
        (directory,) = runtime.iterdir()
        kill_servers(long, alive=os.getpid())
        shutil.rmtree(directory)
        planted = short / "planted" if change == "a link" else directory
        Path(address(url).replace(str(directory), str(planted))).parent.mkdir(parents=True)
        planted.chmod(0o755 if change == "another mode" else 0o700)
        if change == "a link":
            directory.symlink_to(planted)
        if change == "another owner":
            if os.geteuid() != 0:
                pytest.skip("only root gives files away")
            os.chown(directory, NOBODY, NOBODY)
        with listening_at(address(url)) as heard, pytest.raises(Untrusted, match=str(directory)):
            running_servers(long)

    assert [] == heard


def test_the_control_a_directory_of_the_owner_is_used(long, runtime):
    with embedded_servers(long, postgres=False) as servers:
        kill_servers(long, alive=os.getpid())
        Path(address(servers.redis_url)).unlink()
        with listening_at(address(servers.redis_url)) as heard:
            running_servers(long)

    assert any(b"AUTH" in said for said in heard)


def test_a_long_path_gets_a_directory_elsewhere_and_keeps_it(long, runtime):
    with embedded_servers(long) as first:
        assert answer(first)
        assert running_servers(long) == first
    (directory,) = runtime.iterdir()
    with embedded_servers(long) as second:
        assert answer(second)

    assert first == second
    assert [directory] == list(runtime.iterdir())
    assert 0o700 == stat.S_IMODE(directory.stat().st_mode)


def test_a_copy_of_a_data_directory_has_sockets_of_its_own(long, runtime):
    with embedded_servers(long, postgres=False):
        pass
    shutil.copytree(long, copy := long.with_name("copy"))
    with embedded_servers(long, postgres=False) as servers, embedded_servers(copy, postgres=False) as others:
        assert answer(servers)
        assert answer(others)
        assert servers != others


@ROOT
@pytest.mark.parametrize("change", ["a link", "another owner", "another mode"])
def test_a_directory_elsewhere_that_others_changed_is_not_used_again(long, runtime, short, change):
    with embedded_servers(long, postgres=False) as first:
        pass
    (directory,) = runtime.iterdir()
    if change == "a link":
        shutil.rmtree(directory)
        directory.symlink_to(short)
    elif change == "another owner":
        os.chown(directory, NOBODY, NOBODY)
    else:
        directory.chmod(0o755)
    with embedded_servers(long, postgres=False) as second:
        assert answer(second)

    assert first != second


def test_a_runtime_directory_that_others_may_write_is_not_used(long, runtime):
    runtime.chmod(0o777)
    with embedded_servers(long, postgres=False) as servers:
        directory = Path(address(servers.redis_url)).parent

    assert [] == list(runtime.iterdir())
    assert Path(tempfile.gettempdir()).resolve() == directory.parent
    shutil.rmtree(directory)


def test_where_all_other_paths_are_too_long_the_sockets_are_in_tmp(long, monkeypatch):
    long.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with embedded_servers(long, postgres=False) as servers:
        assert answer(servers)
        directory = Path(address(servers.redis_url)).parent

    assert Path("/tmp").resolve() == directory.parent
    shutil.rmtree(directory)


def test_where_no_path_is_short_enough_the_error_says_what_to_do(long, monkeypatch):
    long.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(sockets, "SHORTEST", str(long))

    with pytest.raises(SocketPathTooLong, match="PLAYHEAD_EMBEDDED_TCP=true"), embedded_servers(long):
        pytest.fail("started")
    with embedded_servers(long, tcp=True, postgres=False) as servers:
        assert answer(servers)


@pytest.mark.parametrize("name", ["a b%20c\\d@e:f?g#h&i=jü[k]*", 'a,b"'])
def test_the_path_may_have_any_name(short, name):
    with embedded_servers(short / name) as servers:
        assert answer(servers)
        assert running_servers(short / name) == servers


def test_variables_of_libpq_do_not_change_which_server_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    with embedded_servers(tmp_path / "data", redis=False) as servers:
        assert answer(servers)


def urls(servers):
    return [url for url in (servers.redis_url, servers.database_url) if url is not None]


def answer(servers):
    """Whether those that run do."""
    if servers.redis_url is not None:
        with redis.Redis.from_url(servers.redis_url) as client:
            client.ping()
    if servers.database_url is not None:
        psycopg.connect(servers.database_url).close()
    return True


def listens(directory):
    running = json.loads((directory / "servers.json").read_text())
    return [
        connection
        for name in ("valkey", "postgres")
        for connection in psutil.Process(running[name]["pid"]).net_connections("all")
        if connection.status == psutil.CONN_LISTEN or (connection.family == socket.AF_UNIX and connection.laddr)
    ]


def kill_servers(directory, alive=None):
    """kill -9; with `alive`, servers.json then names that process, as if the number had been given again."""
    path = directory / "servers.json"
    running = json.loads(path.read_text())
    for name in ("valkey", "postgres"):
        if running[name] is not None:
            process = psutil.Process(running[name]["pid"])
            process.kill()
            with suppress(psutil.NoSuchProcess):
                os.waitid(os.P_PID, process.pid, os.WEXITED)
            if alive is not None:
                running[name]["pid"] = alive
    path.write_text(json.dumps(running))


@contextmanager
def listening_at(at):
    """Somebody else at an address, and what is said to him."""
    heard = []

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    heard.append(connection.recv(1000))

    with closing(socket.socket(socket.AF_UNIX if isinstance(at, str) else socket.AF_INET)) as listener:
        if not isinstance(at, str):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        Path(at).unlink(missing_ok=True) if isinstance(at, str) else None
        listener.bind(at)
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def as_nobody(servers, url, what):
    """The error that another user gets who connects to a server, or takes the place of its socket."""
    path = address(url)
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            if what == "connect":
                dial(path)
            else:
                os.unlink(path)  # noqa: PTH108
        except PermissionError:
            code = 1
        except BaseException:  # noqa: BLE001
            code = 2
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return {0: "done", 1: "PermissionError", 2: "something else"}[os.waitstatus_to_exitcode(status)]
