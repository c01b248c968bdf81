"""Inactive chats: made with a past activity, purged, and what is left of them."""

from typing import Any

from tests.database import Connection, call

OLD = "2 years"
MOST_CHATS = 100  # that one call touches


def remove(connection: Connection, max_messages: int = 1000, inactive_for: str = "1 year") -> int:
    """What one call answers."""
    row = connection.execute(
        "select parley.purge_inactive_chats(%s::interval, %s)", [inactive_for, max_messages]
    ).fetchone()
    assert row is not None
    return int(row[0])


def old_chat(dba: Connection, *users: str, messages: int = 0, age: str = OLD) -> str:
    """The id of a chat of these users, the first of which owns it, with the last activity so long ago."""
    for user in users:
        call(dba, user, "get_settings")
    dba.execute("set session_replication_role = replica")  # no triggers: they would give ids of today
    row = dba.execute(
        "insert into parley.chats (id, title, owner_id, updated_at)"
        " values (parley.generate_uuid7(now() - %s::interval - %s * interval '1 minute', 1), 'Old', %s, now())"
        " returning id::text",
        [age, messages, users[0] if users else None],
    ).fetchone()
    assert row is not None
    chat: str = row[0]
    dba.execute("insert into parley.members (chat_id, user_id) select %s, unnest(%s::text[])", [chat, list(users)])
    dba.execute(
        "insert into parley.messages (chat_id, id, user_id, content, updated_at)"
        " select %s, parley.generate_uuid7(now() - %s::interval - (%s - n) * interval '1 minute', n),"
        " %s, 'needle ' || n, now()"
        " from generate_series(1, %s) n",
        [chat, age, messages, users[0] if users else "", messages],
    )
    dba.execute(
        "insert into parley.message_words select chat_id, id, type, (rules.search_document(content)).*"
        " from parley.messages where chat_id = %s",
        [chat],
    )
    dba.execute("reset session_replication_role")
    dba.execute("select parley.recount_chat(%s)", [chat])
    return chat


def left(connection: Connection, chat: str) -> dict[str, int]:
    """How many rows there still are of a chat."""
    counts = {}
    for table in ("chats", "members", "messages", "message_words", "message_blocks"):
        key = "id" if table == "chats" else "chat_id"
        row = connection.execute(f"select count(*) from parley.{table} where {key} = %s", [chat]).fetchone()
        assert row is not None
        counts[table] = row[0]
    return counts


NOTHING = {"chats": 0, "members": 0, "messages": 0, "message_words": 0, "message_blocks": 0}
# What a member can do in a chat, or with it, by the API's functions; $ is the chat, # one of its messages.
WAYS = {
    "get_chat": ("$",),
    "update_chat": ("$", {"title": "New"}),
    "delete_chat": ("$",),
    "list_members": ("$",),
    "add_member": ("$", {"userId": "newcomer"}),
    "remove_member": ("$", "member"),
    "list_messages": ("$",),
    "send_message": ("$", {"content": "new"}),
    "get_message": ("$", "#"),
    "update_message": ("$", "#", {"content": "new"}),
    "delete_message": ("$", "#"),
}


def arguments(name: str, chat: str, message: str) -> list[Any]:
    """The arguments of one of these ways."""
    return [{"$": chat, "#": message}.get(a, a) if isinstance(a, str) else a for a in WAYS[name]]


def last_message(connection: Connection, chat: str) -> str:
    """Of a chat."""
    row = connection.execute("select last_message_id::text from parley.chats where id = %s", [chat]).fetchone()
    assert row is not None
    return str(row[0])
