"""Inactive chats: create them with activity in the past, and purge them."""

from tests.database import Connection, call

AGE = "2 years"  # of the last activity
MAX_CHATS = 100  # that one call deletes


def purge(connection: Connection, max_messages: int = 1000, inactive_for: str = "1 year") -> int:
    """Call parley.purge_inactive_chats() once; return the number of messages and chats that it removed."""
    row = connection.execute(
        "select parley.purge_inactive_chats(%s::interval, %s)", [inactive_for, max_messages]
    ).fetchone()
    assert row is not None
    return int(row[0])


def new_inactive_chat(dba: Connection, *users: str, messages: int = 0, age: str = AGE) -> str:
    """Insert a chat of these users, the first of whom owns it, with its last activity at this age; return its id."""
    for user in users:
        call(dba, user, "get_settings")
    dba.execute("set session_replication_role = replica")  # without triggers, which would generate ids of today
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
