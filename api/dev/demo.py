"""Demo data: alice and bob in one chat, created with the API's own statements; and an image to upload."""

import json
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from api.shared.postgres import Connection, connect

ALICE = {"sub": "alice", "name": "Alice", "email": "alice@example.com"}
BOB = {"sub": "bob", "name": "Bob", "email": "bob@example.com"}
SETTINGS = {"theme": "dark", "responseStyle": "concise", "alwaysShowCode": True}
TITLE = "Welcome to Parley"
MESSAGES = (
    (ALICE, "text", "Welcome to Parley, Bob! Everything here is one SQL statement away."),
    (BOB, "text", "Nice. Does search find words inside code, too?"),
    (ALICE, "code", "const chat = await getChat(chatId);\nconsole.log(chat.title);"),
    (BOB, "text", "It does: search for getChat, or for welcome."),
)


async def ensure_demo_data(url: str) -> str:
    """Create the demo chat unless alice has a chat; return its ID, or that of another chat of hers if it was deleted.

    `url` is the API's. Raises asyncpg.PostgresError.
    """
    connection = await connect(url)
    try:
        async with connection.transaction():
            chats = (await _call(connection, ALICE, "list_chats", None, None))["chats"]
            chats.sort(key=lambda chat: chat["title"] != TITLE)
            return str(chats[0]["id"]) if chats else await _create_chat(connection)
    finally:
        await connection.close()


def draw_image() -> bytes:
    """Return a PNG with alice's initial."""
    picture = Image.new("RGB", (256, 256), "midnightblue")
    font = ImageFont.load_default(size=180)
    ImageDraw.Draw(picture).text((128, 128), "A", fill="gold", font=font, anchor="mm")
    output = BytesIO()
    picture.save(output, "PNG")
    return output.getvalue()


async def _create_chat(connection: Connection) -> str:
    await _call(connection, BOB, "list_chats", None, None)  # The first call creates the user.
    await _call(connection, ALICE, "update_settings", {"settings": SETTINGS})
    chat = await _call(connection, ALICE, "create_chat", {"title": TITLE})
    await _call(connection, ALICE, "add_member", chat["id"], {"userId": BOB["sub"]})
    for author, kind, content in MESSAGES:
        message = {"type": kind, "content": content}
        await _call(connection, author, "send_message", chat["id"], message)
    return str(chat["id"])


async def _call(connection: Connection, user: dict[str, str], name: str, *args: Any) -> Any:
    """Call an `api` function as a user."""
    placeholders = ", ".join(f"${number}" for number, _ in enumerate(args, start=2))
    statement = f"select api.{name}({placeholders}) from session.authenticate($1)"  # noqa: S608 (names from this module)
    values = [json.dumps(arg) if isinstance(arg, dict) else arg for arg in (user, *args)]
    return json.loads(await connection.fetchval(statement, *values))
