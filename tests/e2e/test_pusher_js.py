"""Live events as a web app receives them: through pusher-js, from the local Pusher server and from soketi.

A ping shows that nothing else arrives: when the outbox is empty everything was published, and servers send in order, so
that a further event would come before the pong.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from api.dev.data_directory import CLIENT_FILE, SECRET_FILE
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.dev.pusher_process import Pusher
from tests.api_process import Api, running
from tests.e2e.dev import Dev, scratch
from tests.e2e.pusher_js import Browser, World, frozen
from tests.e2e.soketi import Soketi
from tests.e2e.writers import writing
from tests.listener.process import Listener, listening
from tests.tokens import token
from tests.waiting import wait_until

TERMINATED = 4009
LARGEST = 10_000  # bytes of an event
LIVES = 5
MOST_HEARD = 15  # events


@pytest.fixture(scope="module", params=["ours", "soketi"])
def servers(
    request: pytest.FixtureRequest,
    directory: Path,
    modules: Path,
    postgres: Postgres,
    new_database: Callable[[str], str],
    new_api: Callable[..., Api],
) -> Iterator[World]:
    place = directory / f"pusher-js-{request.param}"
    database = new_database(f"parley_pusher_js_{request.param}")
    pusher = Soketi(place, modules) if request.param == "soketi" else Pusher(place)
    with psycopg.connect(postgres.url(database), autocommit=True) as dba, pusher:
        settings = {"PUSHER_KEY": pusher.key, "PUSHER_SECRET": pusher.secret, "RATE_LIMIT_REQUESTS": "1000"}
        listener = Listener(place, postgres.url(database, "events", "events"), pusher)
        with running(new_api(database, **settings)) as api, listening(listener):
            yield World(api, pusher, listener, dba, modules)


@pytest.fixture
def world(servers: World) -> Iterator[World]:
    with servers.stack:
        yield servers


def test_what_others_do_arrives_as_documented_in_order_and_once(world: World) -> None:
    owner, member = world.user("Olga"), world.user("Mia")
    chat = world.chat(owner, member)
    channel = f"private-chat-{chat}"
    inside = member.browser().sign_in().subscribe(channel, member.channel)
    elsewhere = member.browser().subscribe(member.channel)

    first = owner.request("POST", f"chats/{chat}/messages", {"content": 'Grüße ☃ "quoted"\n\\n'})
    second = owner.request("POST", f"chats/{chat}/messages", {"content": "1 + 1", "type": "code"})
    owner.request("PUT", f"chats/{chat}/messages/{first['id']}", {"content": "Hello"})
    owner.request("PUT", f"chats/{chat}/messages/{second['id']}", {"content": "text.png", "type": "image"})
    owner.request("PUT", f"chats/{chat}/messages/{second['id']}", {"type": "text"})
    owner.request("DELETE", f"chats/{chat}/messages/{first['id']}")
    owner.request("PUT", f"chats/{chat}", {"title": "Other plans"})
    owner.request("DELETE", f"chats/{chat}")
    world.settle(inside, elsewhere)

    assert first.keys() == {"id", "content", "type", "userId", "createdAt"}
    on_both = [("chat:updated", {"id": chat, "updates": {"title": "Other plans"}}), ("chat:deleted", chat)]
    assert [event[1:] for event in inside.received if event[0] == channel] == [
        ("message:sent", first),
        ("message:sent", second),
        ("message:updated", {"id": first["id"], "updates": {"content": "Hello"}}),
        ("message:updated", {"id": second["id"], "updates": {"content": "text.png", "type": "image"}}),
        ("message:updated", {"id": second["id"], "updates": {"type": "text"}}),
        ("message:deleted", first["id"]),
        *on_both,
    ]
    assert [event[1:] for event in inside.received if event[0] != channel] == on_both
    assert elsewhere.received == [(member.channel, *event) for event in on_both]


@pytest.mark.parametrize("name", ["next-auth.session-token", "__Secure-authjs.session-token"])
def test_the_session_cookie_will_do(world: World, name: str) -> None:
    owner, member = world.user("Olga"), world.user("Mia")
    chat = world.chat(owner, member)
    browser = member.browser(Cookie=f"theme=dark; {name}={member.token}")
    browser.sign_in().subscribe(f"private-chat-{chat}", f"presence-chat-{chat}", member.channel)
    signed_in = json.loads(browser.wait_for("pusher:signin_success")["user_data"])
    assert signed_in == {"id": member.pusher_id, "user_info": {"userId": member.id, "name": "Mia"}}
    sent = owner.send(chat, "Hello")
    world.settle(browser)
    assert browser.received == [sent]


def test_without_a_session_nobody_signs_in_or_subscribes(world: World) -> None:
    owner = world.user("Olga")
    chat = world.chat(owner)
    browser = owner.browser(Cookie="next-auth.session-token=forged")
    browser.do("signin")
    browser.do("subscribe", f"private-chat-{chat}")
    assert browser.wait_for("pusher:signin_error")["status"] == 401
    assert browser.wait_for("pusher:subscription_error", f"private-chat-{chat}")["status"] == 401


def test_a_stranger_is_refused_and_hears_nothing(world: World) -> None:
    owner, member, stranger = world.user("Olga"), world.user("Mia"), world.user("Sam")
    chat = world.chat(owner, member)
    inside = member.browser().sign_in().subscribe(f"private-chat-{chat}", member.channel)
    outside = stranger.browser().sign_in().subscribe(stranger.channel)
    for channel in (f"private-chat-{chat}", f"presence-chat-{chat}", member.channel):
        outside.do("subscribe", channel)
        assert outside.is_refused(channel)
    sent = owner.send(chat, "Not for Sam")
    owner.request("PUT", f"chats/{chat}", {"title": "Nor this"})
    world.settle(inside, outside)
    renamed = ("chat:updated", {"id": chat, "updates": {"title": "Nor this"}})
    assert inside.received == [sent, (f"private-chat-{chat}", *renamed), (member.channel, *renamed)]
    assert outside.received == []


@pytest.mark.parametrize("way", ["removed", "left", "deleted"])
def test_who_is_no_member_any_more_hears_nothing_more(world: World, way: str) -> None:
    owner, staying, leaving = world.user("Olga"), world.user("Mia"), world.user("Lea")
    chat = world.chat(owner, staying, leaving)
    channel = f"private-chat-{chat}"
    remaining = staying.browser().sign_in().subscribe(channel)
    gone = [leaving.browser().sign_in().subscribe(channel, leaving.channel) for _ in range(2)]
    before = owner.send(chat, "All of us")
    if way == "deleted":
        world.dba.execute("delete from next_auth.users where id = %s", [leaving.id])
    else:
        (owner if way == "removed" else leaving).request("DELETE", f"chats/{chat}/members/{quote(leaving.id, safe='')}")
    after = [owner.send(chat, "Without Lea"), owner.send(chat, "Really")]
    owner.request("PUT", f"chats/{chat}", {"title": "Without Lea"})
    renamed = (channel, "chat:updated", {"id": chat, "updates": {"title": "Without Lea"}})
    world.settle(remaining)
    assert remaining.received == [before, *after, renamed]
    for browser in gone:
        assert browser.wait_for("error")["code"] == TERMINATED
        browser.wait_for("disconnected")
        browser.do("connect")
        if way == "deleted":
            assert browser.is_refused(channel, 401)
            assert browser.is_refused(leaving.channel, 401)
        else:
            assert browser.is_refused(channel)
            browser.wait_for("pusher:subscription_succeeded", leaving.channel, times=2)
    later = owner.send(chat, "Still without Lea")
    world.settle(remaining, *gone)
    assert remaining.received == [before, *after, renamed, later]
    assert [browser.received for browser in gone] == [[before], [before]]


def test_members_see_who_is_there(world: World) -> None:
    owner, member = world.user("Olga"), world.user("Mia")
    channel = f"presence-chat-{world.chat(owner, member)}"
    first = owner.browser().subscribe(channel)
    second = member.browser().subscribe(channel)
    in_order = {owner.id: {"name": "Olga"}, member.id: {"name": "Mia"}}
    assert first.wait_for("pusher:subscription_succeeded", channel)["members"] == {owner.id: {"name": "Olga"}}
    assert first.wait_for("pusher:member_added", channel) == {"id": member.id, "info": {"name": "Mia"}}
    there = second.wait_for("pusher:subscription_succeeded", channel)
    assert there["members"] == in_order
    assert there["me"] == {"id": member.id, "info": {"name": "Mia"}}
    with second:
        pass
    assert first.wait_for("pusher:member_removed", channel) == {"id": member.id, "info": {"name": "Mia"}}


def test_what_is_too_large_arrives_without_its_content(world: World) -> None:
    owner, member = world.user("Olga"), world.user("Mia")
    chat = world.chat(owner, member)
    channel = f"private-chat-{chat}"
    browser = member.browser().subscribe(channel)
    short = owner.send(chat, "x")
    room = LARGEST - world.number("octet_length(payload::text) from parley.outbox order by id desc limit 1")
    snowmen = "☃" * (room // 3)
    largest = owner.send(chat, snowmen + "x" * (room % 3 + 1))
    too_large = owner.send(chat, snowmen + "x" * (room % 3 + 2))
    path = f"chats/{chat}/messages/{short[2]['id']}"
    owner.request("PUT", path, {"content": snowmen * 2, "type": "code"})
    world.settle(browser)
    truncated = {**too_large[2], "truncated": True}
    del truncated["content"]
    edited = {"id": short[2]["id"], "updates": {"type": "code"}, "truncated": True}
    assert browser.received == [
        short,
        largest,
        (channel, "message:sent", truncated),
        (channel, "message:updated", edited),
    ]
    assert member.request("GET", path)["content"] == snowmen * 2


def test_a_killed_server_loses_no_event_and_keeps_their_order(world: World) -> None:
    owner, member = world.user("Olga"), world.user("Mia")
    chat = world.chat(owner, member)
    channel = f"private-chat-{chat}"
    browser = member.browser().sign_in().subscribe(channel)
    before = owner.send(chat, "before")
    world.settle(browser)
    assert world.listener.child
    with ExitStack() as later:
        with frozen(browser.pid):  # had it found nobody when it tried again, it would wait for 15 seconds
            world.pusher.kill()
            meanwhile = [owner.send(chat, f"meanwhile {number}") for number in range(12)]
            world.listener.wait_for_log("Pusher is unavailable")
            later.enter_context(frozen(world.listener.child.pid))  # so that there is somebody to hear it
            world.pusher.start()
        browser.wait_for("pusher:subscription_succeeded", channel, times=2)
    browser.wait_for("pusher:signin_success", times=2)
    after = [owner.send(chat, f"after {number}") for number in range(12)]
    world.settle(browser)
    assert browser.received == [before, *meanwhile, *after]


def essence(event: tuple[str, Any]) -> tuple[str, str]:
    """The event's name and its message, of which there is one: of what was deleted, the log leaves out the rest."""
    name, data = event
    return name, data if isinstance(data, str) else data["id"]


