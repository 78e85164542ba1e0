"""The git repository that a data set is published in."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from playhead.organizations.publication.errors import GitFailed
from playhead.organizations.publication.git import Git
from playhead.organizations.publication.safety import refuse_special, refuse_unsafe, refuse_unsafe_remote
from playhead.streams.errors import InvalidSetting
from playhead.streams.storage.file_tree import shown

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
        UnsafeRepository: git could run a program of the repository, or write elsewhere.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        if shutil.which("git") is None:
            raise GitFailed(f"{directory} is a repository, but git is not installed")
        refuse_unsafe(directory)
        self._git = Git(directory).run
        self._git("rev-parse", "--git-dir")

    def check(self, *, push: bool) -> None:
        """Refuse what cannot be committed or pushed, before anything is published.

        Raises:
            GitFailed: something like a merge is under way, which a commit would end.
            UnsafeRepository: the remote is on this machine, and git could run a program of it.
            InvalidSetting: there is nowhere to push to.
        """
        for name, work in _UNDER_WAY.items():
            if Path(self._directory, self._git("rev-parse", "--git-path", name).strip()).exists():
                raise GitFailed(f"{self._directory}: {work} is under way: end it, then publish")
        if push:
            branch = self._branch()
            for url in self._urls(self._remote(branch)):
                refuse_unsafe_remote(url, self._directory)

    def commit(self, paths: Iterable[str], message: str) -> str | None:
        """Commit these files as they are, with those that are gone; gives the commit, None if nothing changed.

        What .gitignore names is left out. No hook and no filter runs; signing is as you configured it for yourself.
        """
        listed = "\0".join(paths)
        refuse_special(self._directory, listed.split("\0"))
        ignored = set(self._git("check-ignore", "-z", "--stdin", stdin=listed, fine=1).split("\0"))
        ours = set(listed.split("\0")) - ignored - {""}
        self._refuse_filters(ours)
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
            self._git(*arguments, stdin="\0".join(f":(literal){name}" for name in changed))
        return self._head()

    def push(self) -> None:
        """Send the branch to its remote.

        Raises:
            GitFailed: the remote refused, or cannot be reached; the commit stands, the next run pushes it.
        """
        branch = self._branch()
        remote = self._remote(branch)
        upstream = (
            () if self._setting(f"branch.{branch}.remote") else ("--set-upstream", "--", remote, f"refs/heads/{branch}")
        )
        self._git("push", "--quiet", *upstream)

    def _branch(self) -> str:
        branch = self._git("symbolic-ref", "--quiet", "--short", "HEAD", fine=1).strip()
        if not branch:
            raise InvalidSetting(f"--push: {self._directory} is on no branch; check one out")
        return branch

    def _remote(self, branch: str) -> str:
        """The remote that a branch is pushed to, by its name or URL."""
        for setting in (f"branch.{branch}.pushRemote", "remote.pushDefault", f"branch.{branch}.remote"):
            if remote := self._setting(setting):
                return remote
        remotes = self._git("remote").split()
        if not remotes:
            raise InvalidSetting(f"--push: {self._directory} has no remote; add one by `git remote add origin URL`")
        return "origin" if "origin" in remotes else remotes[0]

    def _setting(self, name: str) -> str:
        return self._git("config", name, fine=1).strip()

    def _urls(self, remote: str) -> list[str]:
        if remote not in self._git("remote").split():
            return [remote]
        return self._git("remote", "get-url", "--push", "--all", "--", remote).splitlines()

    def _refuse_filters(self, paths: set[str]) -> None:
        told = self._git("check-attr", "-z", "--stdin", "filter", stdin="\0".join(sorted(paths))).split("\0")
        for path, value in zip(told[::3], told[2::3], strict=False):
            if value not in {"unspecified", "unset"}:
                raise GitFailed(
                    f"{self._directory}: .gitattributes asks for the filter {shown(value)} on {shown(path)}, but files "
                    "are committed as they are: take the filter off, or put the files into .gitignore"
                )

    def _head(self) -> str | None:
        return self._git("rev-parse", "--quiet", "--verify", "HEAD", fine=1).strip() or None


def find_repository(directory: Path) -> Repository | None:
    """The repository whose work tree the directory is; one that it merely lies in is not ours to commit to.

    Raises:
        GitFailed: it is one, but cannot be used.
    """
    return Repository(directory) if os.path.lexists(directory / ".git") else None


def enclosing(directory: Path) -> Path | None:
    """The top of the work tree that a directory lies in, if it is not the top itself."""
    return next((parent for parent in directory.parents if (parent / ".git").exists()), None)
