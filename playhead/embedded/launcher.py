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
    lock, death_signal, owner = (int(word) for word in sys.argv[1:4])
    leave_root, command = sys.argv[4] == "ordinary-user", sys.argv[5:]
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if leave_root:
        become_ordinary_user(Path.cwd(), Path(command[0]))
    # Last, because the kernel forgets it whenever a process changes its user.
    die_with(owner, death_signal)
    os.execv(command[0], command)  # noqa: S606  this is what a launcher is for


def die_with(owner: int, death_signal: int) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != owner:  # it died before the kernel knew that we care
        sys.exit(REFUSED)


def become_ordinary_user(directory: Path, program: Path) -> None:
    """Postgres refuses to run as root, and as a user without a name.

    In a user namespace root, under another name, keeps its files and its way through every directory. If that is
    refused root becomes `nobody`, and the directory changes hands.
    """
    is_root = os.geteuid() == 0
    if not is_root and _has_name(os.geteuid()):
        return
    uid, gid = _somebody()
    if _namespace_is_allowed(uid, gid):
        _give(directory, os.geteuid(), os.getegid())
        _enter_namespace(uid, gid)
    elif is_root:
        _give(directory, uid, gid)
        directory.parent.chmod(directory.parent.stat().st_mode | 0o001)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        _require_access(directory, os.R_OK | os.W_OK | os.X_OK)
        _require_access(program, os.R_OK | os.X_OK)


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


def _give(directory: Path, uid: int, gid: int) -> None:
    for parent, _, names in os.walk(directory):
        for path in (parent, *(os.path.join(parent, name) for name in names)):  # noqa: PTH118  thousands of files
            status = os.lstat(path)
            if (status.st_uid, status.st_gid) != (uid, gid):
                os.lchown(path, uid, gid)


def _require_access(path: Path, mode: int) -> None:
    if not os.access(path, mode):
        sys.exit(
            f"Postgres does not run as root, this machine allows root no user namespaces, and the user {os.getuid()} "
            f"(nobody) cannot reach {path}. Run Playhead as an ordinary user, or move it to where every user may "
            "enter, or `chmod o+x` the directories above it."
        )


if __name__ == "__main__":
    main()
