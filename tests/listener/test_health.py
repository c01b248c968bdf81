"""Metrics and readiness of the listener."""

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
from api.dev.pusher_process import PusherProcess
from listener.database import OutboxHealth
from listener.lag import MAX_POLLS, LagMeter
from tests.api_process import read_log, scrape
from tests.conftest import QUICK
from tests.listener.chats import INSERT_MESSAGES, new_large_chat, record_invalid_event
from tests.listener.conftest import Harness
from tests.listener.process import LEADER_LOG, Listener, running_listener
from tests.listener.pusher_proxy import PusherProxy
from tests.servers import migrate, new_postgres
from tests.tokens import new_user
from tests.waiting import wait_until

ReadMetric = Callable[..., float]
READY = (200, {"status": "ok", "database": "ok", "pusher": "ok"})


@pytest.fixture
def metrics_port() -> int:
    return find_free_port()


@pytest.fixture
def read_metric(metrics_port: int) -> ReadMetric:
    return partial(scrape, metrics_port)


def get_status(metrics_port: int, path: str = "readyz") -> tuple[int, Any]:
    response = httpx.get(f"http://127.0.0.1:{metrics_port}/{path}")
    return response.status_code, response.json()


def test_published_events_are_counted(harness: Harness, metrics_port: int, read_metric: ReadMetric) -> None:
    chat = new_large_chat(harness.dba, "owner")
    harness.dba.execute(INSERT_MESSAGES, [chat, 25])
    with running_listener(harness.new_listener(LISTENER_METRICS_PORT=str(metrics_port))) as listener:
        wait_until(lambda: harness.count_queued() == 0)
        wait_until(lambda: get_status(metrics_port) == READY)
        assert get_status(metrics_port, "healthz") == (200, {"status": "ok"})
        assert read_metric("parley_events_published_total", event="message:sent") == 25
        assert read_metric("parley_pusher_request_seconds_count", result="accepted") == 3
        assert read_metric("parley_pusher_request_seconds_count") == 3
        assert 0 < read_metric("parley_pusher_request_seconds_sum") < 15
        assert read_metric("parley_listener_is_leader") == 1
        wait_until(lambda: read_metric("parley_outbox_waiting_events") == 0)
        assert read_metric("parley_outbox_lag_seconds") == 0
        wait_until(lambda: read_metric("parley_listener_maintenance_total", result="done") == 6)  # each task once
        assert read_metric("parley_listener_maintenance_total", task="purge events", result="done") == 1
        assert read_metric("process_resident_memory_bytes") > 0
        assert {line["level"] for line in read_log(listener.log)} == {"info"}
        assert listener.stop() == 0


def test_listener_is_not_ready_while_the_database_is_read_only(harness: Harness, metrics_port: int) -> None:
    database = harness.dba.info.dbname
    end_sessions = (
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'events' and datname = %s"
    )
    with running_listener(harness.new_listener(LISTENER_METRICS_PORT=str(metrics_port))):
        wait_until(lambda: get_status(metrics_port) == READY)
        harness.dba.execute(f"alter database {database} set default_transaction_read_only = on")
        harness.dba.execute(end_sessions, [database])
        unavailable = (503, {"status": "unavailable", "database": "unavailable", "pusher": "ok"})
        wait_until(lambda: get_status(metrics_port) == unavailable, seconds=30)
        harness.dba.execute(f"alter database {database} reset default_transaction_read_only")
        wait_until(lambda: get_status(metrics_port) == READY, seconds=30)


def test_listener_is_not_ready_during_an_outage_of_pusher(
    harness: Harness, directory: Path, metrics_port: int, read_metric: ReadMetric
) -> None:
    chat = new_large_chat(harness.dba, "owner")
    with (
        PusherProcess(directory / new_user("pusher")) as pusher,
        running_listener(harness.new_listener(pusher, LISTENER_METRICS_PORT=str(metrics_port))),
    ):
        wait_until(lambda: get_status(metrics_port) == READY)
        pusher.kill()
        assert get_status(metrics_port) == READY  # the outage is not detected yet
        harness.dba.execute(INSERT_MESSAGES, [chat, 5])
        wait_until(
            lambda: (
                get_status(metrics_port) == (503, {"status": "unavailable", "database": "ok", "pusher": "unavailable"})
            )
        )
        assert get_status(metrics_port, "healthz") == (200, {"status": "ok"})
        wait_until(lambda: read_metric("parley_outbox_waiting_events") == 5)
        assert read_metric("parley_outbox_lag_seconds") > 0
        assert read_metric("parley_pusher_request_seconds_count", result="failed") > 0
        assert read_metric("parley_events_published_total") == 0
        pusher.start()
        wait_until(lambda: get_status(metrics_port) == READY)
        wait_until(lambda: read_metric("parley_events_published_total") == 5)


