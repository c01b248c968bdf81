"""The example app in Chromium: long chats, search, and the looks of each page."""

from typing import Any

import pytest

from tests.database import call, new_chat
from tests.e2e.app_tab import PHONE, AppTab
from tests.e2e.example_app import Example, User

COUNT = 400
FOCUS = """(() => {
  const item = document.querySelector('[role=log] li[aria-current]'), box = item?.getBoundingClientRect()
  return item ? [item.querySelector('.content').textContent, box.top >= 0 && box.bottom <= innerHeight] : []
})()"""
THEMES = [("light", {}), ("dark", {}), ("light", PHONE)]


@pytest.fixture(scope="module", name="ada")
def _ada(module_example: Example) -> User:
    """A user with a chat of many messages."""
    ada, bob = User(module_example, "Ada"), User(module_example, "Bob")
    chat = new_chat(module_example.dba, ada.id, bob.id, title="Long")
    with module_example.dba.transaction():
        for number in range(COUNT):
            content = f"Message {number}" + " about the zebra" * (number == 123)
            call(module_example.dba, bob.id, "send_message", chat, {"content": content})
    return ada


def test_scrolling_up_loads_all_messages(example: Example, ada: User) -> None:
    tab = AppTab(example, ada).sign_in()
    tab.open_chat("Long")
    tab.wait_for(lambda tab: tab.messages()[-1:], [f"Message {COUNT - 1}"])
    tab.count_new_requests()
    scroll = "document.querySelector('[role=log]').scrollTop = 0"
    tab.wait_for(lambda tab: (tab.evaluate(scroll), tab.messages()[0])[1], "Message 0")
    contents = [content.removesuffix(" about the zebra") for content in tab.messages()]
    assert contents == [f"Message {number}" for number in range(COUNT)]
    pages = [request for request in tab.count_new_requests() if request == "GET /api/chats/{id}/messages"]
    assert len(pages) == COUNT // 50 - 1
    assert tab.errors == []


def test_search_jumps_into_a_long_chat(example: Example, ada: User) -> None:
    tab = AppTab(example, ada).sign_in()
    tab.click("link", "Search")
    tab.fill("Search all chats", "zebras")
    tab.click("button", "Search")
    tab.wait_for_text("1 message found")
    assert tab.evaluate("document.querySelector('mark').textContent") == "zebra"
    tab.run("await page.getByRole('main').getByRole('listitem').getByRole('link').click()")
    tab.wait_for(lambda tab: tab.evaluate(FOCUS), ["Message 123 about the zebra", True])
    assert f"Message {COUNT - 1}" not in tab.messages()
    tab.click("button", "Newest messages")
    tab.wait_for(lambda tab: tab.messages()[-1:], [f"Message {COUNT - 1}"])
    assert tab.errors == []


@pytest.mark.parametrize(("theme", "options"), THEMES)
def test_pages_are_accessible(example: Example, theme: str, options: dict[str, Any]) -> None:
    name = "phone" if options else theme
    ada, bob = User(example, "Ada"), User(example, "Bob")
    chat = new_chat(example.dba, ada.id, bob.id, title="Plans for the release")
    for content, kind in (("Shall we deploy on Friday?", "text"), ("git push --tags", "code"), ("Done", "text")):
        bob.request("POST", f"chats/{chat}/messages", {"content": content, "type": kind})
    ada.request("POST", f"chats/{chat}/messages", {"content": "Thank you, Bob"})
    lunch = new_chat(example.dba, bob.id, ada.id, title="Lunch")
    bob.request("POST", f"chats/{lunch}/messages", {"content": "At noon?"})
    ada.request("PUT", "settings", {"settings": {"theme": theme}})
    tab = AppTab(example, ada, colorScheme=theme, **options)
    found = {"sign-in": check(tab, f"{name}-sign-in")}
    tab.sign_in()
    for page, path, text in (
        ("list", "/", "Lunch"),
        ("chat", f"/chats/{chat}", "git push --tags"),
        ("search", "/search?q=deploying", "1 message found"),
        ("settings", "/settings", "Save settings"),
    ):
        tab.go(path)
        tab.wait_for_text(text)
        tab.wait_until(f"document.documentElement.dataset.theme === '{theme}'")
        found[page] = check(tab, f"{name}-{page}")
    tab.go(f"/chats/{chat}")
    tab.wait_for_text("git push --tags")
    tab.click("button", "Details")
    tab.wait_for_text("Members (2)")
    found["details"] = check(tab, f"{name}-details")
    tab.click("button", "Close")
    tab.set_offline(True)
    tab.wait_for_text("You are offline.")
    found["offline"] = check(tab, f"{name}-offline")
    tab.set_offline(False)
    assert {page: problems for page, problems in found.items() if problems} == {}


def check(tab: AppTab, name: str) -> list[str]:
    """Keep a screenshot; return what is wrong with the page."""
    tab.keep_screenshot(name)
    too_wide = tab.evaluate("document.documentElement.scrollWidth > innerWidth")
    return tab.find_violations() + ["wider than the screen"] * too_wide
