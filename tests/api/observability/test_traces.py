"""Traces, as a collector receives them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.process import ChildProcess, find_free_port
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.otlp import Collector, running_collector
from tests.tokens import new_user
from tests.waiting import wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HIDDEN = "hidden-word"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database("parley_traces")


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], database: str, collector: Collector) -> Iterator[Api]:
    with running(new_api(database, **collector.environment)) as api:
        yield api


def test_request_is_a_span_in_the_callers_trace_with_a_child_for_each_wait(api: Api, collector: Collector) -> None:
    request_id, before = new_user("request"), time.time_ns()
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": request_id}
    headers |= {"tracestate": f"a={HIDDEN}", "baggage": f"a={HIDDEN}"}
    with unlimited_client(api) as client:
        assert client.post("/api/chats", json={"title": HIDDEN}, headers=headers).status_code == 201
    wait_until(lambda: len([span for span in collector.spans if span["trace"] == TRACE]) == 4)
    (span,) = collector.find_spans("POST /api/chats")
    assert (span["trace"], span["parent"], span["kind"], span["failed"]) == (TRACE, PARENT, "SERVER", False)
    assert span["service"] == "parley-api"
    assert span["http.request.method"] == "POST"
    assert span["http.route"] == "/api/chats"
    assert span["http.response.status_code"] == 201
    assert span["http.response.header.x-request-id"] == [request_id]
    assert before <= span["start"] < span["end"] <= time.time_ns()
    children = [child for child in collector.spans if child["parent"] == span["id"]]
    assert [(child["name"], child["kind"], child.get("db.system.name")) for child in children] == [
        ("limit", "CLIENT", "redis"), ("pool", "INTERNAL", None), ("db", "CLIENT", "postgresql"),
    ]  # fmt: skip
    for earlier, later in pairwise(children):
        assert span["start"] <= earlier["start"] <= earlier["end"] <= later["start"]
        assert later["end"] <= span["end"]
    assert HIDDEN.encode() not in collector.received


def test_request_without_traceparent_starts_a_trace_and_a_failed_one_has_error_status(
    api: Api, collector: Collector, postgres: Postgres, database: str
) -> None:
    with unlimited_client(api) as client, psycopg.connect(postgres.url(database), autocommit=True) as dba:
        assert client.get(f"/api/search?search={HIDDEN}").status_code == 200
        assert client.request(HIDDEN, f"/{HIDDEN}").status_code == 404
        dba.execute("alter table parley.chats add constraint zoo check (title <> 'zoo')")
        assert client.post("/api/chats", json={"title": "zoo"}, headers={"traceparent": "zoo"}).status_code == 500
        dba.execute("alter table parley.chats drop constraint zoo")
    wait_until(lambda: any(span["failed"] for span in collector.spans))
    (search,), (unknown,) = collector.find_spans("GET /api/search"), collector.find_spans("_OTHER")
    (failed,) = [span for span in collector.spans if span["failed"]]
    assert "http.route" not in unknown
    assert failed["http.response.status_code"] == 500
    assert {span["parent"] for span in (search, unknown, failed)} == {""}
    assert len({span["trace"] for span in (search, unknown, failed)}) == 3
    assert HIDDEN.encode() not in collector.received


def test_shutdown_exports_the_remaining_spans(new_api: Callable[..., Api], database: str) -> None:
    with running_collector() as collector:
        options = collector.environment | {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_SERVICE_NAME": "chat"}
        with running(new_api(database, **options)) as api, unlimited_client(api) as client:
            assert client.get("/api/chats").status_code == 200
            assert not collector.spans
            api.stop()
        assert [span["service"] for span in collector.find_spans("GET /api/chats")] == ["chat"]


def test_unavailable_collector_delays_neither_requests_nor_shutdown(new_api: Callable[..., Api], database: str) -> None:
    endpoint = f"http://127.0.0.1:{find_free_port()}"
    with running(new_api(database, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)) as api, unlimited_client(api) as client:
        assert client.get("/api/chats").status_code == 200
        assert api.child is not None
        os.kill(api.child.pid, signal.SIGTERM)
        wait_until(lambda: api.child is not None and api.child.exit_code is not None, seconds=6)
        assert api.child.exit_code == 0


def hide_packages(path: Path) -> None:
    """Create a directory for PYTHONPATH that hides the installed OpenTelemetry packages."""
    (path / "opentelemetry").mkdir()
    (path / "opentelemetry" / "__init__.py").touch()


def start_rejected(new_api: Callable[..., Api], database: str, **options: str) -> str:
    """Start an API that can't export traces; return the line with which it exits."""
    return new_api(database, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", **options).fail_to_start()


def test_invalid_trace_configuration_stops_the_start_with_one_line(
    new_api: Callable[..., Api], database: str, tmp_path: Path
) -> None:
    hide_packages(tmp_path)
    assert start_rejected(new_api, database, PYTHONPATH=str(tmp_path)) == (
        "parley: OTEL_EXPORTER_OTLP_ENDPOINT: traces need the extra `otel`: pip install -e '.[otel]'"
    )
    assert start_rejected(new_api, database, OTEL_EXPORTER_OTLP_PROTOCOL="grpc") == (
        "parley: OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf"
    )


def test_protocol_of_traces_overrides_the_general_one_and_may_be_empty(
    new_api: Callable[..., Api], database: str, collector: Collector
) -> None:
    protocols = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    for options in (protocols, {"OTEL_EXPORTER_OTLP_PROTOCOL": "", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ""}):
        with running(new_api(database, **collector.environment, **options)) as api, unlimited_client(api) as client:
            assert client.get("/api/chats").status_code == 200


def test_packages_are_optional_without_an_endpoint(new_api: Callable[..., Api], database: str, tmp_path: Path) -> None:
    hide_packages(tmp_path)
    api = new_api(database, PYTHONPATH=str(tmp_path))
    api.spawn = ChildProcess  # a fork has its interpreter's path
    with running(api), unlimited_client(api) as client:
        assert client.get("/api/chats").status_code == 200
