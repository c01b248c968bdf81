"""What uploads cost others: GET /api/chats while 20 images of 5 MB are uploaded at once, and the API's memory.
`python -m tests.bench.uploads [--rounds 5]`

Each round measures first alone, then beside the uploads, and as long as they take. Prints milliseconds over all
rounds, the ratio of the two, what was answered to the uploads, and the highest memory of the API's process.
"""

import argparse
import http.client
import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import psutil

from tests import images
from tests.bench.support import served
from tests.support import token

UPLOADS = 20
READER = {"Authorization": f"Bearer {token('reader')}"}


def upload(port: int, user: str, image: bytes) -> int:
    """The status of an upload."""
    head = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": "multipart/form-data; boundary=x"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    connection.request("POST", "/api/profile/image", head + image + b"\r\n--x--\r\n", headers)
    return connection.getresponse().status


def upload_all(port: int, sent: list[bytes]) -> tuple[Counter[int], float]:
    """The statuses of all images, uploaded at once, and how long they took."""
    begun = time.monotonic()
    with ThreadPoolExecutor(len(sent)) as threads:
        users = [f"user {number}" for number in range(len(sent))]
        return Counter(threads.map(upload, [port] * len(sent), users, sent)), time.monotonic() - begun


def read_while(port: int, goes_on: Callable[[], bool]) -> list[float]:
    """How many milliseconds each GET took, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    times = []
    while goes_on():
        begun = time.perf_counter()
        connection.request("GET", "/api/chats", headers=READER)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        times.append(1000 * (time.perf_counter() - begun))
    return times


def line(name: str, times: list[float]) -> str:
    """The quantiles of a series."""
    cuts = statistics.quantiles(times, n=1000)
    return f"{name:22} {len(times):8} {cuts[499]:8.2f} {cuts[989]:8.2f} {max(times):8.2f}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    alone: list[float] = []
    beside: list[float] = []
    statuses: Counter[int] = Counter()
    seconds = []
    photos = [images.encoded(images.noise(2048, 2048, n), "JPEG", quality=93) for n in range(UPLOADS)]
    sent = [images.padded(photo[: images.MAX_BYTES], images.MAX_BYTES) for photo in photos]
    with served() as (api, _), ProcessPoolExecutor(1) as other:
        assert api.child
        memory = Path(f"/proc/{api.child.pid}/status")
        before = psutil.Process(api.child.pid).memory_info().rss
        for _ in range(rounds):
            end = time.monotonic() + 5
            alone += read_while(api.port, lambda end=end: time.monotonic() < end)  # type: ignore[misc]
            uploads = other.submit(upload_all, api.port, sent)
            beside += read_while(api.port, lambda uploads=uploads: not uploads.done())  # type: ignore[misc]
            answers, took = uploads.result()
            statuses += answers
            seconds.append(took)
        peak = next(row for row in memory.read_text().splitlines() if row.startswith("VmHWM"))
    print(f"{'GET /api/chats, ms':22} {'requests':>8} {'p50':>8} {'p99':>8} {'max':>8}")
    print(line("alone", alone))
    print(line(f"beside {UPLOADS} uploads", beside))
    ratio = statistics.quantiles(beside, n=100)[98] / statistics.quantiles(alone, n=100)[98]
    print(f"p99 beside uploads is {ratio:.2f} times that alone")
    took = statistics.median(seconds)
    print(f"{UPLOADS} uploads of {images.MAX_BYTES} bytes took {took:.1f} s; answers: {dict(statuses)}")
    print(f"the API's memory: {before // 1024} kB at the start, at most {peak.split()[1]} kB")


if __name__ == "__main__":
    main()