def test_who_is_killed_has_each_event_once_and_in_order_by_one_request_after_each_start(world: World) -> None:
    owner, friend, member = world.user("Olga"), world.user("Fay"), world.user("Mia")
    chat = world.chat(owner, friend, member)
    channel = f"private-chat-{chat}"
    first = world.number(f"seq from parley.chats where id = '{chat}'")
    kept: list[tuple[str, str]] = []  # the events after that: what is heard has no seq, but is the next if it is new

    def keep(events: Iterable[tuple[str, Any]]) -> int:
        new = [event for event in map(essence, events) if event not in kept]
        kept.extend(new)
        return len(new)

    def catch_up() -> int:
        after = first + len(kept)
        page = member.request("GET", f"chats/{chat}/events?after={after}&limit=1000")
        assert [event["seq"] for event in page["events"]] == list(range(after + 1, page["next"] + 1))
        assert not page["hasMore"]
        return keep((event["event"], event["data"]) for event in page["events"])

    def live() -> tuple[int, int]:
        """One that is killed before it asks, so that nothing is kept of it, and one that asks. How many events that one
        had missed, and how many it heard that were new."""
        with member.browser() as browser:
            browser.do("subscribe", channel)
            enough = random.randint(0, MOST_HEARD)  # noqa: S311 (no secret)
            wait_until(lambda: len(browser.received) >= enough)
        with member.browser().subscribe(channel) as browser:
            missed = catch_up()
            enough = random.randint(1, MOST_HEARD)  # noqa: S311 (no secret)
            wait_until(lambda: sum(essence(event[1:]) not in kept for event in browser.received) >= enough)
        return missed, keep(event[1:] for event in browser.received)

    with writing([partial(user.write_until, chat=chat) for user in (owner, friend)]):
        lives = [live() for _ in range(LIVES)]
    with member.browser().subscribe(channel) as browser:
        catch_up()
        the_end = owner.send(chat, "The end")
        world.settle(browser)
    keep(event[1:] for event in browser.received)
    log = "select event, payload from parley.outbox where chat_id = %s and seq > %s order by seq"
    assert kept == [essence(event) for event in world.dba.execute(log, [chat, first])]
    assert kept[-1] == essence(the_end[1:])
    assert all(heard for _, heard in lives)
    assert any(missed for missed, _ in lives)


def test_parley_dev(modules: Path) -> None:
    with scratch() as directory:
        dev = Dev(directory, "--port", str(find_free_port()), "--data", "data").until_ready()
        lines = (directory / "data" / CLIENT_FILE).read_text().splitlines()
        place = dict(line.split("=", 1) for line in lines)
        secret = (directory / "data" / SECRET_FILE).read_text()
        alice, bob = ({"Authorization": f"Bearer {token(user, secret)}"} for user in ("alice", "bob"))
        with (
            httpx.Client(base_url=f"{place['PUBLIC_URL']}/api/chats", headers=alice) as http,
            Browser(modules, place["PUBLIC_URL"], place, bob) as browser,
        ):
            chat = http.get("").json()["chats"][0]["id"]
            browser.sign_in().subscribe(f"private-chat-{chat}")
            sent = http.post(f"/{chat}/messages", json={"content": "Hello"}).json()
            assert browser.wait_for("message:sent", f"private-chat-{chat}") == sent
            http.delete(f"/{chat}/members/bob")
            assert browser.wait_for("error")["code"] == TERMINATED
        assert dev.stop() == 0
