"""compose.yaml on a container engine: what each service can do, and what it cannot, until it is killed and after."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
IMAGES = {
    name: os.environ.get(name, default)
    for name, default in re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", (ROOT / "compose.yaml").read_text())
}
PATIENCE = 600.0
"""Seconds for a dozen processes to start on a machine that does other things as well."""

REDIS = """
import os
from redis import Redis
from redis.exceptions import NoPermissionError
with Redis.from_url(os.environ["REDIS_URL"]) as client:
    for command in {commands}:
        try:
            client.execute_command(*command)
        except NoPermissionError:
            continue
        print("done:", *command)
"""
POSTGRES = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    for statement in {statements}:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            continue
        print("done:", statement)
"""
STREAM = "playhead:{jobs:0}"
REFUSED_IN_REDIS = [
    ("XTRIM", STREAM, "MAXLEN", "0"),
    ("XADD", STREAM, "*", "a", "b"),
    ("XRANGE", "playhead:{recordings:0}", "-", "+"),
    ("GET", "another:program"),
    ("FLUSHALL",),
    ("ACL", "LIST"),
]
REFUSED_IN_POSTGRES = [
    "DELETE FROM playhead.organizations",
    "DELETE FROM playhead.recordings",
    "SELECT FROM playhead.recordings",
    "DROP TABLE playhead.jobs",
    "CREATE ROLE mine",
]


def works(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def compose_command() -> list[str] | None:
    return next((one for one in (["docker", "compose"], ["docker-compose"]) if works(*one, "version")), None)


def lacking() -> str | None:
    """Why compose.yaml cannot be brought up here."""
    if shutil.which("docker") is None:
        return "there is no docker"
    if not works("docker", "info"):
        return "no container engine answers: start one, and set DOCKER_HOST if it is elsewhere"
    if compose_command() is None:
        return "there is neither `docker compose` nor docker-compose"
    for name, image in IMAGES.items():
        if not works("docker", "image", "inspect", image) and not works("docker", "pull", "--quiet", image):
            return f"the image {image} is not here and cannot be pulled: set {name} to one that is"
    return None


class Project:
    """The services of compose.yaml without their ports, which other programs of this machine may have."""

    def __init__(self, directory: Path) -> None:
        services = {name: {**service, "ports": []} for name, service in COMPOSE["services"].items()}
        project = {key: value for key, value in COMPOSE.items() if key != "name"} | {"services": services}
        (directory / "compose.yaml").write_text(yaml.safe_dump(project))
        makes = (ROOT / "docs/operations.md").read_text().partition("## Containers\n\n```console\n")[2]
        subprocess.run(["sh", "-ec", makes.partition("docker compose")[0]], cwd=directory, check=True)
        self.passwords = dict(line.split("=") for line in (directory / ".env").read_text().splitlines())
        self._name, self._directory = f"playhead-test-{os.getpid()}", directory

    def __call__(self, *arguments: str, check: bool = True) -> str:
        command = [*(compose_command() or ()), "--project-name", self._name, *arguments]
        environment = {**os.environ, **IMAGES, "COMPOSE_INTERACTIVE_NO_CLI": "1"}
        done = subprocess.run(
            command, cwd=self._directory, env=environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def python(self, service: str, program: str) -> str:
        return self("exec", "-T", service, "python", "-c", program)

    def operator(self, *arguments: str, check: bool = True) -> str:
        return self("run", "--rm", "-T", "operator", *arguments, check=check)

    def append(self, number: int) -> None:
        data = json.dumps({"job_id": str(number), "job": {}, "result": "done"})
        self.operator("append", "job.completed", "--subject", f"job/{number}", "--data", data)

    def rows(self) -> int:
        query = "SELECT count(*) FROM playhead.jobs"
        return int(self("exec", "-T", "postgres", "psql", "-U", "playhead", "-h", "/var/run/postgresql", "-Atc", query))

    def files(self) -> int:
        program = "import pathlib; print(len([*pathlib.Path('/data/outputs').rglob('*/[0-9].json')]))"
        return int(self.python("json-files", program))

    def caught_up(self, jobs: int) -> bool:
        """Wait until everything took effect; False if it does not."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            said = self.operator("status", check=False)
            if said.splitlines()[-1:] == ["caught up"] and (jobs, jobs) == (self.rows(), self.files()):
                return True
            time.sleep(2)
        return False


@pytest.fixture
def project(tmp_path):
    if reason := lacking():
        pytest.skip(reason)
    image = COMPOSE["services"]["log"]["image"]
    build = ["docker", "build", "--quiet", "--network", "host", "--build-arg", f"PYTHON_IMAGE={IMAGES['PYTHON_IMAGE']}"]
    subprocess.run([*build, "--tag", image, str(ROOT)], check=True, capture_output=True)
    project = Project(tmp_path)
    yield project
    project("down", "--volumes", "--timeout", "5")


def test_services_do_their_own_work_and_no_other_through_restarts_and_kills(project):
    project("up", "--detach", "--no-build")
    project.append(1)
    first = project.caught_up(1)
    done = {
        "Redis": project.python("jobs", REDIS.format(commands=REFUSED_IN_REDIS)),
        "Postgres": project.python("jobs", POSTGRES.format(statements=REFUSED_IN_POSTGRES)),
    }
    program = "from pathlib import Path; Path('/data/eventlog/mine').write_text('x'); print('done')"
    wrote = project("exec", "-T", "jobs", "python", "-c", program, check=False)
    seen = {name: project("exec", "-T", name, "env") for name in ("log", "jobs", "json-files", "sweep")}
    project("down")
    project("up", "--detach", "--no-build")
    project.append(2)
    again = project.caught_up(2)
    project("exec", "-T", "jobs", "sh", "-c", "kill -9 -1", check=False)
    project.append(3)
    killed = project.caught_up(3)
    project("up", "--detach", "--no-build")

    assert first
    assert {"Redis": "", "Postgres": ""} == done
    assert "done" not in wrote
    for name, environment in seen.items():
        found = {variable for variable, password in project.passwords.items() if password in environment}
        own = name.upper().replace("-", "_")
        assert found <= {f"REDIS_{own}_PASSWORD", f"POSTGRES_{own}_PASSWORD"}, name
    assert again
    assert killed
    assert project.caught_up(3)
