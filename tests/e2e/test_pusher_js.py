"""Real time as a web app has it: through pusher-js, over our own Pusher server and over soketi, which others wrote.

That nothing else arrives is shown with a ping: when the outbox is empty all was published, and servers write in order,
so what was to come would come before the pong.
"""

import json
import os
import random
import signal
import subprocess
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
import psycopg
import pytest

from api.dev import CLIENT_FILE, STACK_FILE
from api.dev.postgres import Postgres
from api.dev.process import free_port
from api.dev.pusher_process import Pusher
from tests.e2e.soketi import Soketi
from tests.e2e.test_dev import Dev, scratch
from tests.listener.support import Listener, listening
from tests.support import Api, Connection, new_user, running, token, wait_until

CLIENT = Path(__file__).with_name("pusher_client.js")
TERMINATED = 4009
LARGEST = 10_000  # bytes of an event
LIVES = 5
MOST_HEARD = 15  # events
PAUSE = 0.02  # seconds between what somebody writes and the next

Heard = tuple[str, str, Any]


class Browser:
    """pusher-js in a process of its own, with these headers for the API."""

    def __init__(self, modules: Path, api_url: str, pusher: Mapping[str, str], headers: Mapping[str, str]) -> None:
        self._lines: list[tuple[str | None, str, Any]] = []
        self._process = subprocess.Popen(
            ["node", CLIENT],
            env={"PATH": os.environ["PATH"], "NODE_PATH": str(modules)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        if "Cookie" in headers:
            self.do("allowCookies")
        authorization = {"transport": "ajax", "headers": dict(headers)}
        options = {
            "wsHost": pusher["PUSHER_HOST"],
            "wsPort": int(pusher["PUSHER_PORT"]),
            "cluster": "",
            "forceTLS": False,
            "enabledTransports": ["ws"],  # with others it would go to Pusher itself, were our server away
            "channelAuthorization": authorization | {"endpoint": f"{api_url}/api/pusher/auth"},
            "userAuthentication": authorization | {"endpoint": f"{api_url}/api/pusher/user-auth"},
        }
        self.do("open", pusher["PUSHER_KEY"], options)

    def do(self, command: str, *values: Any) -> None:
        """Has it obey; what that leads to comes later."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([command, *values]) + "\n")
        self._process.stdin.flush()

    def told(self, event: str, channel: str | None = None, times: int = 1) -> Any:
        """Waits until it has told of this event so often; answers its data, the last time."""

        def found() -> list[Any]:
            return [line[2] for line in list(self._lines) if line[:2] == (channel, event)]

        wait_until(lambda: len(found()) >= times or self._process.poll() is not None)
        return found()[times - 1]

    def sign_in(self) -> Self:
        """Returns when the user is signed in."""
        self.do("signin")
        self.told("pusher:signin_success")
        return self

    def subscribe(self, *channels: str) -> Self:
        """Returns when it is subscribed to them all."""
        for channel in channels:
            self.do("subscribe", channel)
        for channel in channels:
            self.told("pusher:subscription_succeeded", channel)
        return self

    def is_refused(self, channel: str, status: int = 403) -> bool:
        """Whether it is the API that refuses this channel, with this status."""
        return bool(self.told("pusher:subscription_error", channel)["status"] == status)

    def ping(self) -> None:
        """Returns when the server has written what it had to."""
        pongs = sum(line[1] == "pusher:pong" for line in list(self._lines))
        self.do("ping")
        self.told("pusher:pong", times=pongs + 1)

    @property
    def heard(self) -> list[Heard]:
        """All of the app's events so far: of each its channel, name and data."""
        return [
            (channel, *rest) for channel, *rest in list(self._lines) if channel and not rest[0].startswith("pusher:")
        ]

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            channel, event, data = json.loads(line)
            self._lines.append((channel, event, data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()
            self._thread.join()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class World:
    """A Pusher server, an API and a listener, and who meets there."""

    def __init__(self, api: Api, pusher: Pusher, listener: Listener, dba: Connection, modules: Path) -> None:
        self.api, self.pusher, self.listener, self.dba, self.modules = api, pusher, listener, dba, modules
        self.stack = ExitStack()

    def user(self, name: str) -> "User":
        return User(self, name)

    def chat(self, owner: "User", *members: "User") -> str:
        """The id of a new chat of these users."""
        chat: str = owner.ask("POST", "chats", {"title": "Plans"})["id"]
        for member in members:
            member.ask("GET", "chats")  # so that they are known
            owner.ask("POST", f"chats/{chat}/members", {"userId": member.id})
        return chat

    def settle(self, *browsers: Browser) -> None:
        """Returns when all that was recorded is published, and these browsers have heard all that they were to hear."""
        wait_until(lambda: not self.number("count(*) from parley.outbox_queue"))
        assert not self.number("count(*) from parley.outbox where set_aside_at is not null")
        for browser in browsers:
            browser.ping()

    def number(self, what: str) -> int:
        """What a DBA's query answers."""
        row = self.dba.execute(f"select {what}").fetchone()
        assert row
        return int(row[0])


class User:
    """Somebody with a session, and with an id that base64url differs from base64 for."""

    def __init__(self, world: World, name: str) -> None:
        self.id = new_user(f"~~~???{name}")
        self.pusher_id = urlsafe_b64encode(self.id.encode()).rstrip(b"=").decode()
        self.channel = f"private-user-{self.pusher_id}"
        self.token = token(self.id, name=name)
        self._world = world
        self._http = world.stack.enter_context(world.api.client("", Authorization=f"Bearer {self.token}"))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers."""
        answer = self._http.request(method, f"/api/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def send(self, chat: str, content: str) -> Heard:
        """Sends a message; answers what is to be heard of it."""
        sent = self.ask("POST", f"chats/{chat}/messages", {"content": content})
        return f"private-chat-{chat}", "message:sent", sent

    def browser(self, **headers: str) -> Browser:
        """Their browser, with their token unless other headers are given."""
        headers = headers or {"Authorization": f"Bearer {self.token}"}
        world = self._world
        browser = Browser(world.modules, world.api.url, world.pusher.environment, headers)
        return world.stack.enter_context(browser)


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

    first = owner.ask("POST", f"chats/{chat}/messages", {"content": 'Grüße ☃ "quoted"\n\\n'})
    second = owner.ask("POST", f"chats/{chat}/messages", {"content": "1 + 1", "type": "code"})
    owner.ask("PUT", f"chats/{chat}/messages/{first['id']}", {"content": "Hello"})
    owner.ask("PUT", f"chats/{chat}/messages/{second['id']}", {"content": "text.png", "type": "image"})
    owner.ask("PUT", f"chats/{chat}/messages/{second['id']}", {"type": "text"})
    owner.ask("DELETE", f"chats/{chat}/messages/{first['id']}")
    owner.ask("PUT", f"chats/{chat}", {"title": "Other plans"})
    owner.ask("DELETE", f"chats/{chat}")
    world.settle(inside, elsewhere)

    assert first.keys() == {"id", "content", "type", "userId", "createdAt"}
    on_both = [("chat:updated", {"id": chat, "updates": {"title": "Other plans"}}), ("chat:deleted", chat)]
    assert [event[1:] for event in inside.heard if event[0] == channel] == [
        ("message:sent", first),
        ("message:sent", second),
        ("message:updated", {"id": first["id"], "updates": {"content": "Hello"}}),
        ("message:updated", {"id": second["id"], "updates": {"content": "text.png", "type": "image"}}),
        ("message:updated", {"id": second["id"], "updates": {"type": "text"}}),
        ("message:deleted", first["id"]),
        *on_both,
    ]
    assert [event[1:] for event in inside.heard if event[0] != channel] == on_both
    assert elsewhere.heard == [(member.channel, *event) for event in on_both]


@pytest.mark.parametrize("name", ["next-auth.session-token", "__Secure-authjs.session-token"])
def test_the_session_cookie_will_do(world: World, name: str) -> None:
    owner, member = world.user("Olga"), world.user("Mia")
    chat = world.chat(owner, member)
    browser = member.browser(Cookie=f"theme=dark; {name}={member.token}")
    browser.sign_in().subscribe(f"private-chat-{chat}", f"presence-chat-{chat}", member.channel)
    signed_in = json.loads(browser.told("pusher:signin_success")["user_data"])
    assert signed_in == {"id": member.pusher_id, "user_info": {"userId": member.id, "name": "Mia"}}
    sent = owner.send(chat, "Hello")
    world.settle(browser)
    assert browser.heard == [sent]


def test_without_a_session_nobody_signs_in_or_subscribes(world: World) -> None:
    owner = world.user("Olga")
    chat = world.chat(owner)
    browser = owner.browser(Cookie="next-auth.session-token=forged")
    browser.do("signin")
    browser.do("subscribe", f"private-chat-{chat}")
    assert browser.told("pusher:signin_error")["status"] == 401
    assert browser.told("pusher:subscription_error", f"private-chat-{chat}")["status"] == 401


def test_a_stranger_is_refused_and_hears_nothing(world: World) -> None:
    owner, member, stranger = world.user("Olga"), world.user("Mia"), world.user("Sam")
    chat = world.chat(owner, member)
    inside = member.browser().sign_in().subscribe(f"private-chat-{chat}", member.channel)
    outside = stranger.browser().sign_in().subscribe(stranger.channel)
    for channel in (f"private-chat-{chat}", f"presence-chat-{chat}", member.channel):
        outside.do("subscribe", channel)
        assert outside.is_refused(channel)
    sent = owner.send(chat, "Not for Sam")
    owner.ask("PUT", f"chats/{chat}", {"title": "Nor this"})
    world.settle(inside, outside)
    renamed = ("chat:updated", {"id": chat, "updates": {"title": "Nor this"}})
    assert inside.heard == [sent, (f"private-chat-{chat}", *renamed), (member.channel, *renamed)]
    assert outside.heard == []


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
        (owner if way == "removed" else leaving).ask("DELETE", f"chats/{chat}/members/{quote(leaving.id, safe='')}")
    after = [owner.send(chat, "Without Lea"), owner.send(chat, "Really")]
    owner.ask("PUT", f"chats/{chat}", {"title": "Without Lea"})
    renamed = (channel, "chat:updated", {"id": chat, "updates": {"title": "Without Lea"}})
    world.settle(remaining)
    assert remaining.heard == [before, *after, renamed]
    for browser in gone:
        assert browser.told("error")["code"] == TERMINATED
        browser.told("disconnected")
        browser.do("connect")
        if way == "deleted":
            assert browser.is_refused(channel, 401)
            assert browser.is_refused(leaving.channel, 401)
        else:
            assert browser.is_refused(channel)
            browser.told("pusher:subscription_succeeded", leaving.channel, times=2)
    later = owner.send(chat, "Still without Lea")
    world.settle(remaining, *gone)
    assert remaining.heard == [before, *after, renamed, later]
    assert [browser.heard for browser in gone] == [[before], [before]]


def test_members_see_who_is_there(world: World) -> None:
    owner, member = world.user("Olga"), world.user("Mia")
    channel = f"presence-chat-{world.chat(owner, member)}"
    first = owner.browser().subscribe(channel)
    second = member.browser().subscribe(channel)
    in_order = {owner.id: {"name": "Olga"}, member.id: {"name": "Mia"}}
    assert first.told("pusher:subscription_succeeded", channel)["members"] == {owner.id: {"name": "Olga"}}
    assert first.told("pusher:member_added", channel) == {"id": member.id, "info": {"name": "Mia"}}
    there = second.told("pusher:subscription_succeeded", channel)
    assert there["members"] == in_order
    assert there["me"] == {"id": member.id, "info": {"name": "Mia"}}
    with second:
        pass
    assert first.told("pusher:member_removed", channel) == {"id": member.id, "info": {"name": "Mia"}}


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
    owner.ask("PUT", path, {"content": snowmen * 2, "type": "code"})
    world.settle(browser)
    truncated = {**too_large[2], "truncated": True}
    del truncated["content"]
    edited = {"id": short[2]["id"], "updates": {"type": "code"}, "truncated": True}
    assert browser.heard == [
        short,
        largest,
        (channel, "message:sent", truncated),
        (channel, "message:updated", edited),
    ]
    assert member.ask("GET", path)["content"] == snowmen * 2


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
            world.listener.child_until("Pusher is away")
            later.enter_context(frozen(world.listener.child.pid))  # so that there is somebody to hear it
            world.pusher.start()
        browser.told("pusher:subscription_succeeded", channel, times=2)
    browser.told("pusher:signin_success", times=2)
    after = [owner.send(chat, f"after {number}") for number in range(12)]
    world.settle(browser)
    assert browser.heard == [before, *meanwhile, *after]


@contextmanager
def writing(chat: str, *users: User) -> Iterator[None]:
    """These write without an end, until the end of the block."""
    stop = threading.Event()

    def write(user: User) -> None:
        for number in count():
            _, _, message = user.send(chat, f"{user.id} {number}")
            path = f"chats/{chat}/messages/{message['id']}"
            if number % 3 == 0:
                user.ask("PUT", path, {"content": f"{user.id} {number}, edited"})
            if number % 4 == 0:
                user.ask("DELETE", path)
            if stop.wait(PAUSE):
                return

    with ThreadPoolExecutor() as threads:
        running = [threads.submit(write, user) for user in users]
        try:
            yield
        finally:
            stop.set()
        for writer in running:
            writer.result()


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
        page = member.ask("GET", f"chats/{chat}/events?after={after}&limit=1000")
        assert [event["seq"] for event in page["events"]] == list(range(after + 1, page["next"] + 1))
        assert not page["hasMore"]
        return keep((event["event"], event["data"]) for event in page["events"])

    def live() -> tuple[int, int]:
        """One that is killed before it asks, so that nothing is kept of it, and one that asks. How many events that one
        had missed, and how many it heard that were new."""
        with member.browser() as browser:
            browser.do("subscribe", channel)
            enough = random.randint(0, MOST_HEARD)  # noqa: S311 (no secret)
            wait_until(lambda: len(browser.heard) >= enough)
        with member.browser().subscribe(channel) as browser:
            missed = catch_up()
            enough = random.randint(1, MOST_HEARD)  # noqa: S311 (no secret)
            wait_until(lambda: sum(essence(event[1:]) not in kept for event in browser.heard) >= enough)
        return missed, keep(event[1:] for event in browser.heard)

    with writing(chat, owner, friend):
        lives = [live() for _ in range(LIVES)]
    with member.browser().subscribe(channel) as browser:
        catch_up()
        the_end = owner.send(chat, "The end")
        world.settle(browser)
    keep(event[1:] for event in browser.heard)
    log = "select event, payload from parley.outbox where chat_id = %s and seq > %s order by seq"
    assert kept == [essence(event) for event in world.dba.execute(log, [chat, first])]
    assert kept[-1] == essence(the_end[1:])
    assert all(heard for _, heard in lives)
    assert any(missed for missed, _ in lives)


# parley dev


def test_parley_dev(modules: Path) -> None:
    with scratch() as directory:
        dev = Dev(directory, "--port", str(free_port()), "--data", "data").until_ready()
        lines = (directory / "data" / CLIENT_FILE).read_text().splitlines()
        place = dict(line.split("=", 1) for line in lines)
        secret = (directory / "data" / STACK_FILE).read_text()
        alice, bob = ({"Authorization": f"Bearer {token(user, secret)}"} for user in ("alice", "bob"))
        with (
            httpx.Client(base_url=f"{place['PUBLIC_URL']}/api/chats", headers=alice) as http,
            Browser(modules, place["PUBLIC_URL"], place, bob) as browser,
        ):
            chat = http.get("").json()["chats"][0]["id"]
            browser.sign_in().subscribe(f"private-chat-{chat}")
            sent = http.post(f"/{chat}/messages", json={"content": "Hello"}).json()
            assert browser.told("message:sent", f"private-chat-{chat}") == sent
            http.delete(f"/{chat}/members/bob")
            assert browser.told("error")["code"] == TERMINATED
        assert dev.stop() == 0
