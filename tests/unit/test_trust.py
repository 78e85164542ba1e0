"""Whose files and directories count: those of this user and of root, which nobody else may write to."""

import os
from pathlib import Path

import pytest

from playhead.embedded.servers import running_servers
from playhead.settings.settings import load, unknown_settings
from playhead.streams.appending.spool import Spool
from playhead.streams.domains.discovery import named
from playhead.streams.errors import InvalidSetting, Untrusted
from playhead.streams.storage.trust import read_trusted, refuse_untrusted

STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
FILES = pytest.mark.parametrize("name", ["playhead.toml", ".env"])


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch) -> Path:
    for name in ("SUDO_UID", "PLAYHEAD_TRUSTED_UIDS", "PLAYHEAD_BATCH", "PLAYHEAD_DOMAINS", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write():
    """Write a settings file of the name; gives the owner, or more rights, to others."""

    def written(name: str, mode: int = 0o600, owner: int | None = None, group: int | None = None) -> Path:
        path = Path(name)
        path.write_text("PLAYHEAD_BATCH=7\n" if name == ".env" else "batch = 7\n")
        path.chmod(mode)
        if owner is not None or group is not None:
            os.chown(path, -1 if owner is None else owner, -1 if group is None else group)
        return path

    return written


@FILES
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
def test_a_settings_file_of_this_user_is_read(write, name, mode):
    write(name, mode)

    assert "7" == next(one.value for one in load().origins if one.name == "PLAYHEAD_BATCH")


@FILES
@pytest.mark.parametrize("mode", [0o602, 0o666, 0o777])
def test_a_settings_file_that_everybody_may_write_is_refused(write, name, mode):
    write(name, mode)
    for read in (load, named):
        with pytest.raises(Untrusted, match=f"chmod o-w {name}"):
            read()


@as_root
@FILES
def test_a_settings_file_of_another_user_is_refused(write, name):
    write(name, 0o644, STRANGER)
    for read in (load, named):
        with pytest.raises(Untrusted, match=f"{name} belongs to the user {STRANGER}.*PLAYHEAD_TRUSTED_UIDS={STRANGER}"):
            read()


@as_root
@FILES
@pytest.mark.parametrize("variable", ["SUDO_UID", "PLAYHEAD_TRUSTED_UIDS"])
def test_it_is_read_by_its_owner_through_sudo_and_where_the_environment_names_the_owner(
    write, monkeypatch, name, variable
):
    write(name, 0o644, STRANGER)
    monkeypatch.setenv(variable, str(STRANGER))

    assert "7" == next(one.value for one in load().origins if one.name == "PLAYHEAD_BATCH")


@as_root
def test_several_users_can_be_named(write, monkeypatch):
    monkeypatch.setenv("PLAYHEAD_TRUSTED_UIDS", f"1, {STRANGER}")

    assert read_trusted(write(".env", 0o644, STRANGER)) is not None


@as_root
@pytest.mark.parametrize("value", ["x", "-1", "", "²"])
def test_what_is_no_number_of_a_user_names_nobody(write, monkeypatch, value):
    monkeypatch.setenv("PLAYHEAD_TRUSTED_UIDS", value)
    with pytest.raises(Untrusted):
        read_trusted(write(".env", 0o644, STRANGER))


@as_root
def test_a_settings_file_cannot_name_whom_to_trust(write):
    write("playhead.toml", 0o644, STRANGER)
    Path(".env").write_text(f"PLAYHEAD_TRUSTED_UIDS={STRANGER}\n")
    with pytest.raises(Untrusted):
        load()


def test_whom_to_trust_is_known_in_the_environment_and_no_setting_of_a_file(monkeypatch):
    monkeypatch.setenv("PLAYHEAD_TRUSTED_UIDS", "1")
    in_environment = unknown_settings()
    Path(".env").write_text("PLAYHEAD_TRUSTED_UIDS=1\n")

    assert [] == in_environment
    assert any(one.startswith("PLAYHEAD_TRUSTED_UIDS (.env) is not a setting") for one in unknown_settings())


@as_root
def test_a_group_of_others_may_not_write_a_settings_file_and_may_read_it(write):
    with pytest.raises(Untrusted, match=f"by the group {STRANGER}: run `chmod g-w .env`"):
        read_trusted(write(".env", 0o660, group=STRANGER))

    assert read_trusted(write(".env", 0o640, group=STRANGER)) is not None
    assert read_trusted(write(".env", 0o660, group=0)) is not None


@as_root
def test_a_link_of_another_user_is_not_followed(write):
    write("mine.toml")
    Path("playhead.toml").symlink_to("mine.toml")
    os.chown("playhead.toml", STRANGER, -1, follow_symlinks=False)
    with pytest.raises(Untrusted):
        load()


def test_a_link_of_this_user_is(write):
    write("mine.toml")
    Path("playhead.toml").symlink_to("mine.toml")
    load()


@FILES
def test_what_is_no_file_is_refused_without_waiting_for_it(name):
    os.mkfifo(name, 0o600)
    with pytest.raises(Untrusted, match="is no file"):
        load()


def test_a_dotenv_that_is_no_text_is_named():
    Path(".env").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSetting, match=r"\.env is not UTF-8"):
        load()


@as_root
def test_no_servers_are_found_in_a_data_directory_of_another_user(directory):
    """Whoever made `playhead-data` in a directory where commands are run would be sent the events."""
    planted = directory / "playhead-data"
    planted.mkdir(mode=0o755)
    (planted / "servers.json").write_text(
        '{"owner":1,"valkey":{"url":"redis://evil","pid":1,"version":"9"},"postgres":null}'
    )
    os.chown(planted, STRANGER, STRANGER)
    with pytest.raises(Untrusted, match="playhead-data belongs to"):
        running_servers(planted)


def test_a_data_directory_that_everybody_may_write_is_refused(directory):
    directory.chmod(0o1777)
    with pytest.raises(Untrusted, match="chmod o-w"):
        running_servers(directory)
    with pytest.raises(Untrusted, match="chmod o-w"):
        Spool(directory)


def test_a_directory_of_data_may_be_a_groups(directory):
    directory.chmod(0o2770)
    refuse_untrusted(directory)
    refuse_untrusted(directory / "not there")
