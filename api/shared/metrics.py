"""What either process tells Prometheus of itself, beside what it is there for."""

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time beside each counter, of use to nobody here


def new_registry() -> CollectorRegistry:
    """A registry with the process', Python's and its garbage collector's metrics."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
