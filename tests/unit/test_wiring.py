"""What the command line and the commands of domains get by the name of a consumer."""

import pytest

from playhead import InvalidSetting, place
from playhead.jobs.domain import OUTPUT_DIR
from playhead.settings.settings import declared


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """An empty working directory and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in declared():
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_command_gets_the_place_of_a_consumer(directory):
    found = place("json-files", directory)

    assert (str(directory / "outputs"), ("jobs",)) == (found.location, found.streams)
    assert found.location == str(found.settings[OUTPUT_DIR])


def test_what_need_not_last_is_on_the_disk_of_the_data_directory_and_not_there_before_it_is_needed(
    directory, monkeypatch
):
    monkeypatch.setenv("OUTPUT_DIR", "s3://bucket/outputs")
    found = place("json-files", directory)

    assert ("s3://bucket/outputs", directory / "outputs" / ".scratch") == (found.location, found.scratch)
    assert [] == [*directory.iterdir()]


@pytest.mark.parametrize("name", ["nosuch", "log", ""])
def test_a_name_that_has_no_place_is_refused_with_those_that_have_one(name):
    with pytest.raises(InvalidSetting, match=rf"no projection, worker or clock '{name}'; there are .*sweep"):
        place(name)
