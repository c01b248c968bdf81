"""How the listener fares, as it tells Prometheus and its supervisor."""

import json
import math
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from api.dev.process import find_free_port
from api.dev.pusher_process import Pusher
from tests.api_process import read_log, scrape
from tests.conftest import QUICK
from tests.database import new_chat
from tests.listener.chats import RECORD, record_badly
from tests.listener.conftest import Stage
from tests.listener.rejecting_proxy import RejectingProxy
from tests.listener.support import LEADS, Listener, listening
from tests.servers import migrate, new_postgres
from tests.tokens import new_user
from tests.waiting import wait_until

Read = Callable[..., float]
READY = (200, {"status": "ok", "database": "ok", "pusher": "ok"})


@pytest.fixture
def port() -> int:
    return find_free_port()


@pytest.fixture
def read(port: int) -> Read:
    return partial(scrape, port)


def asked(port: int, path: str = "readyz") -> tuple[int, Any]:
    response = httpx.get(f"http://127.0.0.1:{port}/{path}")
    return response.status_code, response.json()


def test_what_is_published_is_counted(stage: Stage, port: int, read: Read) -> None:
    chat = new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [chat, 25])
    with listening(stage.listener(LISTENER_METRICS_PORT=str(port))) as listener:
        wait_until(lambda: stage.waiting() == 0)
        wait_until(lambda: asked(port) == READY)
        assert asked(port, "healthz") == (200, {"status": "ok"})
        assert read("parley_events_published_total", event="message:sent") == 25
        assert read("parley_pusher_request_seconds_count", result="accepted") == 3
        assert read("parley_pusher_request_seconds_count") == 3
        assert 0 < read("parley_pusher_request_seconds_sum") < 15
        assert read("parley_listener_is_leader") == 1
        wait_until(lambda: read("parley_outbox_waiting_events") == 0)
        assert read("parley_outbox_lag_seconds") == 0
        wait_until(lambda: read("parley_listener_maintenance_total", result="done") == 6)
        assert read("parley_listener_maintenance_total", task="purge events", result="done") == 1
        assert read("process_resident_memory_bytes") > 0
        assert {line["level"] for line in read_log(listener.log)} == {"info"}
        assert listener.stop() == 0


def test_while_pusher_is_away_it_is_not_ready(stage: Stage, directory: Path, port: int, read: Read) -> None:
    chat = new_chat(stage.dba, "owner")
    with (
        Pusher(directory / new_user("pusher")) as pusher,
        listening(stage.listener(pusher, LISTENER_METRICS_PORT=str(port))),
    ):
        wait_until(lambda: asked(port) == READY)
        pusher.kill()
        assert asked(port) == READY  # for all that it knows
        stage.dba.execute(RECORD, [chat, 5])
        wait_until(lambda: asked(port) == (503, {"status": "unavailable", "database": "ok", "pusher": "unavailable"}))
        assert asked(port, "healthz") == (200, {"status": "ok"})
        wait_until(lambda: read("parley_outbox_waiting_events") == 5)
        assert read("parley_outbox_lag_seconds") > 0
        assert read("parley_pusher_request_seconds_count", result="failed") > 0
        assert read("parley_events_published_total") == 0
        pusher.start()
        wait_until(lambda: asked(port) == READY)
        wait_until(lambda: read("parley_events_published_total") == 5)


def test_while_the_database_is_away_it_is_not_ready(directory: Path, pusher: Pusher, port: int, read: Read) -> None:
    with new_postgres(directory / new_user("postgres"), **QUICK) as postgres:
        migrate(postgres)
        url = postgres.url("parley", "events", "events")
        with listening(Listener(directory, url, pusher, LISTENER_METRICS_PORT=str(port))):
            wait_until(lambda: asked(port) == READY)
            postgres.kill()
            wait_until(
                lambda: asked(port) == (503, {"status": "unavailable", "database": "unavailable", "pusher": "ok"})
            )
            assert asked(port, "healthz") == (200, {"status": "ok"})
            for name in ("waiting_events", "lag_seconds", "dead_letter_events"):
                assert math.isnan(read(f"parley_outbox_{name}"))
            assert read("parley_listener_is_leader") == 0
            postgres.start()
            wait_until(lambda: asked(port) == READY)
            wait_until(lambda: read("parley_listener_is_leader") == 1)
            assert read("parley_outbox_waiting_events") == 0


