"""The short form of kill.py, which see."""

from tests.e2e.kill import new_seed, run

ROUNDS = 4


def test_no_event_is_lost_and_none_overtakes_another_whatever_is_killed() -> None:
    seed = new_seed()
    print(f"seed {seed}")  # shown if it fails, in whatever way
    report = run(ROUNDS, seed)
    assert not report.violations, str(report)
    assert report.kills.total() >= ROUNDS - 2
    assert report.acknowledged > 0
