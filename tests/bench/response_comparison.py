"""Checks that all servers return the same: the same messages and total to each request, and the message that was sent.

Timestamps may differ in their format if they are the same instants, and fields in their order.
"""

import http.client
import json
from datetime import datetime
from typing import Any

from tests.bench.workloads import Workload

TIMESTAMPS = ("createdAt", "updatedAt")
GENERATED = ("id", "createdAt")  # fields of a sent message that differ from server to server


class ResponseMismatchError(Exception):
    """Two servers return different responses, or one returns an unexpected status."""


def send_request(port: int, request: bytes, status: int) -> dict[str, Any]:
    """Send the bytes of a request; return the JSON of the response. Raises ResponseMismatchError on another status."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body or None, dict(line.split(": ", 1) for line in lines))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    if response.status != status:
        raise ResponseMismatchError(f"port {port}: {response.status} {text}")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def parse_timestamps(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with datetimes in place of its timestamps."""
    return message | {name: datetime.fromisoformat(message[name]) for name in TIMESTAMPS if name in message}


def compare_servers(workload: Workload, requests: list[bytes], ports: dict[str, int]) -> None:
    """Compare all servers with the first one. Raises ResponseMismatchError."""
    reference, *others = ports.items()
    for request in requests:
        expected = normalize(workload, send_request(reference[1], request, workload.status))
        for name, port in others:
            actual = normalize(workload, send_request(port, request, workload.status))
            if actual != expected:
                raise ResponseMismatchError(f"{name} returns {actual} for {request!r}, {reference[0]}: {expected}")


def normalize(workload: Workload, body: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a response that must not differ."""
    if workload.method == "POST":
        return parse_timestamps(body) | dict.fromkeys(GENERATED)
    return body | {"messages": [parse_timestamps(message) for message in body["messages"]]}
