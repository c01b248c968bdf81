"""The example app in Chromium while servers fail, the network is lost, the session ends, or the rate limit applies."""

from collections import Counter
from uuid import uuid4

import pytest

from tests.database import new_chat
from tests.e2e.app_tab import AppTab
from tests.e2e.example_app import Example, User
from tests.waiting import wait_until

BACK = ["GET /api/sync", "POST /api/pusher/auth"]
OFFLINE = "You are offline."
SIGNED_OUT = "You are signed out"


class Pair:
    """Two users in one chat, each with a tab in which the chat is open."""

    def __init__(self, example: Example) -> None:
        self.example, self.users = example, [User(example, "Ada"), User(example, "Bob")]
        self.ada, self.bob = self.users
        self.chat = new_chat(example.dba, self.ada.id, self.bob.id, title="Plans")
        self.tabs = [AppTab(example, user).sign_in() for user in self.users]
        self.first, self.second = self.tabs
        for tab in self.tabs:
            tab.open_chat("Plans")
        for tab in self.tabs:
            tab.wait_for_text("Online: ")
            tab.count_new_requests()

    def post(self, content: str) -> None:
        """Send a message as Bob, from another address."""
        self.bob.request("POST", f"chats/{self.chat}/messages", {"content": content})

    def fetch_contents(self) -> list[str]:
        """Return the contents of the stored messages, the newest last."""
        messages = self.ada.request("GET", f"chats/{self.chat}/messages")["messages"]
        return [message["content"] for message in reversed(messages)]

    def wait_for_messages(self, *contents: str) -> None:
        """Wait until both tabs show exactly these messages, and check that they are stored once."""
        for tab in self.tabs:
            tab.wait_for(lambda tab: tab.messages("content", "status"), [[content, "sent"] for content in contents])
        assert self.fetch_contents() == list(contents)


@pytest.fixture
def pair(example: Example) -> Pair:
    return Pair(example)


def test_message_that_is_written_offline_is_sent_once_online(pair: Pair) -> None:
    pair.first.set_offline(True)
    pair.first.wait_for_text(OFFLINE)
    pair.first.send("Written offline")
    pair.first.wait_for(lambda tab: tab.messages("content", "status"), [["Written offline", "pending"]])
    pair.post("Meanwhile")
    pair.first.count_new_requests()
    pair.first.set_offline(False)
    pair.wait_for_messages("Meanwhile", "Written offline")
    wait_until(lambda: not pair.first.has_text(OFFLINE))
    assert set(pair.first.count_new_requests()) <= {*BACK, "POST /api/chats/{id}/messages", "PUT /api/chats/{id}/read"}


def test_tabs_catch_up_after_the_pusher_server_is_killed(pair: Pair) -> None:
    pair.example.pusher.kill()
    for tab in pair.tabs:
        tab.wait_for_text(OFFLINE)
    for number in range(3):
        pair.post(f"Meanwhile {number}")
    for tab in pair.tabs:
        tab.count_new_requests()
    pair.example.pusher.start()
    for tab in pair.tabs:
        tab.evaluate("dispatchEvent(new Event('online'))")  # else the client may wait for a minute
    pair.wait_for_messages(*(f"Meanwhile {number}" for number in range(3)))
    pair.post("After")
    pair.wait_for_messages(*(f"Meanwhile {number}" for number in range(3)), "After")
    for tab in pair.tabs:
        requests = [request for request in tab.count_new_requests() if not request.startswith("PUT")]
        assert requests == BACK


def test_events_arrive_after_the_listener_is_killed(pair: Pair) -> None:
    pair.example.listener.kill()
    pair.first.send("One", "Two")
    pair.first.wait_for_messages("One", "Two")
    assert pair.second.messages() == []
    pair.example.listener.start()
    pair.wait_for_messages("One", "Two")
    for tab in pair.tabs:
        assert "GET /api/sync" not in tab.count_new_requests()


def test_message_is_sent_once_if_the_api_is_killed_while_it_is_stored(pair: Pair) -> None:
    with pair.example.dba.transaction():
        pair.example.dba.execute("select from parley.chats where id = %s for update", [pair.chat])
        pair.first.send("Exactly once")
        blocked = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        wait_until(lambda: pair.example.dba.execute(blocked).rowcount)
        pair.example.api.kill()
    # PostgreSQL completes the statement of the killed API.
    wait_until(lambda: pair.example.dba.execute("select from parley.messages where chat_id = %s", [pair.chat]).rowcount)
    pair.first.send("Afterwards")
    assert pair.first.messages("content", "status")[-1] == ["Afterwards", "pending"]
    pair.example.api.start()
    pair.wait_for_messages("Exactly once", "Afterwards")


def test_user_signs_in_again_in_the_same_chat(pair: Pair) -> None:
    pair.first.send("Before")
    pair.wait_for_messages("Before")
    pair.first.run("await page.context().clearCookies({name: /authjs/})")
    pair.post("Meanwhile")  # The tab marks it as read, which is rejected.
    pair.first.wait_for_text(SIGNED_OUT)
    pair.post("While signed out")
    pair.first.click("link", "Sign in again")
    pair.first.sign_in()
    assert pair.first.evaluate("location.pathname") == f"/chats/{pair.chat}"
    pair.wait_for_messages("Before", "Meanwhile", "While signed out")
    pair.first.send("After")
    pair.wait_for_messages("Before", "Meanwhile", "While signed out", "After")


def test_other_user_who_signs_in_replaces_all_tabs(pair: Pair) -> None:
    new_chat(pair.example.dba, pair.ada.id, title="Ada's own")
    pair.first.wait_for(lambda tab: [title for title, *_ in tab.chats()], ["Ada's own", "Plans"])
    second_tab = AppTab(pair.example, pair.ada, "/sign-in")
    second_tab.user = pair.bob
    second_tab.sign_in()
    for title, state in (("Ada's own", "detached"), ("Plans", "visible")):
        link = "page.getByRole('navigation').getByRole('link').filter({hasText: value[0]})"
        pair.first.run(f"await {link}.waitFor({{state: value[1]}})", [title, state])
    assert [title for title, *_ in pair.first.chats()] == ["Plans"]


def test_expired_session_ends_the_use_of_the_page(pair: Pair) -> None:
    pair.first.run(
        """const [cookie] = (await page.context().cookies()).filter(({name}) => name.includes('session'))
      await page.context().addCookies([{...cookie, value: value}])""",
        "expired",
    )
    pair.example.pusher.kill()
    pair.example.pusher.start()
    pair.first.wait_for_text(SIGNED_OUT)


def test_chat_under_the_rate_limit_of_the_document(example: Example) -> None:
    example.restart_api(RATE_LIMIT_REQUESTS="10", RATE_LIMIT_WINDOW="10", RATE_LIMIT_PREFIX=uuid4().hex)
    try:
        pair = Pair(example)
        contents = [f"Message {number}" for number in range(6)]
        for content in contents:
            pair.first.send(content)
        pair.post("From Bob")
        for tab in pair.tabs:
            tab.wait_for(lambda tab: sorted(tab.messages()), ["From Bob", *contents], seconds=60)
            tab.wait_for(lambda tab: set(tab.messages("status")), {"sent"}, seconds=60)
        assert sorted(pair.fetch_contents()) == ["From Bob", *contents]
        statuses = Counter(response.status for tab in pair.tabs for response in tab.responses)
        assert statuses.keys() <= {200, 201, 429}
        assert statuses[201] == len(contents)
        assert statuses[429] <= 10
    finally:
        example.restart_api(RATE_LIMIT_REQUESTS="100000", RATE_LIMIT_WINDOW="10")
