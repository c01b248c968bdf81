"""A collector of traces: an HTTP server that takes OTLP and keeps the spans."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATH = "/v1/traces"


class Collector(ThreadingHTTPServer):
    """It answers on a free port; `spans` are what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[dict[str, Any]] = []
        self.received = b""

    @property
    def environment(self) -> dict[str, str]:
        """What sends traces here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def named(self, name: str) -> list[dict[str, Any]]:
        """The spans of this name."""
        return [span for span in list(self.spans) if span["name"] == name]


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received += body
        message = ExportTraceServiceRequest()
        if self.path == PATH:
            message.ParseFromString(body)
        for resource in message.resource_spans:
            of_resource = attributes(resource.resource.attributes)
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self.server.spans.append(
                    {
                        "name": span.name,
                        "service": of_resource["service.name"],
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "kind": span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                        "begun": span.start_time_unix_nano,
                        "ended": span.end_time_unix_nano,
                        "failed": span.status.code == span.status.STATUS_CODE_ERROR,
                        **attributes(span.attributes),
                    }
                )
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def attributes(pairs: Any) -> dict[str, Any]:
    """Their names and values."""

    def value_of(value: Any) -> Any:
        kind = value.WhichOneof("value")
        found = getattr(value, kind)
        return [value_of(item) for item in found.values] if kind == "array_value" else found

    return {pair.key: value_of(pair.value) for pair in pairs}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that answers for as long as the block lasts."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()
