"""Whether a repository can be committed to: it may be a copy of somebody else's, with whatever they put in `.git`.

What can run a program, or can lead to another place, is refused rather than switched off one by one: each git has more
of it. Your own configuration, outside the repository, is trusted.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from playhead.organizations.publication.errors import UnsafeRepository
from playhead.organizations.publication.git import configured
from playhead.streams.storage.directories import open_regular
from playhead.streams.storage.file_tree import shown

_LONGEST_PATH = 4096
_HARMLESS = re.compile(
    r"""
    core\.(abbrev|autocrlf|bare|bigfilethreshold|compression|eol|filemode|ignorecase|logallrefupdates|loosecompression
        |precomposeunicode|protecthfs|protectntfs|quotepath|repositoryformatversion|safecrlf|sharedrepository|symlinks
        |untrackedcache)
    | extensions\.(objectformat|partialclone|refstorage|relativeworktrees)
    | (author|committer|user)\.(email|name|signingkey)
    | (commit|tag)\.gpgsign
    | remote\.pushdefault
    | remote\..+\.(fetch|partialclonefilter|promisor|prune|pushurl|tagopt|url)
    | push\.(autosetupremote|default|followtags)
    | (advice|branch|color|fetch|gui|init|pull|receive)\..+
    | gc\.auto
    | http\.(.+\.)?extraheader
    | lfs\.repositoryformatversion
    """,
    re.VERBOSE | re.DOTALL,
)
_SWITCHED_OFF = frozenset({"core.fsmonitor", "core.hookspath"})


def refuse_unsafe(directory: Path) -> None:
    """Refuse a work tree in which git could run a program, or write elsewhere.

    Raises:
        UnsafeRepository: says what is in the way.
        GitFailed: git cannot read it.
    """
    _refuse(_common_directory(directory), passed=_SWITCHED_OFF)


def refuse_unsafe_remote(url: str, directory: Path) -> None:
    """Refuse to push to a repository on this machine in which git could run a program, or write elsewhere.

    Raises:
        UnsafeRepository: says what is in the way.
        GitFailed: git cannot read it.
    """
    if (place := _local(url, directory)) is None:
        return
    bare = Path(f"{place}.git")
    for repository in (place / ".git", place, bare / ".git", bare):  # git takes the first that is one
        if (not repository.is_dir() and os.path.lexists(repository)) or os.path.lexists(repository / "commondir"):
            raise UnsafeRepository(f"{repository} leads to another place: push to that one")
        if not os.path.lexists(repository / "HEAD"):
            continue
        _refuse(repository)
        if hooks := _hooks(repository):
            raise UnsafeRepository(
                f"{repository} has hooks, which would run as you: {', '.join(map(shown, hooks))}; push to it "
                f"yourself, by `git -C {directory} push`"
            )


def _refuse(place: Path, *, passed: frozenset[str] = frozenset()) -> None:
    """Refuse links and settings in the directory that git keeps a repository in."""
    for path in _links(place):
        raise UnsafeRepository(f"{shown(str(path))} is a link or no file: git could write elsewhere; remove it")
    config = place / "config"
    if refused := sorted(name for name in configured(config) - passed if not _HARMLESS.fullmatch(name)):
        raise UnsafeRepository(
            f"{config} sets {', '.join(map(shown, refused))}, which may run programs or lead elsewhere: remove it by "
            "`git config --local --unset-all NAME`, or set it for yourself by `git config --global`"
        )


def refuse_special(directory: Path, paths: Iterable[str]) -> None:
    """Refuse a `.gitignore` or `.gitattributes` that git would wait for.

    Raises:
        UnsafeRepository: it is no file.
    """
    folders = {parent for path in paths for parent in PurePosixPath(path).parents}
    for folder in sorted(folders):
        for name in (".gitignore", ".gitattributes"):
            place = directory / folder / name
            if os.path.lexists(place) and not stat.S_ISREG(place.lstat().st_mode):
                raise UnsafeRepository(f"{shown(str(place))} is no file: remove it")


def _common_directory(directory: Path) -> Path:
    """Where the repository of a work tree is: its `.git`, or the repository that lists it as a linked work tree.

    Raises:
        UnsafeRepository: it is another one, which does not know of the work tree.
    """
    place = directory / ".git"
    mode = place.lstat().st_mode
    if stat.S_ISDIR(mode) and not os.path.lexists(place / "commondir"):
        return place
    if stat.S_ISREG(mode):
        linked = directory / _line(directory, ".git").removeprefix("gitdir:").strip()
        common = (linked / _line(linked, "commondir")).resolve()
        back = (linked / _line(linked, "gitdir")).resolve()
        if back == place.resolve() and linked.resolve().parent == common / "worktrees":
            return common
    raise UnsafeRepository(
        f"{place} leads to a repository that does not list {directory} as its work tree: publish to a clone"
    )


def _line(directory: Path, name: str) -> str:
    try:
        with open_regular(directory, [name]) as file:
            return os.fsdecode(file.read(_LONGEST_PATH)).strip()
    except OSError as error:
        raise UnsafeRepository(f"{directory / name}: {error.strerror}: publish to a clone") from error


def _links(place: Path) -> Iterator[Path]:
    """Links and special files below a directory, but for hooks, which do not run, and sockets, which nobody opens."""
    waiting = [place]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if path == place / "hooks" or entry.is_file(follow_symlinks=False):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif not stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                    yield path


def _hooks(place: Path) -> list[str]:
    hooks = place / "hooks"
    return sorted(path.name for path in hooks.iterdir() if path.suffix != ".sample") if hooks.is_dir() else []


def _local(url: str, directory: Path) -> Path | None:
    """The path of a remote on this machine, None if it is another one; told apart as git does."""
    if url.startswith("file://"):
        return Path("/", unquote(url.removeprefix("file://")).lstrip("/"))
    before, colon, _ = url.partition(":")
    return None if colon and "/" not in before else directory / Path(url).expanduser()
