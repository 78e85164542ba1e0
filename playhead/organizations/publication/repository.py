"""The git repository that a data set is published in."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from playhead.organizations.publication.errors import GitFailed
from playhead.streams.errors import InvalidSetting

_UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
}
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class Repository:
    """A work tree whose top is the directory; commits what it is told, and nothing else that was changed or staged.

    Raises:
        GitFailed: git is not installed, or does not trust the directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        if shutil.which("git") is None:
            raise GitFailed(f"{directory} is a repository, but git is not installed")
        self._git("rev-parse", "--git-dir")

    def check(self, *, push: bool) -> None:
        """Refuse what cannot be committed or pushed, before anything is published.

        Raises:
            GitFailed: something like a merge is under way, which a commit would end.
            InvalidSetting: there is nowhere to push to.
        """
        for name, work in _UNDER_WAY.items():
            if Path(self._directory, self._git("rev-parse", "--git-path", name).strip()).exists():
                raise GitFailed(f"{self._directory}: {work} is under way: end it, then publish")
        if push:
            self._destination()

    def commit(self, paths: Iterable[str], message: str) -> str | None:
        """Commit these files as they are, with those that are gone; gives the commit, None if nothing changed.

        What .gitignore names is left out. Hooks run, and signing is as configured.
        """
        listed = "\0".join(paths)
        ignored = set(self._git("check-ignore", "-z", "--stdin", stdin=listed, fine=1).split("\0"))
        ours = set(listed.split("\0")) - ignored - {""}
        self._git("update-index", "-z", "--add", "--remove", "--stdin", stdin="\0".join(sorted(ours)))
        base = self._head() or _EMPTY_TREE
        # By default git names paths from the top of the work tree, which is the directory.
        staged = set(self._git("diff-index", "--cached", "--name-only", "-z", base, "--").split("\0")) - {""}
        changed = sorted(staged & ours)
        if not changed:
            return None
        if staged <= ours:
            self._git("commit", "--quiet", "--message", message)
        else:
            arguments = (
                "commit",
                "--quiet",
                "--message",
                message,
                "--only",
                "--pathspec-from-file=-",
                "--pathspec-file-nul",
            )
            self._git(*arguments, stdin="\0".join(changed))
        return self._head()

    def push(self) -> None:
        """Send the branch to its remote.

        Raises:
            GitFailed: the remote refused, or cannot be reached; the commit stands, the next run pushes it.
        """
        self._git("push", "--quiet", *self._destination())

    def _destination(self) -> tuple[str, ...]:
        branch = self._git("symbolic-ref", "--quiet", "--short", "HEAD", fine=1).strip()
        if not branch:
            raise InvalidSetting(f"--push: {self._directory} is on no branch; check one out")
        if self._git("config", f"branch.{branch}.remote", fine=1).strip():
            return ()
        remotes = self._git("remote").split()
        if not remotes:
            raise InvalidSetting(f"--push: {self._directory} has no remote; add one by `git remote add origin URL`")
        return ("--set-upstream", "origin" if "origin" in remotes else remotes[0], branch)

    def _head(self) -> str | None:
        return self._git("rev-parse", "--quiet", "--verify", "HEAD", fine=1).strip() or None

    def _git(self, *arguments: str, stdin: str = "", fine: int = 0) -> str:
        """Run git and give what it prints; `fine` is an exit code that is no failure."""
        # A variable such as GIT_DIR, set if a hook calls us, would name another repository.
        environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE} | {
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        done = subprocess.run(
            ["git", "-C", str(self._directory), *arguments],
            env=environment,
            input=stdin.encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
        )
        if done.returncode not in {0, fine}:
            told = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
            raise GitFailed(f"git {arguments[0]} in {self._directory}: {'; '.join(told) or done.returncode}")
        return done.stdout.decode("utf-8", "surrogateescape")


_ELSEWHERE = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_COMMON_DIR",
        "GIT_PREFIX",
        "GIT_NAMESPACE",
    }
)


def find_repository(directory: Path) -> Repository | None:
    """The repository whose work tree the directory is; one that it merely lies in is not ours to commit to.

    Raises:
        GitFailed: it is one, but cannot be used.
    """
    return Repository(directory) if (directory / ".git").exists() else None


def enclosing(directory: Path) -> Path | None:
    """The top of the work tree that a directory lies in, if it is not the top itself."""
    return next((parent for parent in directory.parents if (parent / ".git").exists()), None)
