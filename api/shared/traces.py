"""Where traces go, by OpenTelemetry's own variables. Without an endpoint nothing of it is loaded."""

import os
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

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


def provider_of(service: str) -> "TracerProvider":
    """What makes spans and sends them, a batch at a time, from a thread of its own."""
    # Of the extra `otel`, so not to be imported where there is no endpoint.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    os.environ.setdefault("OTEL_SERVICE_NAME", service)
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def shut_down(provider: "TracerProvider") -> None:
    """Sends what is left, for a moment."""
    sending = Thread(target=provider.shutdown, daemon=True)
    sending.start()
    sending.join(FLUSH_SECONDS)
