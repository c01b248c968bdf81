"""A short run of chaos.py, and its rule for repeated arrivals."""

from collections import Counter

import pytest

from tests.e2e.chaos import new_seed, run
from tests.e2e.chaos_report import Outbox, Report, check_repetitions, extend_kill
from tests.e2e.killable_servers import Kill
from tests.e2e.recording_proxy import Arrival

ROUNDS = 4


def test_no_event_is_lost_or_reordered_when_servers_are_killed() -> None:
    seed = new_seed()
    print(f"seed {seed}")  # pytest shows it if the test fails
    report = run(ROUNDS, seed)
    assert not report.violations, str(report)
    assert report.kills.total() >= ROUNDS - 2
    assert report.acknowledged > 0


@pytest.mark.parametrize(
    ("victim", "first", "again", "is_explained"),
    [
        ("listener", 0.9, 2.0, True),
        ("listener", 1.2, 2.0, True),  # a request of the killed listener, acknowledged after the restart
        ("listener", 1.6, 2.0, False),  # after the next listener connected
        ("listener", 0.5, 0.9, False),
        ("postgres", 0.9, 2.0, True),
        ("postgres", 1.2, 2.0, False),
        ("pusher", 0.9, 2.0, False),
    ],
)
def test_repeated_arrival_is_explained_by_a_kill(victim: str, first: float, again: float, is_explained: bool) -> None:
    arrival = Arrival("private-chat-a", "message:sent", "1")
    report = Report(0, 2, Counter(), 0, 0, 0, 0, 0, 0)
    kills = [extend_kill(Kill(victim, at=1.0, until=1.1), opened=[0.2, 1.5, 1.7])]
    check_repetitions(report, Outbox(places={arrival: ("a", 1)}), [(first, arrival), (again, arrival)], kills)
    assert (report.violations == []) == is_explained
