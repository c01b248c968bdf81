"""What the relay acknowledges and fetches, with a relay in this process."""

import asyncio

from listener.database import ListenerDatabase
from listener.pusher import PusherClient
from listener.relay import Relay
from tests.database import new_chat
from tests.listener.chats import RECORD, contents, private
from tests.listener.conftest import Stage
from tests.listener.in_process import listen_for
from tests.listener.support import Subscriber
from tests.waiting import wait_until


def test_events_that_postgresql_forgot_are_done_are_repeated_without_a_gap(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [chat, 3])
    row = stage.dba.execute("select max(id) from parley.outbox").fetchone()
    assert row is not None

    async def work() -> None:
        async with PusherClient(stage.settings()) as client:
            relay = Relay(client)
            relay._publisher.unacknowledged = [row[0]]  # published, and the crash came before the outbox knew of any
            await listen_for(stage, relay, lambda: stage.waiting() == 0)

    with Subscriber(stage.pusher, private(chat)) as subscriber:
        asyncio.run(work())
        wait_until(lambda: contents(subscriber) == ["1", "2", "3"])


def test_what_is_held_when_the_outbox_is_asked_counts(stage: Stage) -> None:
    stage.dba.execute(RECORD, [new_chat(stage.dba, "owner"), 2])

    async def work() -> tuple[list[int], list[int]]:
        async with ListenerDatabase.connect(stage.settings()) as database:
            events = (await database.ack_and_fetch_events([], max_events=9)).events
        async with ListenerDatabase.connect(stage.settings()) as database:
            held: dict[str, int | None] = {event.chat_id: event.id for event in events}
            taking = asyncio.create_task(database.ack_and_fetch_events([], held=held, max_events=9))
            asyncio.get_running_loop().call_soon(held.clear)  # when it waits for the statement to be prepared
            return [event.id for event in events], [event.id for event in (await taking).events]

    ids, taken = asyncio.run(work())
    assert len(ids) == 2
    assert taken == []
