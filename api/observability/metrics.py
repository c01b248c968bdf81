"""What Prometheus may ask a worker, on a port of its own: METRICS_PORT, and one more for each further worker.

A worker is a target: it has memory, connections and a connection to Redis of its own, and what they have together is
PromQL's to say. The HELP texts are the documentation.
"""

from collections.abc import Callable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, start_http_server
from sanic import HTTPResponse, Sanic

from api.admission.upload_slots import ROOM
from api.http.protocol import ParleyRequest
from api.observability.timings import Timings
from api.shared.metrics import new_registry

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

Children = tuple[Callable[[], None], Callable[[float], None]]


class Metrics:
    """The metrics of a worker. Children are looked up once: what a request does is to add to them."""

    def __init__(self, app: Sanic[Any, Any]) -> None:
        self.registry = new_registry()
        self._requests = Counter(
            "parley_requests_total",
            "Requests, by method, route (a path of the API, or none) and status; 499 where the client was gone.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = self._histogram("parley_request_seconds", "From a request to its answer.", "method", "route")
        self._of_requests: dict[tuple[str, str, int], Children] = {}
        limited = Counter(
            "parley_limit_decisions_total",
            "Requests that the rate limit let pass or refused, by who counted: redis, or process while that is away.",
            ("decision", "counted_by"),
            registry=self.registry,
        )
        self._of_decisions = {
            (allowed, by): limited.labels("pass" if allowed else "refuse", by).inc
            for allowed in (True, False)
            for by in ("redis", "process")
        }
        self._address_fallbacks = Counter(
            "parley_address_fallbacks_total",
            "Requests without an address where TRUSTED_PROXIES says: they share the rate limit of a proxy.",
            registry=self.registry,
        )
        limit = self._histogram("parley_limit_seconds", "Wait for the rate limit's count.")
        pool = self._histogram("parley_database_pool_wait_seconds", "Wait for a free connection to PostgreSQL.")
        statement = self._histogram(
            "parley_database_statement_seconds", "Wait for PostgreSQL's answer to a request's statement.", "server"
        )
        queue = self._histogram(
            "parley_admission_wait_seconds",
            "Wait in line of a request beyond the limits on a user, a chat, writes or expensive requests.",
        )
        self._of_spans = {
            "queue": queue.observe,
            "limit": limit.observe,
            "pool": pool.observe,
            "db": statement.labels("primary").observe,
            "replica": statement.labels("replica").observe,
        }
        self._add_gauges(app)

    def _histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        return Histogram(name, help_text, labels, registry=self.registry, buckets=SECONDS)

    def _add_gauges(self, app: Sanic[Any, Any]) -> None:
        def gauge(name: str, help_text: str, read: Callable[[], float]) -> None:
            Gauge(name, help_text, registry=self.registry).set_function(read)

        def read_connections(server: str, state: str) -> Callable[[], float]:
            def read() -> int:
                database = app.ctx.database if server == "primary" else app.ctx.replica and app.ctx.replica.database
                return database.connections[state] if database else 0

            return read

        connections = Gauge(
            "parley_database_connections",
            "Connections to the primary or a replica: open, of these used just now, how many there may be (max), and "
            "how many requests wait for one (waiting).",
            ("server", "state"),
            registry=self.registry,
        )
        for server in ("primary", "replica"):
            for state in ("open", "used", "max", "waiting"):
                connections.labels(server, state).set_function(read_connections(server, state))
        fallback = "1 while Redis is away and the worker limits by itself."
        gauge("parley_limit_fallback", fallback, lambda: app.ctx.limiter.is_away)
        replica = "1 while the replica answers reads; 0 where there is none, too."
        gauge("parley_replica_used", replica, lambda: bool(app.ctx.replica and app.ctx.replica.is_used))
        waiting = "Requests that wait in line, beyond the limits on a user, a chat, writes or expensive requests."
        gauge("parley_admission_waiting_requests", waiting, lambda: app.ctx.admission.waiting)
        gauge("parley_uploads_open", "Uploads of images under way.", lambda: sum(list(ROOM.open.values())))

    def see(self, request: ParleyRequest, response: HTTPResponse, timings: Timings, ended: int) -> None:
        """Counts a request."""
        key = (request.known_method, request.template, response.status)
        if (children := self._of_requests.get(key)) is None:
            children = self._of_requests[key] = self._children(*key)
        count, observe = children
        count()
        observe((ended - timings.begun) / 1e9)
        for name, begun, until in timings.spans:
            self._of_spans[name]((until - begun) / 1e9)
        if request.decision:
            self._of_decisions[request.decision.allowed, request.decision.counted_by]()
        if request.is_address_fallback:
            self._address_fallbacks.inc()

    def _children(self, method: str, route: str, status: int) -> Children:
        return self._requests.labels(method, route, status).inc, self._seconds.labels(method, route).observe

    def serve(self, host: str, port: int) -> None:
        """Answers in a thread, for as long as the process lives; raises OSError where the port is taken."""
        start_http_server(port, host, self.registry)
