"""What the tests of removal in batches share: batches as the listener removes them, and what is left."""

from psycopg import sql

from tests.database import Connection, call

AT_ONCE = 100  # memberships that are removed with the user


def batch(connection: Connection, function: str, size: int) -> int:
    """Remove a batch as the listener does; return how many rows it was."""
    row = connection.execute(sql.SQL("select listener.{}(%s)").format(sql.Identifier(function)), [size]).fetchone()
    assert row
    return int(row[0])


def delete_user(connection: Connection, user: str) -> None:
    assert connection.execute("delete from next_auth.users where id = %s", [user]).rowcount == 1


def chats_of(connection: Connection, owner: str, count: int, *members: str) -> list[str]:
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


def memberships(connection: Connection, user: str) -> int:
    return connection.execute("select from parley.members where user_id = %s", [user]).rowcount


def owned(connection: Connection, user: str) -> int:
    return connection.execute("select from parley.chats where owner_id = %s", [user]).rowcount


def is_being_removed(connection: Connection, user: str) -> bool:
    query = "select from parley.deleted_users where user_id = %s and is_being_removed"
    return connection.execute(query, [user]).rowcount == 1
