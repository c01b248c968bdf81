"""Deleted users and chats: delete users, purge a batch as the listener does, and count the remaining rows."""

from psycopg import sql

from tests.database import Connection, call

MEMBERSHIPS_REMOVED_AT_ONCE = 100  # memberships that are removed in the transaction that deletes the user


def purge_batch(connection: Connection, function: str, size: int) -> int:
    """Purge a batch as the listener does; return the number of rows."""
    row = connection.execute(sql.SQL("select listener.{}(%s)").format(sql.Identifier(function)), [size]).fetchone()
    assert row
    return int(row[0])


def delete_user(connection: Connection, user: str) -> None:
    """Delete the account of a user."""
    assert connection.execute("delete from next_auth.users where id = %s", [user]).rowcount == 1


def insert_chats(connection: Connection, owner: str, count: int, *members: str) -> list[str]:
    """Insert so many chats of these users; return their ids."""
    for user in (owner, *members):
        call(connection, user, "get_settings")
    query = (
        "insert into parley.chats (title, owner_id) select 'A chat', %s from generate_series(1, %s) returning id::text"
    )
    chats = [chat for (chat,) in connection.execute(query, [owner, count]).fetchall()]
    for member in members:
        connection.execute(
            "insert into parley.members (chat_id, user_id) select unnest(%s::uuid[]), %s", [chats, member]
        )
    return chats


def count_memberships(connection: Connection, user: str) -> int:
    """Return the number of chats of a user."""
    return connection.execute("select from parley.members where user_id = %s", [user]).rowcount


def count_owned_chats(connection: Connection, user: str) -> int:
    """Return the number of chats that a user owns."""
    return connection.execute("select from parley.chats where owner_id = %s", [user]).rowcount


def is_being_removed(connection: Connection, user: str) -> bool:
    """Return whether memberships of a deleted user remain to be removed."""
    query = "select from parley.deleted_users where user_id = %s and is_being_removed"
    return connection.execute(query, [user]).rowcount == 1
