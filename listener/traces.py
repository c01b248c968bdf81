"""Tracing: a span for each request to Pusher."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import time_ns
from typing import TYPE_CHECKING

from api.shared.traces import create_tracer_provider, find_endpoint_variable, shut_down_provider

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class Traces:
    """Creates spans, if an exporter is configured."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None

    def record(self, method: str, route: str, status: int | None, events: int, started_at_ns: int) -> None:
        """Create the span of a request to Pusher that ends now. `status` is None if there was no response."""
        if self._tracer is None:
            return
        from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 (of the extra `otel`)

        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.template": route,
            "messaging.batch.message_count": events,
        }
        if status is not None:
            attributes["http.response.status_code"] = status
        span = self._tracer.start_span(f"{method} {route}", None, SpanKind.CLIENT, attributes, start_time=started_at_ns)
        if status is None or status >= 300:
            span.set_status(StatusCode.ERROR)
        span.end(time_ns())

    @contextmanager
    def exporting(self) -> Iterator[None]:
        """Export spans for the length of the block, in batches, from a thread of its own."""
        if not find_endpoint_variable():
            yield
            return
        provider = create_tracer_provider("parley-listener")
        self._tracer = provider.get_tracer("parley")
        try:
            yield
        finally:
            shut_down_provider(provider)


TRACES = Traces()