def test_lag_grows_after_the_clock_of_the_database_was_set_back(
    harness: Harness, metrics_port: int, read_metric: ReadMetric
) -> None:
    chat = new_large_chat(harness.dba, "owner")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        running_listener(harness.new_listener(proxy, LISTENER_METRICS_PORT=str(metrics_port))),
    ):
        proxy.reject = {"": 503}
        with harness.dba.transaction():
            harness.dba.execute(INSERT_MESSAGES, [chat, 1])
            harness.dba.execute("update parley.outbox set recorded_at = now() + interval '1 hour'")
        wait_until(lambda: read_metric("parley_outbox_waiting_events") == 1)
        assert read_metric("parley_outbox_lag_seconds") >= 0
        wait_until(lambda: read_metric("parley_outbox_lag_seconds") > 1)
        before = read_metric("parley_outbox_lag_seconds")
        wait_until(lambda: read_metric("parley_outbox_lag_seconds") > before)
        proxy.reject = {}
        wait_until(lambda: read_metric("parley_outbox_lag_seconds") == 0)


def measure_lags(*polls: tuple[float, int | None, int | None, float]) -> list[float]:
    """Return the lag at each poll: the lag by the database's clock, the oldest and the newest event, and the time."""
    meter = LagMeter()
    return [
        meter.measure(OutboxHealth(int(oldest is not None), lag, oldest, newest, 0), now)
        for lag, oldest, newest, now in polls
    ]


def test_lag_is_the_longer_of_both_clocks() -> None:
    assert measure_lags(
        (0, None, None, 10),
        (0, 7, 7, 20),  # recorded in the future
        (0, 7, 8, 25),
        (30, 7, 8, 26),
        (2, 8, 8, 27),  # event 7 is published
        (0, 8, 9, 40),
        (0, None, None, 50),
        (0, 10, 10, 60),
    ) == [0, 0, 5, 30, 2, 15, 0, 0]


def test_lag_of_a_moving_queue_is_that_of_its_length() -> None:
    """Each second ten events are recorded and ten published, of which the oldest has been waiting for a minute."""
    lags = measure_lags(*((0, 10 * second, 10 * (second + 60), float(second)) for second in range(10_000)))
    assert lags[:60] == list(range(60))
    assert set(lags[60:]) == {60}


def test_lag_of_a_long_outage_needs_bounded_memory() -> None:
    meter = LagMeter()
    for second in range(10 * MAX_POLLS):
        assert meter.measure(OutboxHealth(1, 0, 1, second + 1, 0), second) == second
    assert len(meter._polls) <= MAX_POLLS
    later = meter.measure(OutboxHealth(1, 0, 5 * MAX_POLLS, 10 * MAX_POLLS, 0), 10 * MAX_POLLS)
    assert 4.5 * MAX_POLLS < later <= 5.1 * MAX_POLLS


def test_listener_is_not_ready_during_an_outage_of_the_database(
    directory: Path, pusher: PusherProcess, metrics_port: int, read_metric: ReadMetric
) -> None:
    with new_postgres(directory / new_user("postgres"), **QUICK) as postgres:
        migrate(postgres)
        url = postgres.url("parley", "events", "events")
        with running_listener(Listener(directory, url, pusher, LISTENER_METRICS_PORT=str(metrics_port))):
            wait_until(lambda: get_status(metrics_port) == READY)
            postgres.kill()
            wait_until(
                lambda: (
                    get_status(metrics_port)
                    == (503, {"status": "unavailable", "database": "unavailable", "pusher": "ok"})
                )
            )
            assert get_status(metrics_port, "healthz") == (200, {"status": "ok"})
            for name in ("waiting_events", "lag_seconds", "dead_letter_events"):
                assert math.isnan(read_metric(f"parley_outbox_{name}"))
            assert read_metric("parley_listener_is_leader") == 0
            postgres.start()
            wait_until(lambda: get_status(metrics_port) == READY)
            wait_until(lambda: read_metric("parley_listener_is_leader") == 1)
            assert read_metric("parley_outbox_waiting_events") == 0


