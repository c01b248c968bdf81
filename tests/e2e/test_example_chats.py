"""The example app in Chromium while all servers run: users chat live, in several tabs, with images and code."""

from tests.database import new_chat
from tests.e2e.app_tab import AppTab
from tests.e2e.example_app import Example, User
from tests.images import build_png
from tests.waiting import wait_until

START = ["GET /api/sync", "POST /api/pusher/auth"]
READ = "PUT /api/chats/{id}/read"
# To open a chat: its newest page, its members, and the authorization of its presence channel.
OPEN = {"GET /api/chats/{id}/messages", "GET /api/chats/{id}/members", "POST /api/pusher/auth"}
IMAGES = "[...document.querySelectorAll('[role=log] img')].map((image) => image.naturalWidth)"


def new_users(example: Example, *names: str) -> list[User]:
    return [User(example, name) for name in names or ("Ada", "Bob")]


def test_two_users_chat_live(example: Example) -> None:
    ada, bob, carol = new_users(example, "Ada", "Bob", "Carol")
    new_chat(example.dba, ada.id, bob.id, title="Plans")
    other = new_chat(example.dba, carol.id, ada.id, bob.id, title="Other")
    tabs = first, second = [AppTab(example, user).sign_in() for user in (ada, bob)]
    for tab in tabs:
        tab.wait_for(AppTab.chats, [["Other", "No messages", ""], ["Plans", "No messages", ""]])
        assert tab.count_new_requests() == START
    for tab in tabs:
        tab.open_chat("Plans")
    for tab in tabs:
        tab.wait_for_text("Online: ")
        assert set(tab.count_new_requests()) <= OPEN

    first.run("await page.getByRole('textbox', {name: 'Message'}).pressSequentially('Hello')")
    second.wait_for_text(f"{ada.name} is typing…")
    first.click("button", "Send")
    first.send("How are you?")
    for tab in tabs:
        tab.wait_for_messages("Hello", "How are you?")
    first.wait_for(lambda tab: tab.messages("footer"), ["", f"Read by {bob.name}"])
    first.act_on("Hello", "Edit")
    first.fill("Edit message", "Hello, Bob")
    first.click("button", "Save")
    second.wait_for(lambda tab: tab.messages("content", "footer")[0], ["Hello, Bob", "edited"])
    first.act_on("How are you?", "Delete")
    first.click("button", "Delete")
    for tab in tabs:
        tab.wait_for_messages("Hello, Bob")
        tab.wait_for(AppTab.chats, [["Plans", f"{ada.name}: Hello, Bob", ""], ["Other", "No messages", ""]])
    # The chat is fetched when its last message is deleted.
    assert set(second.count_new_requests()) <= {READ, "GET /api/chats/{id}"}
    first.count_new_requests()

    carol.request("POST", f"chats/{other}/messages", {"content": "Ping"})
    for tab in tabs:
        ping = ["Other", f"{carol.name}: Ping", "1 unread"]
        tab.wait_for(AppTab.chats, [ping, ["Plans", f"{ada.name}: Hello, Bob", ""]])
        assert tab.evaluate("document.title") == "(1) Plans · Parley"
        assert tab.count_new_requests() == []
        assert tab.errors == []


def test_tabs_of_one_user_agree(example: Example) -> None:
    ada, bob = new_users(example)
    chat = new_chat(example.dba, ada.id, bob.id, title="Plans")
    tabs = [AppTab(example, ada).sign_in(), AppTab(example, ada)]
    for content in ("One", "Two"):
        bob.request("POST", f"chats/{chat}/messages", {"content": content})
    for tab in tabs:
        tab.wait_for(AppTab.chats, [["Plans", f"{bob.name}: Two", "2 unread"]])
    tabs[0].open_chat("Plans")
    for tab in tabs:
        tab.wait_for(AppTab.chats, [["Plans", f"{bob.name}: Two", ""]])
    tabs[1].open_chat("Plans")
    tabs[0].send("Three")
    tabs[1].send("Four")
    for tab in tabs:
        tab.wait_for(lambda tab: sorted(tab.messages()), ["Four", "One", "Three", "Two"])
        tab.wait_for(lambda tab: set(tab.messages("status")), {"sent"})
    assert tabs[0].messages() == tabs[1].messages()


