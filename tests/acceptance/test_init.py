"""`playhead init` of an installed Playhead, in an empty directory."""

from tests.support.environments import Environment


def test_the_tests_of_a_new_domain_pass_at_once(environment: Environment, tmp_path):
    written = environment.run("playhead", "init", "late-fees", cwd=tmp_path)
    done = environment.run("python", "-m", "pytest", "-q", "-W", "error", cwd=tmp_path / "late-fees")

    assert 0 == written.returncode, written.stderr.decode()
    assert b"next:" in written.stderr
    assert 0 == done.returncode, done.stdout.decode()
    assert b" passed" in done.stdout
