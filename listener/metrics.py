"""The Prometheus metrics of the listener. The help texts are their documentation."""

import math

from prometheus_client import Counter, Gauge, Histogram

from api.shared.metrics import create_registry

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
REGISTRY = create_registry()

PUBLISHED = Counter(
    "parley_events_published_total", "Events that Pusher accepted on all their channels, by name.", ["event"],
    registry=REGISTRY,
)  # fmt: skip
DEAD_LETTERED = Counter(
    "parley_events_dead_lettered_total", "Events that could not be published, by name.", ["event"],
    registry=REGISTRY,
)  # fmt: skip
TERMINATIONS_GIVEN_UP = Counter(
    "parley_terminations_given_up_total",
    "Terminations of a removed member's connections that Pusher does not support, rejected or failed repeatedly.",
    registry=REGISTRY,
)
PUSHER_SECONDS = Histogram(
    "parley_pusher_request_seconds",
    "Requests to Pusher, by result: accepted, rejected (permanently) or failed (and retried).", ["result"],
    registry=REGISTRY, buckets=BUCKETS,
)  # fmt: skip
IS_LEADER = Gauge(
    "parley_listener_is_leader", "1 while this listener is the leader, 0 while it is a standby.", registry=REGISTRY
)
MAINTENANCE = Counter(
    "parley_listener_maintenance_total", "Maintenance tasks, by task and result: done or failed.",
    ["task", "result"], registry=REGISTRY,
)  # fmt: skip
WAITING_EVENTS = Gauge(
    "parley_outbox_waiting_events",
    "Events in the database that are not published yet, up to 100,000; NaN while the database is unavailable.",
    registry=REGISTRY,
)
LAG_SECONDS = Gauge(
    "parley_outbox_lag_seconds",
    "How long the oldest of them has been waiting, even if clocks are set back; NaN while the database is unavailable.",
    registry=REGISTRY,
)
DEAD_LETTER_EVENTS = Gauge(
    "parley_outbox_dead_letter_events",
    "Events in the database that could not be published; NaN while the database is unavailable.",
    registry=REGISTRY,
)

ACCEPTED, REJECTED, FAILED = (PUSHER_SECONDS.labels(result) for result in ("accepted", "rejected", "failed"))


def record_outbox_health(
    waiting_events: float = math.nan, lag_seconds: float = math.nan, dead_letter_events: float = math.nan
) -> None:
    """Set the gauges of the outbox; to NaN, without arguments, while the database is unavailable."""
    WAITING_EVENTS.set(waiting_events)
    LAG_SECONDS.set(lag_seconds)
    DEAD_LETTER_EVENTS.set(dead_letter_events)


record_outbox_health()