def test_images_and_code_arrive(example: Example) -> None:
    ada, bob = new_users(example)
    new_chat(example.dba, ada.id, bob.id, title="Pictures")
    tabs = first, second = [AppTab(example, user).sign_in() for user in (ada, bob)]
    for tab in tabs:
        tab.open_chat("Pictures")
    first.run("await page.getByLabel('Code').check()")
    first.send("if (a) {\n  b()\n}")
    for tab in tabs:
        tab.wait_for_messages("if (a) {\n  b()\n}")
        assert tab.evaluate("document.querySelector('[role=log] pre code').textContent") == "if (a) {\n  b()\n}"
    first.choose_image("Image", build_png(640, 480))
    for tab in tabs:
        tab.wait_for(lambda tab: tab.evaluate(IMAGES), [640])
        tab.wait_for(lambda tab: tab.messages("status"), ["sent", "sent"])
    assert second.chats() == [["Pictures", f"{ada.name}: Image", ""]]
    assert [tab.errors for tab in tabs] == [[], []]


def test_members_are_managed(example: Example) -> None:
    ada, bob, carol = new_users(example, "Ada", "Bob", "Carol")
    for user in (bob, carol):
        user.request("PUT", "profile", {"email": f"{user.id}@example.com"})
    first, second = [AppTab(example, user).sign_in() for user in (ada, bob)]
    first.click("button", "New chat")
    first.fill("Title", "Team")
    first.fill("Members", f"{bob.id}@example.com, nobody")
    first.click("button", "Create")
    first.wait_for_text("“nobody” is not a known user")
    first.fill("Members", f"{bob.id}@example.com")
    first.click("button", "Create")
    second.open_chat("Team")
    first.click("button", "Details")
    first.fill("E-mail address or ID", f"{carol.id}@example.com")
    first.click("button", "Find")
    first.click("button", f"Add {carol.name}")
    first.wait_for_text("Members (3)")
    first.fill("Title", "The team")
    first.click("button", "Rename")
    second.wait_for_text("The team")
    first.click("button", f"Remove {bob.name}")
    second.wait_for_text("You are no longer in this chat")
    wait_until(lambda: second.chats() == [])
    first.click("button", f"Make owner: {carol.name}")
    first.click("button", "Make owner")
    wait_until(lambda: first.has("button", "Leave chat"))
    first.click("button", "Leave chat")
    first.click("button", "Leave")
    first.wait_for_text("Choose a chat")
    assert first.chats() == []
    assert [error for error in first.errors if "400 (Bad Request)" not in error] == []


def test_profile_and_settings_are_saved(example: Example) -> None:
    ada, bob = new_users(example)
    chat = new_chat(example.dba, ada.id, bob.id, title="Plans")
    ada.request("POST", f"chats/{chat}/messages", {"content": "Hello"})
    first, second = [AppTab(example, user).sign_in() for user in (ada, bob)]
    first.click("link", "Settings")
    first.choose_image("Change picture", build_png(64, 64))
    first.fill("Name", "Countess Ada")
    first.click("button", "Save profile")
    second.wait_for(AppTab.chats, [["Plans", "Countess Ada: Hello", "1 unread"]])
    first.run("await page.getByLabel('Theme').selectOption('dark')")
    first.click("button", "Save settings")
    first.wait_until("document.documentElement.dataset.theme === 'dark'")
    assert ada.request("GET", "settings")["settings"]["theme"] == "dark"
    wait_until(lambda: ada.request("GET", "profile")["user"]["imageUrl"])
    first.wait_until("document.querySelector('main .avatar img')?.naturalWidth > 0")
    assert first.errors == []


def test_chat_of_others_is_refused(example: Example) -> None:
    ada, bob = new_users(example)
    chat = new_chat(example.dba, bob.id, title="Secret")
    tab = AppTab(example, ada, f"/chats/{chat}").sign_in()
    tab.wait_for_text("This chat was deleted, or you are not a member of it.")
    assert "Secret" not in tab.evaluate("document.body.innerText")
    assert AppTab(example, ada, "/nothing").run("return page.getByText('Page not found').first().isVisible()")
