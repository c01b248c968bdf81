"""The Prometheus metrics that both processes have: those of the process and of Python."""

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # They would double the counters with timestamps.


def create_registry() -> CollectorRegistry:
    """Return a registry with the metrics of the process, of Python and of its garbage collector."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
