"""What Prometheus may ask the listener. The HELP texts are the documentation."""

import math

from prometheus_client import Counter, Gauge, Histogram

from api.shared.metrics import create_registry

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
REGISTRY = create_registry()

PUBLISHED = Counter(
    "parley_events_published_total", "Events that Pusher took on all their channels, by name.", ["event"],
    registry=REGISTRY,
)  # fmt: skip
SET_ASIDE = Counter(
    "parley_events_set_aside_total", "Events that Pusher refused for good and that were given up, by name.", ["event"],
    registry=REGISTRY,
)  # fmt: skip
PUSHER_SECONDS = Histogram(
    "parley_pusher_request_seconds",
    "Requests to Pusher, by result: taken, refused (for good) or failed (which is tried again).", ["result"],
    registry=REGISTRY, buckets=SECONDS,
)  # fmt: skip
LEADS = Gauge("parley_listener_leads", "1 while this listener publishes, 0 while it waits to.", registry=REGISTRY)
CHORES = Counter(
    "parley_listener_chores_total", "Housekeeping, by what was to be done and result: done or failed.",
    ["chore", "result"], registry=REGISTRY,
)  # fmt: skip
WAITING = Gauge(
    "parley_outbox_waiting_events",
    "Events in the database that are not known to be published, up to 100,000; NaN while it does not answer.",
    registry=REGISTRY,
)
LAG = Gauge(
    "parley_outbox_lag_seconds", "For how long the oldest of these has been waiting; NaN while it does not answer.",
    registry=REGISTRY,
)  # fmt: skip
KEPT_ASIDE = Gauge(
    "parley_outbox_set_aside_events",
    "Events in the database that were given up; NaN while it does not answer.",
    registry=REGISTRY,
)

TAKEN, REFUSED, FAILED = (PUSHER_SECONDS.labels(result) for result in ("taken", "refused", "failed"))


def note_outbox(waiting: float = math.nan, lag: float = math.nan, set_aside: float = math.nan) -> None:
    """What the database says of the outbox; without arguments, that it does not answer."""
    WAITING.set(waiting)
    LAG.set(lag)
    KEPT_ASIDE.set(set_aside)


note_outbox()
