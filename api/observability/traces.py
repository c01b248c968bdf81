"""OpenTelemetry traces: a span for each request, with a child span for each of its timings, created at its end.

A trace contains no text that users wrote and no URLs.
"""

from time import perf_counter_ns, time_ns
from typing import Any

from sanic import HTTPResponse

from api.http.request import ParleyRequest
from api.observability.timings import Timings
from api.shared.traces import create_tracer_provider, shut_down_provider

DATABASE_SYSTEMS = {"limit": "redis", "db": "postgresql", "replica": "postgresql"}  # by span; others wait in the API


class Traces:
    """Sends spans in batches, from a thread."""

    def __init__(self, service: str) -> None:
        from opentelemetry import trace  # noqa: PLC0415 (installed only with the extra `otel`)
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._provider = create_tracer_provider(service)
        self._tracer = self._provider.get_tracer("parley")
        self._extract = TraceContextTextMapPropagator().extract
        self._trace = trace

    def observe(self, request: ParleyRequest, response: HTTPResponse, timings: Timings, end: int) -> None:
        """Create the spans of a request, in the trace of its `traceparent` header if it has one.

        `tracestate` and `baggage` may contain arbitrary data, and are not propagated.
        """
        parent = self._extract({"traceparent": request.headers.get("traceparent", "")})
        method, route = request.known_method.replace("other", "_OTHER"), request.route_template
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "http.response.status_code": response.status,
            "http.response.header.x-request-id": [timings.request_id],
        }
        if route != "none":
            attributes["http.route"] = route
        kinds = self._trace.SpanKind
        epoch = time_ns() - perf_counter_ns()  # converts timings to Unix time
        span = self._tracer.start_span(
            f"{method} {route}" if route != "none" else method,
            parent, kinds.SERVER, attributes, start_time=timings.start + epoch,
        )  # fmt: skip
        if span.is_recording():
            if response.status >= 500:
                span.set_status(self._trace.StatusCode.ERROR)
            context = self._trace.set_span_in_context(span, parent)
            for name, span_start, span_end in timings.spans:
                system = DATABASE_SYSTEMS.get(name)
                kind, child_attributes = (kinds.CLIENT, {"db.system.name": system}) if system else (kinds.INTERNAL, {})
                child = self._tracer.start_span(name, context, kind, child_attributes, start_time=span_start + epoch)
                child.end(span_end + epoch)
        span.end(end + epoch)

    def close(self) -> None:
        """Send the remaining spans, for at most FLUSH_TIMEOUT_SECONDS."""
        shut_down_provider(self._provider)
