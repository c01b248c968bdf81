"""The export of traces, configured by OpenTelemetry's environment variables. Without an endpoint, nothing is loaded."""

import os
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"  # the only one for which the exporter is installed
FLUSH_TIMEOUT_SECONDS = 2  # at shutdown, which an unavailable collector must not delay further


def find_endpoint_variable() -> str | None:
    """Return the name of the variable that sets the endpoint, or None if traces are not exported."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    return next((name for name in ENDPOINTS if os.environ.get(name)), None)


def find_configuration_error() -> str | None:
    """Return why traces can't be exported as configured, in one line, or None."""
    if not (name := find_endpoint_variable()):
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


def create_tracer_provider(service: str) -> "TracerProvider":
    """Return a provider that exports spans in batches, from a thread; OTEL_SERVICE_NAME overrides `service`."""
    # The extra `otel` installs these; without an endpoint it need not be installed.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    os.environ.setdefault("OTEL_SERVICE_NAME", service)
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def shut_down_provider(provider: "TracerProvider") -> None:
    """Export the remaining spans, for at most FLUSH_TIMEOUT_SECONDS."""
    thread = Thread(target=provider.shutdown, daemon=True)
    thread.start()
    thread.join(FLUSH_TIMEOUT_SECONDS)
