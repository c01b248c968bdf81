"""The effect of uploads on other requests: GET /api/chats during 20 uploads of 5 MB, and an ordinary upload during slow
and expensive ones. `python -m tests.bench.uploads [--rounds 5]`

Each round measures GET alone, and then until all uploads have ended. Then it uploads one photo after another, alone and
during each of ATTACKS, whose clients repeat their uploads. Prints milliseconds over all rounds, the ratios to those
alone, the statuses of the uploads, and the peak memory of the API's process.
"""

import argparse
import http.client
import multiprocessing
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

import psutil

from tests import images
from tests.bench.api_servers import running_api
from tests.tokens import token

UPLOADS = 20
PHOTOS = 30  # of each series in each round
READER = {"Authorization": f"Bearer {token('reader')}"}


def upload(port: int, user: str, image: bytes) -> int:
    """Upload an image; return the status."""
    head = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": "multipart/form-data; boundary=x"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    connection.request("POST", "/api/profile/image", head + image + b"\r\n--x--\r\n", headers)
    return connection.getresponse().status


def upload_all(port: int, sent: list[bytes]) -> tuple[Counter[int], float]:
    """Upload images at once; return their statuses and the duration in seconds."""
    begun = time.monotonic()
    with ThreadPoolExecutor(len(sent)) as threads:
        users = [f"user {number}" for number in range(len(sent))]
        return Counter(threads.map(upload, [port] * len(sent), users, sent)), time.monotonic() - begun


def send_slowly(port: int, user: str, has_ended: Event) -> None:
    """Send one upload after another, at a byte a second."""
    head = (
        f"POST /api/profile/image HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(user)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
    )
    while not has_ended.is_set():
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(1)
            connection.sendall(head.encode())
            while not has_ended.is_set():
                try:
                    connection.recv(1)
                    break
                except TimeoutError:
                    connection.sendall(b"x")
                except ConnectionError:
                    break
        has_ended.wait(1)


def send_expensive(port: int, user: str, has_ended: Event) -> None:
    """Send one upload after another that is expensive to decode."""
    image = images.build_costly_apng(8)
    while not has_ended.is_set():
        upload(port, user, image)


# By name: the function of each client, the number of accounts, and the clients of each account.
ATTACKS = {
    "5 x 25 at a byte a second": (send_slowly, 5, 25),
    "100 x 1 at a byte a second": (send_slowly, 100, 1),
    "5 x 4 expensive images": (send_expensive, 5, 4),
}


def attack(port: int, name: str, has_begun: Event, has_ended: Event) -> None:
    """Run all clients of an attack until its end."""
    send, accounts, clients = ATTACKS[name]
    images.build_costly_apng(8)  # takes a while, and is cached
    with ThreadPoolExecutor(accounts * clients) as threads:
        for number in range(accounts * clients):
            threads.submit(send, port, f"account {number % accounts} of {name}", has_ended)
        time.sleep(3)  # until all are connected
        has_begun.set()


@contextmanager
def running_attack(port: int, name: str) -> Iterator[None]:
    """Run an attack in a process of its own for the block."""
    context = multiprocessing.get_context("spawn")
    has_begun, has_ended = context.Event(), context.Event()
    process = context.Process(target=attack, args=(port, name, has_begun, has_ended))
    process.start()
    has_begun.wait()
    try:
        yield
    finally:
        has_ended.set()
        process.join()


@dataclass
class Series:
    """Ordinary uploads, each of another user: milliseconds of the successful ones, and all statuses."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def run(self, port: int, photo: bytes) -> None:
        """Upload a photo for each user."""
        for number in range(PHOTOS):
            begun = time.perf_counter()
            status = upload(port, f"ordinary {number}", photo)
            self.statuses[status] += 1
            if status == 200:
                self.times.append(1000 * (time.perf_counter() - begun))

    def row(self, name: str, alone: "Series") -> str:
        """Format the percentiles, and their ratios to those alone."""
        if len(self.times) < 2:
            return f"{name:28} none succeeded: {dict(self.statuses)}"
        own, others = (statistics.quantiles(series.times, n=100) for series in (self, alone))
        figures = f"{own[49]:8.0f} {own[98]:8.0f} {own[49] / others[49]:8.2f} {own[98] / others[98]:8.2f}"
        return f"{name:28} {figures}  statuses {dict(self.statuses)}"


def read_chats_while(port: int, is_running: Callable[[], bool]) -> list[float]:
    """Send one GET after another; return the latencies in milliseconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    times = []
    while is_running():
        begun = time.perf_counter()
        connection.request("GET", "/api/chats", headers=READER)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        times.append(1000 * (time.perf_counter() - begun))
    return times


def format_series(name: str, times: list[float]) -> str:
    """Format the percentiles of a series."""
    cuts = statistics.quantiles(times, n=1000)
    return f"{name:22} {len(times):8} {cuts[499]:8.2f} {cuts[989]:8.2f} {max(times):8.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    alone: list[float] = []
    during: list[float] = []
    statuses: Counter[int] = Counter()
    seconds = []
    photos = [images.encode(images.draw_noise(2048, 2048, n), "JPEG", quality=93) for n in range(UPLOADS)]
    sent = [images.pad(photo[: images.MAX_BYTES], images.MAX_BYTES) for photo in photos]
    photo = images.encode(images.draw_gradient(800, 800), "JPEG", quality=93)
    series = {name: Series() for name in ("alone", *ATTACKS)}
    with running_api() as (api, _), ProcessPoolExecutor(1) as executor:
        assert api.child
        memory = Path(f"/proc/{api.child.pid}/status")
        before = psutil.Process(api.child.pid).memory_info().rss
        for _ in range(rounds):
            end = time.monotonic() + 5
            alone += read_chats_while(api.port, lambda end=end: time.monotonic() < end)  # type: ignore[misc]
            uploads = executor.submit(upload_all, api.port, sent)
            during += read_chats_while(api.port, lambda uploads=uploads: not uploads.done())  # type: ignore[misc]
            batch_statuses, elapsed = uploads.result()
            statuses += batch_statuses
            seconds.append(elapsed)
            series["alone"].run(api.port, photo)
            for name in ATTACKS:
                with running_attack(api.port, name):
                    series[name].run(api.port, photo)
        peak = next(row for row in memory.read_text().splitlines() if row.startswith("VmHWM"))
    print(f"{'GET /api/chats, ms':22} {'requests':>8} {'p50':>8} {'p99':>8} {'max':>8}")
    print(format_series("alone", alone))
    print(format_series(f"during {UPLOADS} uploads", during))
    ratio = statistics.quantiles(during, n=100)[98] / statistics.quantiles(alone, n=100)[98]
    print(f"p99 during uploads is {ratio:.2f} times that alone")
    elapsed = statistics.median(seconds)
    print(f"{UPLOADS} uploads of {images.MAX_BYTES} bytes took {elapsed:.1f} s; responses: {dict(statuses)}")
    print(f"{'ordinary upload':28} {'p50, ms':>8} {'p99, ms':>8} {'p50, x':>8} {'p99, x':>8}")
    for name, one in series.items():
        print(one.row(name, series["alone"]))
    print(f"memory of the API: {before // 1024} kB at the start, at most {peak.split()[1]} kB")


if __name__ == "__main__":
    main()
