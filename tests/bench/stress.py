"""The API under load: its memory, the latency of reads beside other load, and requests without a free connection.
`python -m tests.bench.stress [--scale 0.1] [--seconds 4] [--rounds 3] [--requests 1000000]`

First it sends that many mixed requests, and reports the memory of the API's process and of its connections in
PostgreSQL, which must not grow; `--requests 0` skips this.

Reads are pages of 50, as in tests.bench.throughput, from READERS clients, each of which waits for its response: alone,
then while others send messages, upload images of 5 MB, search, all of this, hold idle connections, or do not read their
responses of 3 MB. All take turns in each round. Figures are medians of the rounds; ratios are to the mean of the reads
alone before and after, because clients, API and PostgreSQL share the machine's cores.

Last it locks a table, so that many requests at once wait for connections that are all in use, and sends one more.
"""

import argparse
import statistics

from api.server import raise_open_files_limit
from tests.bench.clients import Load
from tests.bench.stress_exhaustion import exhaust
from tests.bench.stress_reads import Reads
from tests.bench.stress_site import PROCESSES, Site, site
from tests.bench.workloads import WORKLOADS, requests

SAMPLES = 20


def measure_memory(site: Site, number: int) -> None:
    """Send requests of all workloads; print the memory after each part, and its growth in the second half."""
    each = [requests(site.data, workload, seed=1) for workload in WORKLOADS]
    mixed = [one for pages, send, search in zip(*each, strict=True) for one in (pages, pages, send, pages, search)]
    samples = [(0.0, site.rss, site.backend)]
    for part in range(1, SAMPLES + 1):
        count = number // SAMPLES
        result = site.start(Load(site.api.port, mixed, 16, count=count, statuses=frozenset({200, 201}))).result()
        samples.append((part * count / 100_000, site.rss, site.backend))
        _, api, backend = samples[-1]
        print(f"{part * count:10,} requests: API {api:7.1f} MiB, largest connection in PostgreSQL {backend:7.1f} MiB"
              f" ({result.rate:,.0f} a second)", flush=True)  # fmt: skip
    sent, *memory = zip(*samples[SAMPLES // 2 :], strict=True)
    api, backend = (statistics.linear_regression(sent, grown).slope for grown in memory)
    print(f"growth in the second half, in 100,000 requests: API {api:.2f} MiB, connection {backend:.2f} MiB")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1_000_000)
    arguments = parser.parse_args()
    raise_open_files_limit()
    with site(arguments.scale) as stressed:
        if arguments.requests:  # first: what is free after a peak would hide that more is used
            measure_memory(stressed, arguments.requests)
        reads = Reads(stressed, arguments.seconds)
        for warm in [stressed.start(stressed.reads(0, 2)) for _ in range(PROCESSES)]:
            warm.result()
        for number in range(arguments.rounds):
            reads.measure_round(number)
        reads.print()
        exhaust(stressed)


if __name__ == "__main__":
    main()
