"""Traces, by OpenTelemetry's own variables: a span for each request, made at its end of what was noted meanwhile.

Without an endpoint nothing of it is loaded. What users write and the URLs that they ask for are not in a trace.
"""

import os
from importlib import import_module
from threading import Thread
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from sanic import HTTPResponse

from api.protocol import ParleyRequest
from api.timings import Timings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
FLUSH_SECONDS = 2  # at the end, for a collector that may be away
SERVERS = {"limit": "redis", "db": "postgresql", "replica": "postgresql"}  # by span: whose answer it waited for


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
    """Sends spans from a thread, a batch at a time."""

    def __init__(self, service: str) -> None:
        from opentelemetry import trace  # noqa: PLC0415 (here and below: of the extra `otel`)
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._provider = provider_of(service)
        self._tracer = self._provider.get_tracer("parley")
        self._extract = TraceContextTextMapPropagator().extract
        self._trace = trace

    def see(self, request: ParleyRequest, response: HTTPResponse, timings: Timings, ended: int) -> None:
        """Makes the spans of a request, whose trace is the caller's if it says so by `traceparent`.

        Its `tracestate` may have anything in it, and is not passed on.
        """
        parent = self._extract({"traceparent": request.headers.get("traceparent", "")})
        method, route = request.known_method.replace("other", "_OTHER"), request.template
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "http.response.status_code": response.status,
            "http.response.header.x-request-id": [timings.request_id],
        }
        if route != "none":
            attributes["http.route"] = route
        kinds, epoch = self._trace.SpanKind, time_ns() - perf_counter_ns()
        span = self._tracer.start_span(
            f"{method} {route}" if route != "none" else method,
            parent, kinds.SERVER, attributes, start_time=timings.begun + epoch,
        )  # fmt: skip
        if span.is_recording():
            if response.status >= 500:
                span.set_status(self._trace.StatusCode.ERROR)
            context = self._trace.set_span_in_context(span, parent)
            for name, begun, until in timings.spans:
                server = SERVERS.get(name)
                kind, system = (kinds.CLIENT, {"db.system.name": server}) if server else (kinds.INTERNAL, {})
                self._tracer.start_span(name, context, kind, system, start_time=begun + epoch).end(until + epoch)
        span.end(ended + epoch)

    def close(self) -> None:
        """Sends what is left, for a moment."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


def provider_of(service: str) -> "TracerProvider":
    """What makes and sends spans, as OpenTelemetry's variables say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    os.environ.setdefault("OTEL_SERVICE_NAME", service)
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
