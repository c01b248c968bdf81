"""Plans of lookups by key, additions of members and purges: which indexes they use, and how many rows they read."""

import json
from contextlib import nullcontext
from hashlib import sha256

import pytest

from tests.database import Connection, add_member, call, expect_error, new_chat
from tests.sql.plans import LargeChat, plan_nodes, rows_read
from tests.tokens import new_user


def test_user_is_looked_up_once(large_chat: LargeChat) -> None:
    connection, user, _ = large_chat
    for table, function in (("settings", "get_settings"), ("users", "get_profile")):
        with plan_nodes(connection, table) as nodes:
            call(connection, user, function)
        assert {node.get("Index Name") for node in nodes} == {f"{table}_pkey"}
        assert rows_read(nodes) == 1


def test_database_session_is_looked_up_by_its_digest(large_chat: LargeChat) -> None:
    connection, _, _ = large_chat
    digests = [sha256(session_token).hexdigest() for session_token in (b"absent", b"77")]
    with plan_nodes(connection, "sessions") as nodes:
        row = connection.execute(
            "select session.user_id() from session.authenticate(%s)", [json.dumps({"session_digests": digests})]
        ).fetchone()
    assert row == ("77",)
    assert {node.get("Index Name") for node in nodes} == {"sessions_token_digest"}
    assert rows_read(nodes) == 1


def test_use_of_an_image_is_looked_up_by_an_index(large_chat: LargeChat) -> None:
    connection, _, _ = large_chat
    with plan_nodes(connection, "users") as nodes, connection.transaction(force_rollback=True):
        assert connection.execute("select api.claim_unused_image()").fetchone() == (None,)
    assert {node.get("Index Name") for node in nodes} == {"users_stored_image"}
    assert rows_read(nodes) <= 20


def test_message_with_an_image_is_looked_up_by_an_index(large_chat: LargeChat) -> None:
    connection, user, chat = large_chat
    url = "'https://x.org/images/' || encode(sha256(('message ' || n)::bytea), 'hex') || '.png'"
    with connection.transaction(force_rollback=True):
        connection.execute("reset session authorization")
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            "insert into parley.messages (chat_id, id, user_id, type, content, updated_at)"
            f" select %s, parley.generate_uuid7(now(), n), %s, 'image', {url}, now() from generate_series(1, 5000) n",
            [chat, user],
        )
        connection.execute(
            "insert into parley.chat_images (name, chat_id, user_id)"
            f" select parley.image_name({url}), %s, %s from generate_series(1, 5000) n",
            [chat, user],
        )
        connection.execute("delete from parley.image_cleanup")
        connection.execute("insert into parley.image_cleanup (name) select name from parley.chat_images limit 1")
        connection.execute("set session authorization app")
        with plan_nodes(connection, "messages") as messages, plan_nodes(connection, "chat_images") as chat_images:
            assert connection.execute("select api.claim_unused_image()").fetchone() == (None,)
    assert {node.get("Index Name") for node in messages} == {"messages_image"}
    assert {node.get("Index Name") for node in chat_images} == {"chat_images_pkey"}
    assert rows_read(messages) == rows_read(chat_images) == 1


def test_stored_response_is_looked_up_by_its_key(large_chat: LargeChat) -> None:
    connection, _, _ = large_chat
    authenticate = "select once::text from session.authenticate_idempotent(%s, null, %s, '') once"
    for key, response in (("77", "1"), ("absent", None)):
        with plan_nodes(connection, "idempotency_keys") as nodes:
            assert connection.execute(authenticate, [json.dumps({"sub": "77"}), key]).fetchone() == (response,)
        assert {node.get("Index Name") for node in nodes} == {"idempotency_keys_pkey"}
        assert rows_read(nodes) <= 1


def test_expired_responses_are_found_by_their_time(listener_connection: Connection) -> None:
    with (
        plan_nodes(listener_connection, "idempotency_keys") as nodes,
        listener_connection.transaction(force_rollback=True),
    ):
        assert listener_connection.execute("select listener.purge_idempotency_keys(100)").fetchone() == (100,)
    assert {node.get("Index Name") for node in nodes} == {
        None,
        "idempotency_keys_time",
    }  # they are deleted by ctid
    assert rows_read(nodes) <= 100


@pytest.mark.parametrize(("limit", "is_full"), [(100, True), (3000, True), (3001, False), (10_000, False)])
def test_adding_a_member_reads_no_other_member(large_chat: LargeChat, limit: int, is_full: bool) -> None:
    connection, user, _ = large_chat
    connection.execute("reset session authorization")
    try:
        with connection.transaction(force_rollback=True):
            chat = new_chat(connection, user)
            connection.execute(
                "insert into parley.members (chat_id, user_id) select %s, n from generate_series(1, 2999) n", [chat]
            )
            connection.execute("update parley.limits set members_per_chat = %s", [limit])
            connection.execute("set local session authorization app")
            insert = "insert into parley.members (chat_id, user_id) values (%s, '5000')"
            connection.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
            with plan_nodes(connection, "members") as nodes, expect_error(409) if is_full else nullcontext():
                connection.execute(insert, [chat])
    finally:
        connection.execute("set session authorization app")
    assert {node["Node Type"] for node in nodes} <= {"ModifyTable", "Index Only Scan", "Index Scan"}
    assert rows_read(nodes) == 1


