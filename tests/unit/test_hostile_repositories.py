"""A repository that is published to may be somebody else's copy: git runs no program of it, and writes nowhere else."""

import os
import socket
import socketserver
import subprocess
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from playhead.organizations.publication.errors import GitFailed, UnsafeRepository
from playhead.organizations.publication.repository import Repository, find_repository

NAMES = ["README.md", "daily/2025-08-09/scrapers/s/a.json"]


def git(directory, *arguments, **options):
    done = subprocess.run(
        ["git", "-C", str(directory), *arguments], capture_output=True, check=True, text=True, **options
    )
    return done.stdout.strip()


class Work:
    """A work tree with a published data set, and a program that must not run."""

    def __init__(self, root: Path) -> None:
        self.directory, self.outside, self.marker = root / "set", root / "outside", root / "it-ran"
        self.program = root / "program"
        self.program.write_text(f"#!/bin/sh\ntouch {self.marker}\ncat\n")
        self.program.chmod(0o755)
        self.outside.mkdir()
        (self.outside / "victim").write_text("precious")
        self.directory.mkdir()
        git(self.directory, "init", "--quiet", "--initial-branch", "main")
        self.write("1")
        self.publish()

    def write(self, content: str) -> None:
        for name in NAMES:
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def publish(self, *, push: bool = False) -> str | None:
        repository = find_repository(self.directory)
        assert repository is not None
        repository.check(push=push)
        commit = repository.commit(NAMES, "Publish")
        if push:
            repository.push()
        return commit

    @property
    def commits(self) -> int:
        return int(git(self.directory, "rev-list", "--count", "HEAD"))


@pytest.fixture
def work(tmp_path, monkeypatch) -> Work:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "gitconfig").write_text("[user]\nname = Publisher\nemail = publisher@example.org\n")
    return Work(tmp_path)


def everything(directory: Path) -> dict[Path, bytes | str]:
    return {
        path: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in directory.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_without_these_measures_git_runs_what_was_planted(work):
    hook = work.directory / ".git/hooks/post-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(work.program)
    git(work.directory, "commit", "--quiet", "--allow-empty", "--message", "control")
    by_hook = work.marker.exists()
    work.marker.unlink(missing_ok=True)
    hook.unlink()
    git(work.directory, "config", "core.fsmonitor", str(work.program))
    git(work.directory, "status")

    assert by_hook
    assert work.marker.exists()


def test_no_hook_runs(work):
    hooks = work.directory / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        *(
            "pre-commit",
            "prepare-commit-msg",
            "commit-msg",
            "post-commit",
            "post-index-change",
            "reference-transaction",
        ),
        *("pre-auto-gc", "pre-push", "post-checkout", "fsmonitor-watchman"),
    ):
        (hooks / name).symlink_to(work.program)
    (work.directory / ".playhooks").symlink_to(hooks)
    git(work.directory, "config", "core.hooksPath", ".playhooks")
    git(work.directory, "config", "core.fsmonitor", str(work.program))
    remote(work)
    work.marker.unlink(missing_ok=True)
    work.write("2")
    commit = work.publish(push=True)

    assert commit == git(work.outside / "remote", "rev-parse", "main")
    assert not work.marker.exists()


def remote(work: Work) -> Path:
    place = work.outside / "remote"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", place], check=True)
    git(work.directory, "remote", "add", "origin", str(place), env=os.environ | {"GIT_CONFIG_COUNT": "0"})
    return place


@pytest.mark.parametrize(
    "key",
    [
        *("core.sshCommand", "core.gitProxy", "core.askPass", "core.editor", "core.pager", "core.alternateRefsCommand"),
        *("core.worktree", "core.attributesFile", "core.excludesFile", "include.path", "includeIf.gitdir:/.path"),
        *("filter.x.clean", "filter.x.process", "diff.external", "diff.x.textconv", "merge.x.driver", "alias.commit"),
        *("credential.helper", "credential.https://example.org.helper", "gpg.program", "gpg.ssh.program"),
        *("gpg.ssh.defaultKeyCommand", "gc.recentObjectsHook", "remote.origin.vcs", "remote.origin.receivepack"),
        *("url./.insteadOf", "protocol.ext.allow", "extensions.worktreeConfig", "http.proxy", "http.sslVerify"),
        *("sequence.editor", "trailer.x.cmd", "submodule.x.update", "browser.x.cmd", "safe.directory", "pack.x"),
    ],
)
def test_settings_of_the_repository_that_may_run_or_lead_elsewhere_are_named(work, key):
    git(work.directory, "config", key, "false" if key == "extensions.worktreeConfig" else str(work.program))
    (work.directory / ".gitattributes").write_text("* filter=x diff=x\n")
    before = everything(work.directory)
    with pytest.raises(UnsafeRepository) as caught:
        work.publish()

    assert key.lower() in str(caught.value).lower()
    assert "git config --local --unset-all" in str(caught.value)
    assert before == everything(work.directory)
    assert not work.marker.exists()


