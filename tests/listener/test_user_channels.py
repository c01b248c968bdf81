"""Events on the channels of users, while members come and go, writers are concurrent and listeners are killed."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.errors import ProgrammingError

from tests.database import call, new_chat
from tests.listener.chats import pusher_user_id
from tests.listener.conftest import Harness
from tests.listener.process import Listener, running_listener
from tests.listener.subscriber import Subscriber
from tests.waiting import wait_until

USERS = [f"user-{n}" for n in range(5)]
WRITERS = 4
ACTIONS = 60  # of each writer


class Membership(NamedTuple):
    """The seqs at which a membership began and ended; `end` is infinite for a present member."""

    start: int
    end: float


@pytest.fixture
def subscribers(harness: Harness) -> Iterator[dict[str, Subscriber]]:
    """A subscriber to the channel of each user."""
    with ExitStack() as stack:
        yield {
            user: stack.enter_context(Subscriber(harness.pusher, f"private-user-{pusher_user_id(user)}"))
            for user in USERS
        }


def change_chats(url: str, chats: list[str], seed: int) -> None:
    """Change random chats: send, edit and delete messages, rename chats, mark as read, add and remove members."""
    choices = random.Random(seed)  # noqa: S311 (not for secrets)
    with psycopg.connect(url, autocommit=True) as connection:
        for n in range(ACTIONS):
            chat, user = choices.choice(chats), choices.choice(USERS)
            action = choices.choice(["send"] * 4 + ["edit", "delete", "rename", "read", "add", "add", "remove"])
            with_message = "select id::text from parley.messages where chat_id = %s order by random() limit 1"
            row = connection.execute(with_message, [chat]).fetchone()
            message = row[0] if row else "none"
            arguments: dict[str, tuple[Any, ...]] = {
                "send": (user, "send_message", chat, {"content": f"{seed} {n}"}),
                "edit": (user, "update_message", chat, message, {"content": f"edited {seed} {n}"}),
                "delete": (USERS[0], "delete_message", chat, message),
                "rename": (USERS[0], "update_chat", chat, {"title": f"{seed} {n}"}),
                "read": (user, "mark_read", chat, {"messageId": message}),
                "add": (USERS[0], "add_member", chat, {"userId": user}),
                "remove": (USERS[0], "remove_member", chat, user),
            }
            try:
                call(connection, *arguments[action])
            except ProgrammingError as error:  # Not a member, a member already, or not the author.
                assert error.sqlstate in ("PT400", "PT403", "PT404", "PT409")  # noqa: PT017


def find_memberships(harness: Harness, chat: str, user: str) -> list[Membership]:
    """Return the memberships of a user in a chat, by the log."""
    changes = harness.dba.execute(
        "select seq, event from parley.outbox where chat_id = %s and payload #>> '{}' = %s"
        " and event in ('member:added', 'member:removed') order by seq",
        [chat, user],
    ).fetchall()
    starts = [seq for seq, event in changes if event == "member:added"]
    ends: list[float] = [seq for seq, event in changes if event == "member:removed"]
    return [Membership(start, end) for start, end in zip(starts, [*ends, float("inf")], strict=False)]


def first_receptions(subscriber: Subscriber, chat: str) -> list[int]:
    """Return the seqs of a chat's events in the order in which they were first received."""
    seqs = [entry["seq"] for entry in subscriber.received("chat:event") if entry["chatId"] == chat]
    return list(dict.fromkeys(seqs))


def test_users_receive_each_event_of_their_memberships_in_order(
    harness: Harness, subscribers: dict[str, Subscriber]
) -> None:
    for user in USERS:
        call(harness.dba, user, "get_settings")
    chats = [new_chat(harness.dba, USERS[0]) for _ in range(3)]
    choices = random.Random(7)  # noqa: S311
    listener = harness.new_listener()
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(change_chats, harness.dba_url, chats, seed) for seed in range(WRITERS)]
        while not all(writer.done() for writer in writing):
            kill_after_some_events(harness, listener, choices.randint(1, 40), writing)
        for writer in writing:
            writer.result()
    with running_listener(harness.new_listener()):
        wait_until(lambda: harness.count_queued() == 0)
        check_receptions(harness, subscribers, chats)


def kill_after_some_events(harness: Harness, listener: Listener, count: int, writing: list[Any]) -> None:
    """Run the listener until it has published some events or the writers have ended, and kill it."""
    published = "select (select count(*) from parley.outbox) - (select count(*) from parley.outbox_queue)"

    def count_published() -> int:
        row = harness.dba.execute(published).fetchone()
        assert row
        return int(row[0])

    with running_listener(listener):
        start = count_published()
        wait_until(lambda: count_published() >= start + count or all(writer.done() for writer in writing))
        listener.kill()


def check_receptions(harness: Harness, subscribers: dict[str, Subscriber], chats: list[str]) -> None:
    """Compare what each user has received with the log and the user's memberships."""
    removals = 0
    for chat in chats:
        (last,) = harness.dba.execute("select seq from parley.chats where id = %s", [chat]).fetchone() or (0,)
        for user, subscriber in subscribers.items():
            memberships = find_memberships(harness, chat, user)
            removals += sum(membership.end < last for membership in memberships)
            for membership in memberships:
                if membership.end == float("inf"):
                    # Every event since the user joined, without a gap.
                    expected = list(range(membership.start, last + 1))
                    wait_until(lambda e=expected, s=subscriber, c=chat: set(e) <= set(first_receptions(s, c)))  # type: ignore[misc]
                else:
                    wait_until(lambda m=membership, s=subscriber, c=chat: m.end in first_receptions(s, c))  # type: ignore[misc]
            received = first_receptions(subscriber, chat)
            assert received == sorted(received)
            assert all(any(m.start <= seq <= m.end for m in memberships) for seq in received), (user, memberships)
    assert removals > 5
