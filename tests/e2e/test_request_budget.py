"""The requests of a chat app in a browser: to start, while live, and to come back, within ten in ten seconds.

The page is the README's example with pusher-js, and all tabs have one address. Each test has an API with a new budget
of ten requests. Its window is a day, so that X-RateLimit-Remaining counts the requests exactly; what it allows, a
window of ten seconds allows too. `python -m tests.bench.chat_app` compares the page with others.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.pusher_process import PusherProcess
from tests.api.support import unlimited_client
from tests.api_process import Api, choose_long_window, running
from tests.database import Connection, add_member, call, new_chat
from tests.e2e.chat_browser import ChatBrowser, ChatTab, count_by_headers
from tests.e2e.npm import Npm
from tests.listener.process import Listener, running_listener
from tests.tokens import new_user, token
from tests.waiting import wait_until

AUTH, SYNC = "POST /api/pusher/auth", "GET /api/sync"
MESSAGES = "GET /api/chats/{id}/messages"
START = [SYNC, AUTH]
CHATS = 30
SHARED = 10  # of the chats of each user, the number that both are in
LARGE = 101  # members


class Servers:
    """A Pusher server, a listener and a database; and an API and clients for each test."""

    def __init__(
        self, database: str, dba: Connection, pusher: PusherProcess, new_api: Callable[..., Api], browser: ChatBrowser
    ) -> None:
        self.database, self.dba, self.pusher, self.browser = database, dba, pusher, browser
        self._new_api, self.stack = new_api, ExitStack()

    def start_api(self, window: str = "") -> None:
        """Start an API with a new budget."""
        settings = {
            "ALLOWED_ORIGINS": self.browser.origin,
            "PUSHER_KEY": self.pusher.key,
            "PUSHER_SECRET": self.pusher.secret,
            "RATE_LIMIT_PREFIX": uuid4().hex,
            "RATE_LIMIT_WINDOW": window or choose_long_window(),
        }
        self.api = self.stack.enter_context(running(self._new_api(self.database, **settings)))

    def open_tab(self, user: "User") -> ChatTab:
        """Open the page as a user."""
        values = {"userId": user.id, "token": token(user.id)}
        tab = self.browser.open(user.id, self.api.url, self.pusher.environment, **values)
        self.stack.callback(tab.close)
        return tab

    def settle(self) -> None:
        """Return when all events are published."""
        wait_until(lambda: self.dba.execute("select from parley.outbox_queue limit 1").rowcount == 0)


class User:
    """A user with chats, who also sends requests from other addresses."""

    def __init__(self, servers: Servers, name: str) -> None:
        self.id, self._servers = new_user(f"~~~???{name}"), servers
        call(servers.dba, self.id, "update_profile", {"name": name})

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request from another address than the browser's; return the body of the response."""
        with unlimited_client(self._servers.api, self.id) as client:
            response = client.request(method, f"/api/{path}", json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def expected_rows(self) -> list[list[str]]:
        """Return the rows of the user's list of chats, as a new client would show them."""
        return [
            [
                chat["title"], str(chat["memberCount"]), str(chat["unreadCount"]),
                (chat["lastMessage"] or {}).get("author", {}).get("name") or "",
                (chat["lastMessage"] or {}).get("content", ""),
            ]
            for chat in self.request("GET", "sync?limit=100&include=users")["chats"]
        ]  # fmt: skip


@pytest.fixture(scope="module")
def own_directory(directory: Path) -> Path:
    path = directory / "request-budget"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def browser(npm: Npm, own_directory: Path) -> Iterator[ChatBrowser]:
    with ChatBrowser(npm, own_directory) as opened:
        yield opened


@pytest.fixture(scope="module")
def module_servers(
    browser: ChatBrowser,
    own_directory: Path,
    postgres: Postgres,
    new_database: Callable[[str], str],
    new_api: Callable[..., Api],
) -> Iterator[Servers]:
    database = new_database("parley_request_budget")
    with PusherProcess(own_directory / "pusher") as pusher:
        listener = Listener(own_directory, postgres.url(database, "events", "events"), pusher)
        with psycopg.connect(postgres.url(database), autocommit=True) as dba, running_listener(listener):
            yield Servers(database, dba, pusher, new_api, browser)


@pytest.fixture
def servers(module_servers: Servers) -> Iterator[Servers]:
    with module_servers.stack:
        module_servers.start_api()
        yield module_servers


def new_users(servers: Servers, chats: int = CHATS) -> tuple[User, User]:
    """Create two users, each with this many chats, some of which both are in."""
    ada, bob = User(servers, "Ada"), User(servers, "Bob")
    shared = min(SHARED, chats)
    with servers.dba.transaction():
        for number in range(chats):
            for owner, other in ((ada, bob), (bob, ada)):
                if number >= shared or owner is ada:
                    chat = new_chat(servers.dba, owner.id, title=f"Chat {number}")
                    if number < shared:
                        add_member(servers.dba, owner.id, chat, other.id)
                        call(servers.dba, other.id, "send_message", chat, {"content": f"Hello {number}"})
    return ada, bob


def open_live(servers: Servers, *users: User) -> list[ChatTab]:
    """Open a tab of each user; return when all are live and show everything."""
    tabs = [servers.open_tab(user) for user in users]
    for user, tab in zip(users, tabs, strict=True):
        tab.wait_for_rows(user.expected_rows())
        tab.wait_until("channel.subscribed && pusher.user.user_data")
    return tabs


@pytest.mark.parametrize("chats", [3, CHATS])
def test_start_takes_two_requests_whatever_the_number_of_chats(servers: Servers, chats: int) -> None:
    ada, bob = new_users(servers, chats)
    tabs = open_live(servers, ada, bob)
    assert [tab.new_requests() for tab in tabs] == [START, START]
    assert len(tabs[0].rows()) == chats
    assert count_by_headers(*tabs) == 4


@pytest.mark.parametrize("window", ["", "10"])
def test_two_tabs_of_two_users_start_at_once_within_ten_requests(servers: Servers, window: str) -> None:
    ada, bob = new_users(servers)
    servers.start_api(window)
    tabs = open_live(servers, ada, ada, bob, bob)
    assert [tab.new_requests() for tab in tabs] == [START] * 4
    assert {response.status for tab in tabs for response in tab.responses} == {200}
    assert window or count_by_headers(*tabs) == 8


def test_live_page_sends_no_requests(servers: Servers) -> None:
    ada, bob = new_users(servers)
    tabs = open_live(servers, ada, bob)
    carol = User(servers, "Carol")
    first, second, third, *_ = [chat["id"] for chat in ada.request("GET", "chats")["chats"] if chat["memberCount"] == 2]
    sent = bob.request("POST", f"chats/{first}/messages", {"content": "Are you there?"})
    bob.request("POST", f"chats/{second}/messages", {"content": "And here?"})
    bob.request("PUT", f"chats/{first}/messages/{sent['id']}", {"content": "Are you there, Ada?"})
    ada.request("PUT", f"chats/{second}", {"title": "Renamed"})
    ada.request("POST", f"chats/{third}/members", {"userId": carol.id})
    ada.request("PUT", f"chats/{first}/read", {"messageId": sent["id"]})
    carol.request("POST", f"chats/{third}/messages", {"content": "Thank you"})
    ada.request("POST", f"chats/{third}/messages", {"content": "Welcome, Carol"})
    bob.request("PUT", "profile", {"name": "Robert"})
    bob.request("POST", "chats", {"title": "New", "members": [ada.id]})
    servers.settle()
    for user, tab in zip((ada, bob), tabs, strict=True):
        tab.wait_for_rows(user.expected_rows())
        assert tab.new_requests() == START
    ada_rows, bob_rows = ([row for row in tab.rows() if row[1] != "1"][:4] for tab in tabs)
    assert ada_rows[0] == bob_rows[0] == ["New", "2", "0", "", ""]
    assert [row[1:] for row in ada_rows[1:]] == [
        ["3", "0", "Ada", "Welcome, Carol"],
        ["2", "2", "Robert", "And here?"],
        ["2", "0", "Robert", "Are you there, Ada?"],
    ]
    assert [row[2] for row in bob_rows[1:]] == ["2", "0", "0"]
    assert bob_rows[2][0] == "Renamed"
    assert count_by_headers(*tabs) == 4


def test_page_fetches_a_snapshot_when_the_last_message_is_deleted(servers: Servers) -> None:
    ada, bob = new_users(servers, 3)
    (tab,) = open_live(servers, ada)
    assert tab.new_requests() == START
    chat = bob.request("POST", "chats", {"title": "New", "members": [ada.id]})["id"]
    for content in ("Hello", "Goodbye"):
        sent = bob.request("POST", f"chats/{chat}/messages", {"content": content})
    servers.settle()
    tab.wait_for_rows(ada.expected_rows())
    assert tab.new_requests() == []
    bob.request("DELETE", f"chats/{chat}/messages/{sent['id']}")
    servers.settle()
    tab.wait_for_rows(ada.expected_rows())
    assert tab.rows()[0][4] == "Hello"
    assert tab.new_requests() == [SYNC]
    bob.request("DELETE", f"chats/{chat}/members/{quote(ada.id, safe='')}")
    servers.settle()
    tab.wait_for_rows(ada.expected_rows())
    assert tab.new_requests() == []


def test_page_catches_up_after_the_pusher_server_is_killed(servers: Servers) -> None:
    ada, bob = new_users(servers)
    tabs = open_live(servers, ada, bob)
    chat = next(chat["id"] for chat in ada.request("GET", "chats")["chats"] if chat["memberCount"] == 2)
    tabs[0].evaluate(f"openChat('{chat}')")
    before = tabs[0].rows("messages")
    assert tabs[0].new_requests() == [MESSAGES, *START]
    assert tabs[1].new_requests() == START
    servers.pusher.kill()
    for tab in tabs:
        tab.wait_until("pusher.connection.state !== 'connected'")
    for number in range(12):
        bob.request("POST", f"chats/{chat}/messages", {"content": f"Meanwhile {number}"})
    servers.pusher.start()
    for tab in tabs:
        tab.evaluate("dispatchEvent(new Event('online'))")  # else pusher-js may wait for 15 seconds
    bob.request("POST", f"chats/{chat}/messages", {"content": "After"})
    servers.settle()
    for user, tab in zip((ada, bob), tabs, strict=True):
        tab.wait_for_rows(user.expected_rows())
        assert tab.new_requests() == START
    added = [["Bob", content] for content in (*(f"Meanwhile {number}" for number in range(12)), "After")]
    tabs[0].wait_for_rows([*before, *added], "messages")
    assert count_by_headers(*tabs) == 9


def test_page_that_was_away_fetches_each_thousand_events_in_one_request(servers: Servers) -> None:
    ada, bob = new_users(servers)
    (tab,) = open_live(servers, ada)
    assert tab.new_requests() == START
    chats = [chat["id"] for chat in ada.request("GET", "chats")["chats"] if chat["memberCount"] == 2]
    for events, requests in ((500, [SYNC, AUTH]), (1500, [SYNC, SYNC, AUTH])):
        tab.evaluate("pusher.disconnect()")
        with servers.dba.transaction():
            new_chat(servers.dba, bob.id, ada.id, title=f"Chat of {events}")
            for number in range(events - 3):
                chat = chats[number % len(chats)]
                call(servers.dba, bob.id, "send_message", chat, {"content": f"{number} of {events}"})
        servers.settle()
        tab.evaluate("pusher.connect()")
        tab.wait_for_rows(ada.expected_rows())
        assert tab.new_requests() == requests
    assert count_by_headers(tab) == 7


def test_large_chat_takes_an_authorization_when_it_is_opened(servers: Servers) -> None:
    ada, bob = new_users(servers)
    with servers.dba.transaction():
        chat = new_chat(servers.dba, ada.id, bob.id, *(new_user() for _ in range(LARGE - 2)), title="All")
    (tab,) = open_live(servers, ada)
    assert tab.new_requests() == START
    tab.evaluate(f"openChat('{chat}')")
    assert tab.new_requests() == [MESSAGES, AUTH]
    bob.request("POST", f"chats/{chat}/messages", {"content": "Hello, all"})
    tab.wait_for_rows([["Bob", "Hello, all"]], "messages")
    tab.evaluate("pusher.disconnect()")
    bob.request("POST", f"chats/{chat}/messages", {"content": "Goodbye, all"})
    servers.settle()
    tab.evaluate("pusher.connect()")
    tab.wait_for_rows([["Bob", "Hello, all"], ["Bob", "Goodbye, all"]], "messages")
    tab.wait_for_rows(ada.expected_rows())
    assert tab.new_requests() == START  # one authorization for both channels
    assert count_by_headers(tab) == 6
