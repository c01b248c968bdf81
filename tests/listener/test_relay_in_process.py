"""Acknowledging and fetching events, with a relay in this process."""

import asyncio

from listener.database import ListenerDatabase
from listener.pusher import PusherClient
from listener.relay import Relay
from tests.listener.chats import INSERT_MESSAGES, chat_channel, new_large_chat, received_contents
from tests.listener.conftest import Harness
from tests.listener.in_process import run_relay
from tests.listener.subscriber import Subscriber
from tests.waiting import wait_until


def test_events_with_lost_acknowledgements_are_repeated_without_a_gap(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner")
    harness.dba.execute(INSERT_MESSAGES, [chat, 3])
    row = harness.dba.execute("select max(id) from parley.outbox").fetchone()
    assert row is not None

    async def run() -> None:
        async with PusherClient(harness.settings()) as client:
            relay = Relay(client)
            relay._publisher.unacknowledged = [row[0]]  # published before a crash, and not acknowledged
            await run_relay(harness, relay, lambda: harness.count_queued() == 0)

    with Subscriber(harness.pusher, chat_channel(chat)) as subscriber:
        asyncio.run(run())
        wait_until(lambda: received_contents(subscriber) == ["1", "2", "3"])


def test_events_held_at_the_start_of_a_fetch_are_not_fetched_again(harness: Harness) -> None:
    harness.dba.execute(INSERT_MESSAGES, [new_large_chat(harness.dba, "owner"), 2])

    async def run() -> tuple[list[int], list[int]]:
        async with ListenerDatabase.connect(harness.settings()) as database:
            events = (await database.ack_and_fetch_events([], max_events=9)).events
        async with ListenerDatabase.connect(harness.settings()) as database:
            held: dict[str, int | None] = {event.chat_id: event.id for event in events}
            second_fetch = asyncio.create_task(database.ack_and_fetch_events([], held=held, max_events=9))
            asyncio.get_running_loop().call_soon(held.clear)  # while the statement is prepared
            return [event.id for event in events], [event.id for event in (await second_fetch).events]

    ids, fetched_again = asyncio.run(run())
    assert len(ids) == 2
    assert fetched_again == []
