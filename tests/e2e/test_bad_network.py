"""The short form of bad_network.py, which see."""

from tests.e2e.bad_network import run
from tests.e2e.kill import new_seed

SECONDS = 5


def test_each_copy_is_what_the_database_has_after_a_bad_network_and_each_thing_is_said_once() -> None:
    seed = new_seed()
    print(f"seed {seed}")  # shown if it fails, in whatever way
    report = run(SECONDS, seed)
    assert not report.violations, str(report)
