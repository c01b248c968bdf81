"""Whether servers answer the same: the same messages and total to each request, and what was sent when one is sent.

Times may be written otherwise, as long as they are the same instants; fields may come in another order.
"""

import http.client
import json
from datetime import datetime
from typing import Any

from tests.bench.workloads import Workload

TIMES = ("createdAt", "updatedAt")
OWN = ("id", "createdAt")  # of a message that is sent, others each time


class OtherAnswerError(Exception):
    """Two servers that don't answer the same."""


def answer(port: int, request: bytes, status: int) -> dict[str, Any]:
    """What a server says to the bytes of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body or None, dict(line.split(": ", 1) for line in lines))
    response = connection.getresponse()
    said = response.read().decode()
    connection.close()
    if response.status != status:
        raise OtherAnswerError(f"port {port}: {response.status} {said}")
    found: dict[str, Any] = json.loads(said)
    return found


def normalized(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its times as such."""
    return message | {name: datetime.fromisoformat(message[name]) for name in TIMES if name in message}


def check(workload: Workload, requests: list[bytes], ports: dict[str, int]) -> None:
    """Raises OtherAnswerError if one doesn't answer as the first one does."""
    reference, *others = ports.items()
    for request in requests:
        expected = comparable(workload, answer(reference[1], request, workload.status))
        for name, port in others:
            found = comparable(workload, answer(port, request, workload.status))
            if found != expected:
                raise OtherAnswerError(f"{name} answers to {request!r}: {found}, {reference[0]}: {expected}")


def comparable(workload: Workload, said: dict[str, Any]) -> dict[str, Any]:
    """What must be the same."""
    if workload.method == "POST":
        return normalized(said) | dict.fromkeys(OWN)
    return said | {"messages": [normalized(message) for message in said["messages"]]}