def test_settings_of_a_usual_clone_are_no_obstacle(work):
    for key, value in {
        "user.name": "Other",
        "commit.gpgSign": "false",
        "branch.main.rebase": "true",
        "pull.rebase": "true",
        "push.default": "simple",
        "gc.auto": "0",
        "http.https://github.com/.extraheader": "AUTHORIZATION: basic x",
    }.items():
        git(work.directory, "config", key, value)
    clone = work.outside / "clone"
    git(work.outside, "clone", "--quiet", str(work.directory), "clone")
    work.directory = clone
    work.write("2")

    assert work.publish() == git(clone, "rev-parse", "HEAD")


def test_an_included_file_that_never_ends_is_not_read(work):
    os.mkfifo(work.outside / "fifo")
    git(work.directory, "config", "include.path", str(work.outside / "fifo"))
    with pytest.raises(UnsafeRepository, match=r"include\.path"):
        work.publish()


def test_a_filter_of_yours_does_not_run_because_a_clone_asks_for_it(work):
    git(work.directory, "config", "--global", "filter.x.clean", str(work.program))
    git(work.directory, "config", "--global", "filter.x.required", "true")
    other = work.directory / "other.txt"
    other.write_text("mine")
    git(work.directory, "add", "other.txt")
    git(work.directory, "commit", "--quiet", "--message", "mine")
    (work.directory / ".gitattributes").write_text("*.txt filter=x\n")
    os.utime(other, (0, 0))
    work.write("2")
    committed = work.publish()
    (work.directory / ".gitattributes").write_text("*.json filter=x\n")
    work.write("3")
    with pytest.raises(GitFailed, match=r"filter x on daily/.*a\.json"):
        work.publish()

    assert committed is not None
    assert not work.marker.exists()


@pytest.mark.parametrize(
    "planted",
    [
        "COMMIT_EDITMSG",
        "logs/HEAD",
        "logs",
        "index",
        "HEAD",
        "refs/heads",
        "refs/heads/main",
        "objects",
        "info",
        "config",
        "config.lock",
        "ORIG_HEAD",
        "packed-refs",
        "objects/info/alternates",
    ],
)
def test_git_does_not_write_through_a_link_in_its_directory(work, planted):
    place, target = work.directory / ".git" / planted, work.outside / "target"
    if place.exists():
        place.rename(target)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)
    before = everything(work.outside)
    work.write("2")
    with pytest.raises(UnsafeRepository, match="link or no file"):
        work.publish()

    assert before == everything(work.outside)


@pytest.mark.parametrize(
    "planted", [".git/HEAD", ".git/config", ".git/info/exclude", ".gitignore", "daily/.gitattributes"]
)
def test_a_fifo_is_not_waited_for(work, planted):
    (work.directory / planted).unlink(missing_ok=True)
    (work.directory / planted).parent.mkdir(exist_ok=True)
    os.mkfifo(work.directory / planted)
    work.write("2")
    with pytest.raises(UnsafeRepository, match="no file"):
        work.publish()


@pytest.mark.parametrize("form", ["file", "link", "common", "both"])
def test_another_repository_of_yours_gets_no_commit(work, form):
    mine = work.outside / "mine"
    git(work.outside, "init", "--quiet", "mine")
    git(mine, "commit", "--quiet", "--allow-empty", "--message", "mine")
    place = work.directory / ".git"
    if form != "common":
        place.rename(work.outside / "away")
    if form == "file":
        place.write_text("gitdir: ../outside/mine/.git\n")
    elif form == "link":
        place.symlink_to("../outside/mine/.git")
    elif form == "common":
        (place / "commondir").write_text("../../outside/mine/.git\n")
    else:
        planted = work.directory / "planted"
        planted.mkdir()
        place.write_text("gitdir: planted\n")
        (planted / "HEAD").write_text("ref: refs/heads/main\n")
        (planted / "gitdir").write_text(f"{place}\n")
        (planted / "commondir").write_text("../../outside/mine/.git\n")
    before = everything(mine)
    work.write("2")
    with pytest.raises(UnsafeRepository, match="publish to a clone"):
        work.publish()

    assert before == everything(mine)


