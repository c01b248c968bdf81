"""Traces, by OpenTelemetry's own variables: a span for each request to Pusher.

Without an endpoint nothing of it is loaded.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Thread
from time import time_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
FLUSH_SECONDS = 2  # at the end, for a collector that may be away


def endpoint() -> str | None:
    """The variable that says where traces go, if they go anywhere."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    return next((name for name in ENDPOINTS if os.environ.get(name)), None)


def problem() -> str | None:
    """Why traces can't be sent as the environment asks, in one line."""
    if not (name := endpoint()):
        return None
    try:
        for module in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"):
            import_module(module)
    except ImportError:
        return f"{name}: traces need the extra `otel`: pip install -e '.[otel]'"
    variable = next((name for name in PROTOCOLS if os.environ.get(name)), None)
    if variable and os.environ[variable] != PROTOCOL:
        return f"{variable}: must be {PROTOCOL}"
    return None


class Traces:
    """What makes spans, if they go anywhere."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None

    def note(self, method: str, route: str, status: int | None, events: int, begun: int) -> None:
        """Makes the span of a request to Pusher that began then, by time_ns(); `status` is None without an answer."""
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
        span = self._tracer.start_span(f"{method} {route}", None, SpanKind.CLIENT, attributes, start_time=begun)
        if status is None or status >= 300:
            span.set_status(StatusCode.ERROR)
        span.end(time_ns())

    @contextmanager
    def sent(self) -> Iterator[None]:
        """Sends spans from a thread, a batch at a time, for as long as the block lasts."""
        if not endpoint():
            yield
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 (as above)
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        os.environ.setdefault("OTEL_SERVICE_NAME", "parley-listener")
        provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = provider.get_tracer("parley")
        try:
            yield
        finally:
            sending = Thread(target=provider.shutdown, daemon=True)
            sending.start()
            sending.join(FLUSH_SECONDS)


TRACES = Traces()
