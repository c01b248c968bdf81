"""The rows of a chat in the database."""

from tests.database import Connection

NO_CHAT_ROWS = {"chats": 0, "members": 0, "messages": 0, "message_words": 0, "message_blocks": 0}


def count_chat_rows(connection: Connection, chat: str) -> dict[str, int]:
    """Return the number of rows of a chat by table."""
    counts = {}
    for table in ("chats", "members", "messages", "message_words", "message_blocks"):
        key = "id" if table == "chats" else "chat_id"
        row = connection.execute(f"select count(*) from parley.{table} where {key} = %s", [chat]).fetchone()
        assert row is not None
        counts[table] = row[0]
    return counts


def last_message_id(connection: Connection, chat: str) -> str:
    """Return the id of the last message of a chat."""
    row = connection.execute("select last_message_id::text from parley.chats where id = %s", [chat]).fetchone()
    assert row is not None
    return str(row[0])