def test_a_linked_work_tree_gets_its_commit(work):
    git(work.directory, "worktree", "add", "--quiet", str(work.outside / "linked"))
    work.directory = work.outside / "linked"
    work.write("2")

    assert work.publish() == git(work.directory, "rev-parse", "linked")


def test_a_program_in_place_of_a_remote_does_not_run(work):
    git(work.directory, "remote", "add", "origin", f"ext::{work.program}")
    git(work.directory, "config", "--global", "protocol.ext.allow", "always")
    work.write("2")
    with pytest.raises(GitFailed, match="ext"):
        work.publish(push=True)

    assert not work.marker.exists()


@pytest.mark.parametrize("url", ["{}", "file://{}", "../outside/remote", "file:///{}"])
@pytest.mark.parametrize("planted", ["hook", "setting", "link"])
def test_a_remote_on_this_machine_that_would_run_programs_is_not_pushed_to(work, planted, url):
    place = remote(work)
    git(work.directory, "remote", "set-url", "origin", url.format(place))
    if planted == "hook":
        (place / "hooks/post-receive").symlink_to(work.program)
    elif planted == "setting":
        git(place, "config", "core.hooksPath", "hooks")
    else:
        (place / "refs/heads").rmdir()
        (place / "refs/heads").symlink_to(work.outside)
    before = everything(work.outside)
    with pytest.raises(UnsafeRepository):
        work.publish(push=True)

    assert before == everything(work.outside)
    assert not work.marker.exists()


def test_a_branch_that_is_called_like_an_option_is_none(work):
    place = remote(work)
    branch = f"--receive-pack={work.program}"
    head = git(work.directory, "rev-parse", "HEAD")
    (work.directory / ".git/HEAD").write_text(f"ref: refs/heads/{branch}\n")
    ref = work.directory / ".git/refs/heads" / branch
    ref.parent.mkdir(parents=True)
    ref.write_text(f"{head}\n")
    work.write("2")
    committed = work.publish(push=True)

    assert committed == git(place, "rev-parse", f"refs/heads/{branch}")
    assert not work.marker.exists()


def test_a_repository_within_the_data_set_runs_nothing(work):
    inner = work.directory / "inner"
    git(work.directory, "init", "--quiet", "inner")
    git(inner, "commit", "--quiet", "--allow-empty", "--message", "inner")
    git(work.directory, "add", "inner")
    git(work.directory, "commit", "--quiet", "--message", "with another")
    (inner / "file").write_text("changed")
    git(inner, "config", "core.fsmonitor", str(work.program))
    work.marker.unlink(missing_ok=True)
    work.write("2")
    committed = work.publish()

    assert committed == git(work.directory, "rev-parse", "HEAD")
    assert not work.marker.exists()


class Refusing(BaseHTTPRequestHandler):
    """Wants a password."""

    def do_GET(self):
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="data"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_nobody_is_asked_for_a_password(work, monkeypatch):
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SSH_ASKPASS", str(work.program))
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        git(work.directory, "remote", "add", "origin", f"http://127.0.0.1:{server.server_address[1]}/data.git")
        work.write("2")
        with pytest.raises(GitFailed, match="terminal prompts disabled"):
            work.publish(push=True)
        server.shutdown()

    assert not work.marker.exists()


def test_a_remote_that_says_nothing_is_given_up(work, monkeypatch):
    monkeypatch.setattr("playhead.organizations.publication.git._SECONDS", 5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        git(work.directory, "remote", "add", "origin", f"http://127.0.0.1:{server.getsockname()[1]}/data.git")
        work.write("2")
        with pytest.raises(GitFailed, match="took over 5 s"):
            work.publish(push=True)

    assert 2 == work.commits


def test_a_directory_below_a_repository_whose_own_is_broken_is_not_committed_to_the_upper_one(work):
    below = work.directory / "below"
    below.mkdir()
    (below / ".git").mkdir()
    before = work.commits
    with pytest.raises(GitFailed):
        Repository(below)

    assert before == work.commits
