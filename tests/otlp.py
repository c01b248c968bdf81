"""A collector of traces: an HTTP server that receives OTLP and keeps the spans in memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATH = "/v1/traces"


class Collector(ThreadingHTTPServer):
    """A server on a free port; `spans` are those that it has received."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[dict[str, Any]] = []
        self.received = b""

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a process that sends its traces here, within 50 ms."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def find_spans(self, name: str) -> list[dict[str, Any]]:
        """Return the received spans of this name."""
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
            resource_attributes = parse_attributes(resource.resource.attributes)
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self.server.spans.append(
                    {
                        "name": span.name,
                        "service": resource_attributes["service.name"],
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "kind": span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "failed": span.status.code == span.status.STATUS_CODE_ERROR,
                        **parse_attributes(span.attributes),
                    }
                )
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def parse_attributes(pairs: Any) -> dict[str, Any]:
    """Return the attributes of a span or a resource by name."""

    def parse(value: Any) -> Any:
        kind = value.WhichOneof("value")
        content = getattr(value, kind)
        return [parse(item) for item in content.values] if kind == "array_value" else content

    return {pair.key: parse(pair.value) for pair in pairs}


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Run a collector for the duration of the block."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()
