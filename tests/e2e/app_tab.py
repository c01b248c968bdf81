"""A tab of the example app, as its users see it: elements are found by their roles and names, as screen readers do."""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.chromium import Tab
from tests.e2e.example_app import Example, User
from tests.waiting import wait_until

CHATS = """[...document.querySelectorAll('nav[aria-label="Chats"] li')].map((item) =>
  ['.title', '.preview', '.badge'].map((part) => item.querySelector(part)?.textContent ?? ''))"""
MESSAGES = """[...document.querySelectorAll('[role=log] li[data-key]')].map((item) => ({
  content: item.querySelector('.content')?.textContent, status: item.dataset.status,
  footer: [...item.querySelectorAll('footer > :not(time, .actions)')].map((part) => part.textContent).join(' '),
}))"""
AXE = """
  await page.evaluate(await (await import('node:fs/promises')).readFile(value, 'utf8'))
  return page.evaluate("axe.run().then(({violations}) => violations.map(({id, nodes}) =>" +
    "`${id}: ${nodes.map(({html, any}) => `${html} ${any[0]?.message ?? ''}`).join(', ')}`))")
"""
PHONE = {"viewport": {"width": 390, "height": 844}, "isMobile": True, "hasTouch": True}


class AppTab(Tab):
    """A tab of a user in the example app."""

    def __init__(self, example: Example, user: User, path: str = "/", **options: Any) -> None:
        self.user = user
        super().__init__(example.browser, user.id, example.url + path, **options)
        example.stack.callback(example.browser.do, "closeProfile", user.id)

    def sign_in(self) -> "AppTab":
        """Sign in, by the form for any name; return when the list of chats is on the screen."""
        self.fill("Another name", self.user.name)
        self.click("button", "Continue")
        self.run("await page.getByRole('navigation', {name: 'Chats'}).waitFor()")
        return self

    def click(self, role: str, name: str) -> None:
        """Click the last element with this role and name: a dialog is after what is behind it."""
        self.run("await page.getByRole(value[0], {name: value[1], exact: true}).last().click()", [role, name])

    def fill(self, label: str, text: str) -> None:
        """Enter a text into a field."""
        self.run("await page.getByLabel(value[0], {exact: true}).last().fill(value[1])", [label, text])

    def has(self, role: str, name: str) -> bool:
        """Return whether an element with this role and name is on the screen."""
        code = "return page.getByRole(value[0], {name: value[1], exact: true}).last().isVisible()"
        return bool(self.run(code, [role, name]))

    def has_text(self, text: str) -> bool:
        """Return whether a text is on the screen."""
        return bool(self.run("return page.getByText(value).last().isVisible()", text))

    def wait_for_text(self, text: str) -> None:
        """Wait until a text is on the screen."""
        self.run("await page.getByText(value).last().waitFor()", text)

    def open_chat(self, title: str) -> None:
        """Open a chat in the list; return when its messages are on the screen."""
        self.run("await page.getByRole('navigation').getByRole('link').filter({hasText: value}).click()", title)
        self.run("await page.getByRole('heading', {name: value, level: 1}).waitFor()", title)
        self.run("await page.getByRole('log').waitFor()")

    def send(self, *contents: str) -> None:
        """Send messages in the open chat."""
        for content in contents:
            self.fill("Message", content)
            self.click("button", "Send")

    def chats(self) -> list[list[str]]:
        """Return the chats in the list: the title, the preview and the number of unread messages."""
        chats: list[list[str]] = self.evaluate(CHATS)
        return chats

    def messages(self, *fields: str) -> list[Any]:
        """Return the messages on the page: their contents or, if `fields` name several, these."""
        messages: list[dict[str, Any]] = self.evaluate(MESSAGES)
        if len(fields) > 1:
            return [[message[field] for field in fields] for message in messages]
        return [message[fields[0] if fields else "content"] for message in messages]

    def wait_for(self, read: Callable[["AppTab"], Any], expected: Any, seconds: float = 15) -> None:
        """Wait until a function of this tab returns a value."""
        try:
            wait_until(lambda: read(self) == expected, seconds)
        except AssertionError:
            self.keep_screenshot("failed")
            assert read(self) == expected, (self.errors, self.responses[-10:])  # shows the difference
            raise

    def wait_for_messages(self, *contents: str) -> None:
        """Wait until the last messages on the page have these contents and are stored."""
        expected = [[content, "sent"] for content in contents]
        self.wait_for(lambda tab: tab.messages("content", "status")[-len(expected) :], expected)

    def set_offline(self, is_offline: bool) -> None:
        """Disconnect the profile from the network, or connect it again."""
        self.run("await page.context().setOffline(value)", is_offline)

    def act_on(self, content: str, action: str) -> None:
        """Click a button of the message with this content."""
        code = """const message = page.getByRole('log').getByRole('listitem').filter({hasText: value[0]}).last()
          await message.hover()
          await message.getByRole('button', {name: value[1], exact: true}).click()"""
        self.run(code, [content, action])

    def choose_image(self, label: str, content: bytes) -> None:
        """Choose an image in the input for files with this label."""
        code = """await page.getByLabel(value[0], {exact: true}).setInputFiles(
          {name: 'image.png', mimeType: 'image/png', buffer: Buffer.from(value[1], 'base64')})"""
        self.run(code, [label, base64.b64encode(content).decode()])

    def go(self, path: str) -> None:
        """Load another page of the example."""
        self.run("await page.goto(new URL(value, page.url()).href)", path)

    def find_violations(self) -> list[str]:
        """Return the violations of accessibility rules that axe-core finds on the page."""
        violations: list[str] = self.run(AXE, str(self._chromium.modules / "axe-core/axe.min.js"))
        return violations

    def keep_screenshot(self, name: str) -> None:
        """Write a screenshot to the directory PARLEY_SCREENSHOTS, if that is set."""
        if directory := os.environ.get("PARLEY_SCREENSHOTS"):
            Path(directory).mkdir(parents=True, exist_ok=True)
            self.run("await page.screenshot({path: value})", str(Path(directory).resolve() / f"{name}.png"))
