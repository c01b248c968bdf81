"""The API under load: its memory, the latency of reads beside other load, and requests without a free connection.
`python -m tests.bench.stress [--scale 0.1] [--seconds 4] [--rounds 3] [--requests 1000000]`

First it sends `--requests` mixed requests, and reports the memory of the API's process and of its connections in
PostgreSQL, which must not grow; `--requests 0` skips this.

Then it measures reads: pages of 50 messages on READERS connections, in a closed loop. They are measured alone, and
while other clients send messages, upload images of 5 MB, search, do all of this, hold idle connections, or do not read
their responses of 3 MB. Each round measures all of these in turn. Figures are medians of the rounds; ratios are to the
mean of the reads alone before and after, because load generator, API and PostgreSQL share the cores.

Last it locks a table, so that many requests at once wait for connections that are all in use, and sends one more.
"""

import argparse
import statistics

from api.server import raise_open_files_limit
from tests.bench.load_generator import Load
from tests.bench.stress_exhaustion import exhaust
from tests.bench.stress_reads import Reads
from tests.bench.stress_target import PROCESSES, Target, running_target
from tests.bench.workloads import WORKLOADS, build_requests

SAMPLES = 20


def measure_memory(target: Target, number: int) -> None:
    """Send requests of all workloads; print the memory after each part, and its growth in the second half."""
    each = [build_requests(target.data, workload, seed=1) for workload in WORKLOADS]
    mixed = [one for pages, send, search in zip(*each, strict=True) for one in (pages, pages, send, pages, search)]
    samples = [(0.0, target.rss, target.largest_backend)]
    for part in range(1, SAMPLES + 1):
        count = number // SAMPLES
        result = target.start_load(
            Load(target.api.port, mixed, 16, count=count, statuses=frozenset({200, 201}))
        ).result()
        samples.append((part * count / 100_000, target.rss, target.largest_backend))
        _, api, backend = samples[-1]
        print(f"{part * count:10,} requests: API {api:7.1f} MiB, largest connection in PostgreSQL {backend:7.1f} MiB"
              f" ({result.rate:,.0f} a second)", flush=True)  # fmt: skip
    sent, *memory = zip(*samples[SAMPLES // 2 :], strict=True)
    api, backend = (statistics.linear_regression(sent, grown).slope for grown in memory)
    print(f"growth in the second half, in 100,000 requests: API {api:.2f} MiB, connection {backend:.2f} MiB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1_000_000)
    arguments = parser.parse_args()
    raise_open_files_limit()
    with running_target(arguments.scale) as target:
        if arguments.requests:  # first, because memory that is free after a peak would hide a growth
            measure_memory(target, arguments.requests)
        reads = Reads(target, arguments.seconds)
        for warm in [target.start_load(target.reads(0, 2)) for _ in range(PROCESSES)]:
            warm.result()
        for number in range(arguments.rounds):
            reads.measure_round(number)
        reads.print()
        exhaust(target)


if __name__ == "__main__":
    main()
