"""A short run of bad_network.py."""

from tests.e2e.bad_network import run
from tests.e2e.chaos import new_seed

SECONDS = 5


def test_each_copy_is_what_the_database_has_after_a_bad_network_and_each_thing_is_said_once() -> None:
    seed = new_seed()
    print(f"seed {seed}")  # pytest shows it if the test fails
    report = run(SECONDS, seed)
    assert not report.violations, str(report)
