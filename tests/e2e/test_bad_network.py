"""A short run of bad_network.py."""

from tests.e2e.bad_network import run
from tests.e2e.chaos import new_seed

SECONDS = 5


def test_copies_equal_the_database_after_network_faults_and_each_message_is_stored_once() -> None:
    seed = new_seed()
    print(f"seed {seed}")  # pytest shows it if the test fails
    report = run(SECONDS, seed)
    assert not report.violations, str(report)