def test_of_two_one_leads_and_both_are_ready(stage: Stage, port: int) -> None:
    other_port = find_free_port()
    first = stage.listener(LISTENER_METRICS_PORT=str(port))
    second = stage.listener(LISTENER_METRICS_PORT=str(other_port))
    with listening(first):
        try:
            second.spawn().child_until("is a standby")
            wait_until(lambda: asked(port) == asked(other_port) == READY)
            assert [scrape(each, "parley_listener_is_leader") for each in (port, other_port)] == [1, 0]
            first.kill()
            second.child_until(LEADS)
            wait_until(lambda: scrape(other_port, "parley_listener_is_leader") == 1)
        finally:
            second.stop()


def test_one_that_lost_its_lead_while_pusher_was_away_is_ready(stage: Stage, port: int) -> None:
    chat = new_chat(stage.dba, "owner")
    with (
        RejectingProxy(stage.pusher).open() as proxy,
        listening(stage.listener(proxy, LISTENER_METRICS_PORT=str(port))),
    ):
        proxy.reject = {"": 503}
        stage.dba.execute(RECORD, [chat, 1])
        wait_until(lambda: asked(port)[1]["pusher"] == "unavailable")
        stage.dba.execute(f"alter database {stage.dba.info.dbname} connection limit 0")  # so that it can't lead again
        stage.dba.execute("""
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'parley-listener'""")
        wait_until(lambda: stage.dba.execute("select listener.try_lead()").fetchone() == (True,))
        stage.dba.execute(f"alter database {stage.dba.info.dbname} connection limit -1")
        wait_until(lambda: asked(port) == READY)


def test_no_detail_is_in_the_log(stage: Stage) -> None:
    failure = "raise unique_violation using message = 'zoo', detail = 'hidden-word'"
    stage.dba.execute(f"""
        create or replace function listener.roll_up(max_messages integer) returns boolean language plpgsql as
        $$ begin {failure}; end $$""")
    with listening(stage.listener()) as listener:
        listener.child_until("could not roll up messages: UniqueViolationError('zoo')")
        assert "hidden-word" not in listener.log.read_text()


def test_dead_letters_are_counted_in_the_process_and_in_the_database(stage: Stage, port: int, read: Read) -> None:
    chat = new_chat(stage.dba, "owner")
    payload = json.dumps("x" * 11_000)
    with listening(stage.listener(LISTENER_METRICS_PORT=str(port))):
        stage.dba.execute(RECORD, [chat, 1])
        record_badly(stage.dba, chat, "bad:event", payload)
        wait_until(lambda: read("parley_events_dead_lettered_total", event="bad:event") == 1)
        wait_until(lambda: read("parley_outbox_dead_letter_events") == 1)
        assert read("parley_pusher_request_seconds_count", result="rejected") >= 1
        assert read("parley_events_published_total", event="bad:event") == 0
        assert asked(port) == READY
        with psycopg.connect(stage.dba_url) as dba:
            dba.execute("delete from parley.outbox where event = 'bad:event'")
        wait_until(lambda: read("parley_outbox_dead_letter_events") == 0)


def test_a_port_that_is_taken_ends_the_start_with_one_line(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        listener = stage.listener(LISTENER_METRICS_PORT=str(number)).spawn()
        child = listener.child
        assert child is not None
        wait_until(lambda: child.exit_code is not None)
        assert child.exit_code == 1
        (line,) = listener.log.read_text().splitlines()
        place = f"127.0.0.1:{number}"
        assert line.startswith(f"parley-listener: METRICS_HOST or LISTENER_METRICS_PORT: can't listen on {place}: ")
        listener.stop()


def test_without_the_setting_nothing_listens(stage: Stage) -> None:
    with listening(stage.listener()) as listener:
        assert listener.child is not None
        connections = psutil.Process(listener.child.pid).net_connections(kind="inet")
        assert not [c for c in connections if c.status == psutil.CONN_LISTEN]
