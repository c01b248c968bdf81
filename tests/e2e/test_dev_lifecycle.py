"""`parley dev` started, interrupted, killed and restarted; and its single servers."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.dev import stack
from api.dev.postgres import Postgres
from api.dev.process import ProcessFailedError, find_free_port
from api.dev.valkey import Valkey
from tests.e2e.dev import (
    LINUX_ONLY,
    READY,
    Dev,
    assert_no_processes,
    build_environment,
    fail_to_start,
    fetch_titles,
    find_processes,
    temporary_directory,
)


@pytest.fixture(name="directory")
def _directory() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


def test_data_are_kept_until_fresh(directory: Path) -> None:
    arguments = ("--port", str(find_free_port()))

    dev = Dev(directory, *arguments).wait_until_ready()
    subprocess.run(["bash", "-euc", dev.commands], stdout=subprocess.DEVNULL, timeout=60, check=True)
    assert dev.stop() == 0
    assert find_processes(directory) == []

    dev = Dev(directory, *arguments).wait_until_ready()
    assert fetch_titles(dev) == {"Welcome to Parley", "Ideas"}
    assert dev.stop() == 0

    dev = Dev(directory, *arguments, "--fresh").wait_until_ready()
    assert fetch_titles(dev) == {"Welcome to Parley"}
    assert dev.stop() == 0


def test_fresh_deletes_only_its_own_directories(directory: Path) -> None:
    (directory / "thesis.txt").write_text("all of it")
    error = fail_to_start("--fresh", "--data", str(directory), directory=directory)
    assert str(directory) in error
    assert (directory / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize("moment", ["postgres/unfinished-*", "postgres/data", "migration.log"])
def test_interrupted_start_leaves_no_processes(directory: Path, moment: str) -> None:
    arguments = ("--port", str(find_free_port()), "--data", "data")
    dev = Dev(directory, *arguments)
    dev.wait_until(lambda: list(directory.glob(f"data/{moment}")))
    assert dev.stop() == 0
    assert READY not in dev.output
    assert "Traceback" not in dev.output
    assert find_processes(directory) == []
    assert Dev(directory, *arguments).wait_until_ready().stop() == 0


def test_stack_that_loses_a_child_ends_without_effect_on_another(directory: Path) -> None:
    one, other = (Dev(directory, "--port", str(find_free_port())) for _ in range(2))
    one.wait_until_ready()
    other.wait_until_ready()
    for child in psutil.Process(one.process.pid).children():
        if "valkey" in child.name():
            child.kill()
    assert one.wait() == 1
    assert re.fullmatch(r"parley dev: Valkey ended, .* see /.*/log", one.output.splitlines()[-1])
    assert fetch_titles(other)
    assert other.stop() == 0
    assert find_processes(directory) == []


@LINUX_ONLY
def test_killed_stack_leaves_no_processes_and_restarts(directory: Path) -> None:
    arguments = ("--port", str(find_free_port()), "--data", "data")
    dev = Dev(directory, *arguments).wait_until_ready()
    dev.process.kill()
    dev.wait()
    assert_no_processes(directory)
    dev = Dev(directory, *arguments).wait_until_ready()
    dev.process.send_signal(signal.SIGTERM)
    dev.process.send_signal(signal.SIGINT)
    assert dev.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests already run as an ordinary user")
def test_unprivileged_user_can_run_parley_dev(directory: Path) -> None:
    shutil.chown(directory, "nobody")
    try:
        subprocess.run(
            [sys.executable, "-c", "import api.dev.stack"],
            user="nobody",
            cwd=directory,
            env=build_environment(directory),
            check=True,
            capture_output=True,
            timeout=60,
        )
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip(f"`nobody` cannot run {sys.executable}")
    dev = Dev(directory, "--port", str(find_free_port()), user="nobody").wait_until_ready()
    assert fetch_titles(dev)
    assert dev.stop() == 0


def test_port_of_the_api_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    port, other = find_free_port(), find_free_port()
    monkeypatch.setattr("api.dev.process._ports", [other, port])
    stack._reserve_port(port, "--port")
    assert find_free_port() == other


def test_postgres_survives_a_crash_and_requires_a_password(directory: Path) -> None:
    with Postgres(directory, settings={"fsync": "off"}) as postgres:
        url = postgres.url("postgres")
        with contextlib.closing(psycopg2.connect(url)) as connection:
            connection.cursor().execute("create table kept ()")
            connection.commit()
        postgres.kill()
        postgres.start()
        assert postgres.url("postgres") == url
        with contextlib.closing(psycopg2.connect(url)) as connection:
            connection.cursor().execute("table kept")
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(postgres.url("postgres", password="guess"))
    assert find_processes(directory) == []


def test_postgres_reports_why_it_does_not_start(directory: Path) -> None:
    with pytest.raises(ProcessFailedError, match="no_such_setting"):
        Postgres(directory, settings={"no_such_setting": "1"}).start()


def test_valkey_keeps_port_and_password_after_a_crash(directory: Path) -> None:
    with Valkey(directory) as valkey:
        url = valkey.url()
        valkey.kill()
        valkey.start()
        assert valkey.url() == url
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        stranger = redis.Redis(port=valkey.port, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
