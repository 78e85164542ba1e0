"""Each combination of parts of an installation that are set back: it is whole again, or says what is missing."""

import json
import shutil
from itertools import combinations

import pytest

from tests.acceptance.installation import Installation, number_in

PARTS = {"log": "eventlog", "outputs": "outputs", "postgres": "postgres", "redis": "valkey"}
OLDER = [each for count in range(1, len(PARTS)) for each in combinations(PARTS, count)]
FIRST, SECOND = range(1, 6), range(6, 10)
EVERY = {str(number) for number in (*FIRST, *SECOND)}


@pytest.fixture(scope="module")
def times(tmp_path_factory, wait_until):
    """The data directory at two times, stopped: five events, and four more, which are trimmed but for the last."""
    root = tmp_path_factory.mktemp("times")
    installation = Installation(root / "data", wait_until)
    with installation.running():
        installation.append(*FIRST)
        installation.caught_up()
    shutil.copytree(root / "data", root / "first", symlinks=True)
    with installation.running():
        installation.append(*SECOND)
        installation.caught_up()
        installation.trim()
        assert EVERY == installation.logged() == installation.rows() == installation.files()
    return root / "first", root / "data"


@pytest.fixture
def set_back(times, tmp_path, wait_until):
    """Make the later time, with some parts of the earlier one."""

    def make(*parts: str) -> Installation:
        first, second = times
        shutil.copytree(second, tmp_path / "data", symlinks=True)
        for part in parts:
            shutil.rmtree(tmp_path / "data" / PARTS[part])
            shutil.copytree(first / PARTS[part], tmp_path / "data" / PARTS[part], symlinks=True)
        return Installation(tmp_path / "data", wait_until)

    return make


@pytest.fixture(params=OLDER, ids="+".join)
def installation(request, set_back):
    installation = set_back(*request.param)
    with installation.running():
        installation.caught_up()
        yield installation


def test_it_is_whole_again_or_says_how_many_events_the_log_lacks(installation):
    lacking = len(EVERY - installation.logged())
    assert lacking == sum(number_in(check["found"]) for check in installation.failed_checks())

    installation.follow_advice()
    installation.wait_until(lambda: installation.logged() <= installation.rows() & installation.files())
    missing = len(EVERY - installation.logged())

    assert (missing, missing, missing) == installation.said()
    if not missing:
        assert EVERY == installation.rows() == installation.files()


def test_what_is_missing_is_counted_once_and_can_be_accepted(set_back):
    installation = set_back("log", "outputs")
    for _ in range(2):
        with installation.running():
            installation.caught_up()
    with installation.running():
        installation.caught_up()
        lacking = len(EVERY - installation.logged())
        assert (lacking, lacking, lacking) == installation.said()
        replayed = installation.playhead("replay", "--to", "jobs")
        allowed = installation.playhead("replay", "--to", "jobs", "--allow-gaps", "--json")
        installation.append(10)
        installation.caught_up()
        later = installation.said()

        accepted = installation.playhead("log", "accept-gaps", "--json")

        assert lacking > 0
        assert (4, b"") == (replayed.returncode, replayed.stdout)
        assert (0, lacking) == (allowed.returncode, json.loads(allowed.stdout)["missing"])
        assert (lacking, lacking, lacking) == later
        assert lacking == json.loads(accepted.stdout)["events"]
        assert (0, 0, 0) == installation.said()
        assert 0 == installation.playhead("log", "cat").returncode


def test_a_newer_copy_of_the_log_ends_what_was_missing(set_back, times):
    installation = set_back("log", "redis")
    log = installation.directory / PARTS["log"]
    with installation.running():
        installation.caught_up()
        assert (len(SECOND), len(SECOND), len(SECOND)) == installation.said()
    shutil.rmtree(log)
    shutil.copytree(times[1] / PARTS["log"], log)

    with installation.running():
        installation.caught_up()

        assert (0, 0, 0) == installation.said()
        assert EVERY == installation.logged() == installation.rows() == installation.files()
