"""Becomes a server: ties its life to its owner's, leaves root if the server demands that, and executes it.

Runs as a script, by itself, before the server and with the server's process id. A `preexec_fn` could do the same, but
is unsafe in an owner that has threads.
"""

import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
REFUSED = 78


def main() -> None:
    note, death_signal, owner = (int(word) for word in sys.argv[1:4])
    leave_root, first = sys.argv[4] == "ordinary-user", 6 + int(sys.argv[5])
    given, command = [Path(word) for word in sys.argv[6:first]], sys.argv[first:]
    os.ftruncate(note, 0)
    os.pwrite(note, str(os.getpid()).encode(), 0)
    os.close(note)
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if leave_root:
        command = become_ordinary_user(given, command)
    # Last, because the kernel forgets it whenever a process changes its user.
    die_with(owner, death_signal)
    os.execv(command[0], command)  # noqa: S606  this is what a launcher is for


def die_with(owner: int, death_signal: int) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != owner:  # it died before the kernel knew that we care
        sys.exit(REFUSED)


def become_ordinary_user(given: list[Path], command: list[str]) -> list[str]:
    """Postgres refuses to run as root, and as a user without a name; gives the command, which may change.

    In a user namespace root, under another name, keeps its files and its way through every directory. If that is
    refused root becomes `nobody`, and what is given changes hands. The directories above stay root's alone: the server
    knows what it is given by descriptors.
    """
    is_root = os.geteuid() == 0
    if not is_root and _has_name(os.geteuid()):
        return command
    uid, gid = _somebody()
    if _namespace_is_allowed(uid, gid):
        for path in given:
            _give(path, os.geteuid(), os.getegid())
        _enter_namespace(uid, gid)
    elif is_root:
        if sys.platform != "linux":
            sys.exit("Postgres does not run as root. Run Playhead as an ordinary user.")
        for path in given:
            _give(path, uid, gid)
        descriptors = {str(path): _by_descriptor(path) for path in given}
        command = [descriptors.get(word, word) for word in command]
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        _require_access(Path(command[0]))
    return command


def _by_descriptor(path: Path) -> str:
    """A name of what root opens, for those whom the directories above do not let in."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    os.set_inheritable(descriptor, True)
    return f"/proc/self/fd/{descriptor}"


def _has_name(uid: int) -> bool:
    return any(user.pw_uid == uid for user in pwd.getpwall())


def _somebody() -> tuple[int, int]:
    others = [user for user in pwd.getpwall() if user.pw_uid != 0]
    others.sort(key=lambda user: user.pw_name != "nobody")
    return (others[0].pw_uid, others[0].pw_gid) if others else (65534, 65534)


def _namespace_is_allowed(uid: int, gid: int) -> bool:
    """Tried in a child, because there is no way back out of a namespace whose map was refused."""
    if sys.platform != "linux":
        return False
    child = os.fork()
    if child == 0:
        try:
            _enter_namespace(uid, gid)
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return status == 0


def _enter_namespace(uid: int, gid: int) -> None:
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    # The kernel demands this order: an unprivileged process may map its group only after it gave up setgroups.
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1", encoding="ascii")


def _give(path: Path, uid: int, gid: int) -> None:
    """By descriptors, so that whoever may write there cannot put a link in the way of what is next."""
    os.chown(path, uid, gid, follow_symlinks=False)
    if path.is_symlink() or not path.is_dir():
        return
    for _, directories, files, parent in os.fwalk(path):
        for name in (*directories, *files):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if (status.st_uid, status.st_gid) != (uid, gid):
                os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)


def _require_access(program: Path) -> None:
    if not os.access(program, os.R_OK | os.X_OK):
        sys.exit(
            f"Postgres does not run as root, this machine allows root no user namespaces, and the user {os.getuid()} "
            f"(nobody) cannot reach {program}. Run Playhead as an ordinary user, or install it where every user may "
            "enter, or `chmod o+x` the directories above it."
        )


if __name__ == "__main__":
    main()
