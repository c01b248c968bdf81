"""The Prometheus metrics of a worker, on its own port: METRICS_PORT plus the number of the worker, from 0.

Each worker is a separate target, because memory and connections are per process; PromQL aggregates them. The help texts
document the metrics, also in the README.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, start_http_server
from sanic import HTTPResponse, Sanic

from api.http.request import ParleyRequest
from api.images.upload_slots import UPLOAD_SLOTS
from api.observability.clocks import DATABASE_CLOCK, REDIS_CLOCK
from api.observability.timings import Timings
from api.shared.metrics import create_registry

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds

Children = tuple[Callable[[], None], Callable[[float], None]]  # of the request counter and the duration histogram


class Metrics:
    """The metrics of a worker. Label lookups are slow, so their results are kept for the next requests."""

    def __init__(self, app: Sanic[Any, Any]) -> None:
        self.registry = create_registry()
        self._add_request_metrics()
        self._add_rate_limit_metrics()
        self._add_span_histograms()
        self._add_gauges(app)

    def _add_request_metrics(self) -> None:
        self._requests = Counter(
            "parley_requests_total",
            "Requests by method, route (a path template, or none) and status (499 if the client disconnected).",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._durations = self._create_histogram(
            "parley_request_duration_seconds", "Time from a request to its response.", "method", "route"
        )
        self._children: dict[tuple[str, str, int], Children] = {}

    def _add_rate_limit_metrics(self) -> None:
        decisions = Counter(
            "parley_rate_limit_decisions_total",
            "Requests by decision of the rate limit (allow or reject) and by counter (redis, or process while Redis is "
            "unavailable).",
            ("decision", "counted_by"),
            registry=self.registry,
        )
        self._decisions = {
            (allowed, counted_by): decisions.labels("allow" if allowed else "reject", counted_by).inc
            for allowed in (True, False)
            for counted_by in ("redis", "process")
        }
        self._address_fallbacks = Counter(
            "parley_client_address_fallbacks_total",
            "Requests without a client address where TRUSTED_PROXIES expects one; they share a proxy's rate limit.",
            registry=self.registry,
        )

    def _add_span_histograms(self) -> None:
        rate_limit = self._create_histogram("parley_rate_limit_duration_seconds", "Time to check the rate limit.")
        pool = self._create_histogram(
            "parley_database_pool_wait_seconds", "Time to acquire a connection to PostgreSQL from the pool."
        )
        statement = self._create_histogram(
            "parley_database_statement_duration_seconds", "Time of a request's statement in PostgreSQL.", "server"
        )
        queue = self._create_histogram(
            "parley_admission_wait_seconds",
            "Time in the queue of a request over the limits on a user, a chat, writes or expensive requests.",
        )
        self._spans = {
            "queue": queue.observe,
            "limit": rate_limit.observe,
            "pool": pool.observe,
            "db": statement.labels("primary").observe,
            "replica": statement.labels("replica").observe,
        }

    def _create_histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        return Histogram(name, help_text, labels, registry=self.registry, buckets=BUCKETS)

    def _add_gauges(self, app: Sanic[Any, Any]) -> None:
        def add_gauge(name: str, help_text: str, read: Callable[[], float]) -> None:
            Gauge(name, help_text, registry=self.registry).set_function(read)

        self._add_connection_gauges(app)
        self._add_clock_gauges()
        fallback = "1 while Redis is unavailable and the worker limits by itself, otherwise 0."
        add_gauge("parley_rate_limit_fallback", fallback, lambda: app.ctx.limiter.is_redis_unavailable)
        replica = "1 while the replica serves reads, otherwise 0, also without a replica."
        add_gauge("parley_replica_in_use", replica, lambda: bool(app.ctx.replica and app.ctx.replica.is_serving_reads))
        queued = "Requests in the queue, over the limits on a user, a chat, writes or expensive requests."
        add_gauge("parley_admission_waiting_requests", queued, lambda: app.ctx.admission.waiting)
        uploads = "Uploads of images in progress."
        add_gauge("parley_uploads_in_progress", uploads, lambda: sum(list(UPLOAD_SLOTS.open.values())))

    def _add_clock_gauges(self) -> None:
        skew = Gauge(
            "parley_clock_skew_seconds",
            "By how much the clock of Redis or the database is ahead of this host's; NaN before its first response.",
            ("server",),
            registry=self.registry,
        )
        for server, clock in {"redis": REDIS_CLOCK, "database": DATABASE_CLOCK}.items():
            skew.labels(server).set_function(partial(getattr, clock, "skew"))

    def _add_connection_gauges(self, app: Sanic[Any, Any]) -> None:
        connections = Gauge(
            "parley_database_connections",
            "Connections to the primary or the replica: open, used (by a request), max (the limit); and waiting, the "
            "requests that wait for one.",
            ("server", "state"),
            registry=self.registry,
        )

        def create_reader(server: str, state: str) -> Callable[[], float]:
            def read() -> int:
                database = app.ctx.database if server == "primary" else app.ctx.replica and app.ctx.replica.database
                return database.connections[state] if database else 0

            return read

        for server in ("primary", "replica"):
            for state in ("open", "used", "max", "waiting"):
                connections.labels(server, state).set_function(create_reader(server, state))

    def observe(self, request: ParleyRequest, response: HTTPResponse, timings: Timings, end: int) -> None:
        """Count a request and its timings."""
        key = (request.known_method, request.route_template, response.status)
        if (children := self._children.get(key)) is None:
            children = self._children[key] = self._create_children(*key)
        count, observe_duration = children
        count()
        observe_duration((end - timings.start) / 1e9)
        for name, span_start, span_end in timings.spans:
            self._spans[name]((span_end - span_start) / 1e9)
        if request.rate_limit_decision:
            self._decisions[request.rate_limit_decision.allowed, request.rate_limit_decision.counted_by]()
        if request.is_address_fallback:
            self._address_fallbacks.inc()

    def _create_children(self, method: str, route: str, status: int) -> Children:
        return self._requests.labels(method, route, status).inc, self._durations.labels(method, route).observe

    def serve(self, host: str, port: int) -> None:
        """Serve the metrics from a thread until the process exits. Raises OSError if the port is in use."""
        start_http_server(port, host, self.registry)