def test_purging_a_batch_reads_only_the_batch(large_chat: LargeChat) -> None:
    connection, _, chat = large_chat
    connection.execute("reset session authorization")
    try:
        with connection.transaction(force_rollback=True):
            for statement in (  # scatter the messages of the chat over the table, as concurrent chats do
                "create index scattered on parley.messages (md5(id::text))",
                "cluster parley.messages using scattered",
                "analyze parley.messages",
            ):
                connection.execute(statement)
            connection.execute(
                "update parley.chats set last_message_id = parley.generate_uuid7('2001-01-01', 1) where id = %s", [chat]
            )
            purge = "select parley.purge_inactive_chats(now() - '2002-01-01', 1000)"
            with plan_nodes(connection, "message") as nodes:
                assert connection.execute(purge).fetchone() == (1000,)
            assert "Seq Scan" not in {node["Node Type"] for node in nodes}
            assert rows_read(nodes) <= 2 * 1000  # the batch, and the other messages of its blocks
            with plan_nodes(connection, "chats") as nodes:  # inactive chats are not searched for again
                assert connection.execute(purge).fetchone() == (1000,)
            assert rows_read(nodes) <= 2  # the old and the new version of one row
            assert "chats_being_removed" in {node.get("Index Name") for node in nodes}
    finally:
        connection.execute("set session authorization app")


@pytest.mark.parametrize("query", [{}, {"page": "50"}, {"after": "2500"}, {"before": "2500"}, {"limit": "1000"}])
def test_page_of_members_reads_the_users_of_the_page_only(large_chat: LargeChat, query: dict[str, str]) -> None:
    connection, user, _ = large_chat
    members, limit = 5000, int(query.get("limit", "100"))
    connection.execute("reset session authorization")
    try:
        with connection.transaction(force_rollback=True):
            chat = new_chat(connection, user)
            connection.execute(
                "insert into parley.members (chat_id, user_id, joined_at)"
                " select %s, n, now() + n * interval '1 second' from generate_series(1, %s) n",
                [chat, members - 1],
            )
            connection.execute("set local session authorization app")
            with plan_nodes(connection, "users") as user_nodes, plan_nodes(connection, "members") as member_nodes:
                page = call(connection, user, "list_members", chat, **query)
    finally:
        connection.execute("set session authorization app")
    assert (len(page["members"]), page["total"]) == (limit, members)
    assert {node.get("Index Name") for node in user_nodes} <= {"users_pkey"}
    assert rows_read(user_nodes) <= limit
    assert "Seq Scan" not in {node["Node Type"] for node in member_nodes}
    assert rows_read(member_nodes) <= members


def test_user_is_looked_up_by_an_index_on_addresses(large_chat: LargeChat) -> None:
    connection, user, _ = large_chat
    for function, arguments in (
        ("list_users", ["nobody@example.org"]),
        ("create_chat", [{"title": "Plans", "members": [{"email": "nobody@example.org"}]}]),
    ):
        is_list = function == "list_users"
        with plan_nodes(connection, "users") as nodes, nullcontext() if is_list else expect_error(400):
            call(connection, user, function, *arguments)
        assert "users_email" in {node.get("Index Name") for node in nodes}
        assert rows_read(nodes) == 0


@pytest.mark.parametrize("table", ["chats", "members", "messages", "read_markers", "users", "settings"])
def test_sync_reads_each_table_by_an_index(large_chat: LargeChat, table: str) -> None:
    connection, user, _ = large_chat
    with plan_nodes(connection, table) as nodes:
        response = call(connection, user, "sync")
    assert (len(response["chats"]), response["total"]) == (50, 500)
    scans = [node for node in nodes if node.get("Relation Name") == table]
    assert "Seq Scan" not in {node["Node Type"] for node in scans}
    assert rows_read(scans) <= 2200  # each chat to sort all of them, and some rows of each shown one


def test_unread_messages_are_counted_by_blocks(large_chat: LargeChat) -> None:
    connection, user, chat = large_chat
    reader = new_user()
    connection.execute("reset session authorization")
    with connection.transaction(force_rollback=True):
        add_member(connection, user, chat, reader)
        (oldest, total) = connection.execute(
            "select min(id::text), count(*) from parley.messages where chat_id = %s", [chat]
        ).fetchone() or ("", 0)
        call(connection, reader, "mark_read", chat, {"messageId": oldest})
        connection.execute("set local session authorization app")
        with plan_nodes(connection, "messages") as nodes:
            assert call(connection, reader, "get_chat", chat)["unreadCount"] == total - 1
        assert rows_read([node for node in nodes if node.get("Relation Name") == "messages"]) <= 2100 < total
