"""Whether others can change what a process believes: a settings file names servers and code to import.

As for ssh and git, its owner must be this user or root, and nobody else may write to it.
"""

import grp
import os
import pwd
import stat
from pathlib import Path

from playhead.streams.errors import Untrusted
from playhead.streams.names import TrustVariable


def read_trusted(path: Path) -> bytes | None:
    """The content of a settings file, None if there is none.

    Raises:
        Untrusted: another user owns it, or may write to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        _check_owner(path, os.lstat(path))  # a link says which file is read
        found = os.fstat(descriptor)
        _check(path, found, shared=False)
        if not stat.S_ISREG(found.st_mode):
            raise Untrusted(f"{path} is no file: remove it, or replace it by a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def refuse_untrusted(directory: Path, *, shared: bool = True) -> None:
    """Refuse a directory whose content another user can replace, if it is there; a `shared` one may be a group's.

    Raises:
        Untrusted: another user owns it, or may write to it.
    """
    try:
        found = directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    _check(directory, found, shared=shared)


def refuse_shared(directory: Path) -> None:
    """Refuse a directory, or a link to one, that another user may look into.

    Raises:
        Untrusted: another user owns it, or may enter it, or it is a link.
        FileNotFoundError: it is not there.
    """
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Untrusted(f"{directory} is a link or a file: remove it")
    _check_owner(directory, found)
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Untrusted(f"{directory} can be entered by other users of this machine: run `chmod 700 {directory}`")


def _check(path: Path, found: os.stat_result, *, shared: bool) -> None:
    _check_owner(path, found)
    writable = found.st_mode & (stat.S_IWOTH if shared else stat.S_IWOTH | stat.S_IWGRP)
    if writable & stat.S_IWOTH:
        raise Untrusted(f"{path} can be written by every user of this machine: run `chmod o-w {path}`")
    if writable and not _is_private(found.st_gid):
        raise Untrusted(f"{path} can be written by the group {_group(found.st_gid)}: run `chmod g-w {path}`")


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid in _trusted():
        return
    own = os.geteuid()
    raise Untrusted(
        f"{path} belongs to {_user(found.st_uid)}, and this is {_user(own)}: run as its owner, or run"
        f" `chown {own} {path}`; if it is meant to be so, as in a container with files of its host, set"
        f" {TrustVariable.TRUSTED_UIDS}={found.st_uid}"
    )


def _trusted() -> set[int]:
    """Who could do anything anyhow, who runs this, who runs it through sudo, and whom the environment names."""
    named = os.environ.get(TrustVariable.TRUSTED_UIDS, "").replace(",", " ").split()
    if os.geteuid() == 0:
        named.append(os.environ.get(TrustVariable.SUDO_UID, ""))
    return {0, os.geteuid(), *(int(one) for one in named if one.isascii() and one.isdecimal())}


def _is_private(group: int) -> bool:
    """Whether nobody but this user, or root, is in a group, as where each user has a group of the same name."""
    if group == 0:
        return True
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


def _user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"the user {uid}"


def _group(gid: int) -> str:
    try:
        return f"{grp.getgrgid(gid).gr_name} ({gid})"
    except KeyError:
        return str(gid)