def test_one_of_two_listeners_leads_and_both_are_ready(harness: Harness, metrics_port: int) -> None:
    other_port = find_free_port()
    first = harness.new_listener(LISTENER_METRICS_PORT=str(metrics_port))
    second = harness.new_listener(LISTENER_METRICS_PORT=str(other_port))
    with running_listener(first):
        try:
            second.spawn().wait_for_log("is a standby")
            wait_until(lambda: get_status(metrics_port) == get_status(other_port) == READY)
            assert [scrape(port, "parley_listener_is_leader") for port in (metrics_port, other_port)] == [1, 0]
            first.kill()
            second.wait_for_log(LEADER_LOG)
            wait_until(lambda: scrape(other_port, "parley_listener_is_leader") == 1)
        finally:
            second.stop()


def test_listener_that_lost_the_lead_during_an_outage_of_pusher_is_ready(harness: Harness, metrics_port: int) -> None:
    chat = new_large_chat(harness.dba, "owner")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        running_listener(harness.new_listener(proxy, LISTENER_METRICS_PORT=str(metrics_port))),
    ):
        proxy.reject = {"": 503}
        harness.dba.execute(INSERT_MESSAGES, [chat, 1])
        wait_until(lambda: get_status(metrics_port)[1]["pusher"] == "unavailable")
        harness.dba.execute(
            f"alter database {harness.dba.info.dbname} connection limit 0"
        )  # so that it cannot become the leader again
        harness.dba.execute("""
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'parley-listener'""")
        wait_until(lambda: harness.dba.execute("select listener.try_lead()").fetchone() == (True,))
        harness.dba.execute(f"alter database {harness.dba.info.dbname} connection limit -1")
        wait_until(lambda: get_status(metrics_port) == READY)


def test_details_of_errors_are_not_logged(harness: Harness) -> None:
    failure = "raise unique_violation using message = 'zoo', detail = 'hidden-word'"
    harness.dba.execute(f"""
        create or replace function listener.roll_up(max_messages integer) returns boolean language plpgsql as
        $$ begin {failure}; end $$""")
    with running_listener(harness.new_listener()) as listener:
        listener.wait_for_log("could not roll up messages: UniqueViolationError('zoo')")
        assert "hidden-word" not in listener.log.read_text()


def test_dead_letters_are_counted_in_the_process_and_in_the_database(
    harness: Harness, metrics_port: int, read_metric: ReadMetric
) -> None:
    chat = new_large_chat(harness.dba, "owner")
    payload = json.dumps("x" * 11_000)
    with running_listener(harness.new_listener(LISTENER_METRICS_PORT=str(metrics_port))):
        harness.dba.execute(INSERT_MESSAGES, [chat, 1])
        record_invalid_event(harness.dba, chat, "bad:event", payload)
        wait_until(lambda: read_metric("parley_events_dead_lettered_total", event="bad:event") == 1)
        wait_until(lambda: read_metric("parley_outbox_dead_letter_events") == 1)
        assert read_metric("parley_pusher_request_seconds_count", result="rejected") >= 1
        assert read_metric("parley_events_published_total", event="bad:event") == 0
        assert get_status(metrics_port) == READY
        with psycopg.connect(harness.dba_url) as dba:
            dba.execute("delete from parley.outbox where event = 'bad:event'")
        wait_until(lambda: read_metric("parley_outbox_dead_letter_events") == 0)


def test_port_in_use_is_reported_in_one_line(harness: Harness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        listener = harness.new_listener(LISTENER_METRICS_PORT=str(port)).spawn()
        child = listener.child
        assert child is not None
        wait_until(lambda: child.exit_code is not None)
        assert child.exit_code == 1
        (line,) = listener.log.read_text().splitlines()
        address = f"127.0.0.1:{port}"
        assert line.startswith(f"parley-listener: METRICS_HOST or LISTENER_METRICS_PORT: can't listen on {address}: ")
        listener.stop()


def test_no_port_is_opened_without_the_setting(harness: Harness) -> None:
    with running_listener(harness.new_listener()) as listener:
        assert listener.child is not None
        connections = psutil.Process(listener.child.pid).net_connections(kind="inet")
        assert not [c for c in connections if c.status == psutil.CONN_LISTEN]
