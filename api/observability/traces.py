"""Traces: a span for each request, made at its end of what was noted meanwhile.

What users write and the URLs that they ask for are not in a trace.
"""

from time import perf_counter_ns, time_ns
from typing import Any

from sanic import HTTPResponse

from api.http.protocol import ParleyRequest
from api.observability.timings import Timings
from api.shared.traces import provider_of, shut_down

SERVERS = {"limit": "redis", "db": "postgresql", "replica": "postgresql"}  # by span: whose answer it waited for


class Traces:
    """Sends spans from a thread, a batch at a time."""

    def __init__(self, service: str) -> None:
        from opentelemetry import trace  # noqa: PLC0415 (of the extra `otel`)
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
        shut_down(self._provider)
