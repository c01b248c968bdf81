"""The plans of hot queries, as the API's role on a chat that is large beside the others: by an index, and no more rows
read than answered. How long that takes is for the benchmarks."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.support import NO_SUCH_ID, Connection, call, new_chat, new_user, refused

LARGE, SMALL = 20_000, 10
HITS = 8


@pytest.fixture(scope="module")
def large(postgres: Postgres, new_database: Callable[[str], str]) -> Iterator[tuple[Connection, str, str]]:
    """A connection that tells its plans, a user of 500 chats, and the largest of them."""
    name = new_database("parley_plans")
    with psycopg.connect(postgres.url(name), autocommit=True) as dba:
        user = new_user()
        chats = [new_chat(dba, user) for _ in range(500)]
        dba.execute("set session_replication_role = replica")  # no triggers: they are for one message at a time
        dba.execute(
            "insert into parley.messages (chat_id, id, user_id, content, updated_at)"
            " select c, parley.generate_uuid7(now() - n * interval '1 minute', n), %s,"
            "   'message ' || n || case when c = %s and n %% (%s / %s) = 1 then ' needle' else '' end, now()"
            " from unnest(%s::uuid[]) c, generate_series(1, case when c = %s then %s else %s end) n",
            [user, chats[0], LARGE, HITS, chats, chats[0], LARGE, SMALL],
        )
        dba.execute(
            "insert into parley.message_words"
            " select chat_id, id, type, (rules.search_document(content)).tsv from parley.messages"
        )
        dba.execute("select parley.recount_chat(id) from parley.chats")
        dba.execute(
            "insert into next_auth.users (id, image)"
            " select n, 'https://x.org/images/' || encode(sha256(n::text::bytea), 'hex') || '.png'"
            " from generate_series(1, 10000) n"
        )
        dba.execute(
            "insert into parley.outbox (chat_id, seq, event, payload)"
            " select %s, n, 'message:sent', '{}' from generate_series(2, 10000) n",
            [chats[0]],
        )
        dba.execute("update parley.chats set seq = 10000 where id = %s", [chats[0]])
        dba.execute("insert into parley.outbox_queue select id, chat_id from parley.outbox order by id desc limit 5")
        dba.execute("update parley.rollup_state set last_counted_event = (select max(id) from parley.outbox)")
        dba.execute("insert into parley.settings (user_id) select n from generate_series(1, 10000) n")
        dba.execute(
            "insert into parley.image_cleanup (name) select right(image, 68) from next_auth.users order by 1 limit 20"
        )
        dba.execute(
            'insert into next_auth.sessions ("userId", expires, "sessionToken")'
            " select n, now() + interval '1 day', n from generate_series(1, 10000) n"
        )
        dba.execute(
            "insert into parley.idempotency_keys (user_id, key, fingerprint, response, created_at)"
            " select n % 100, n, '', '1', now() - n * interval '10 seconds' from generate_series(1, 10000) n"
        )
        dba.execute("reset session_replication_role")
        dba.execute("vacuum analyze")
        dba.execute("load 'auto_explain'")
        for setting, value in {
            "auto_explain.log_min_duration": "0",
            "auto_explain.log_analyze": "on",
            "auto_explain.log_timing": "off",
            "auto_explain.log_nested_statements": "on",
            "auto_explain.log_format": "json",
            "client_min_messages": "log",
        }.items():
            dba.execute("select set_config(%s, %s, false)", [setting, value])
        dba.execute("set session authorization app")
        yield dba, user, chats[0]


@contextmanager
def watched(connection: Connection, table: str) -> Iterator[list[dict[str, Any]]]:
    """Each node of a plan that reads a table, in the statements of this block."""
    nodes: list[dict[str, Any]] = []

    def collect(node: dict[str, Any]) -> None:
        if node.get("Relation Name", "").startswith(table) or node.get("Index Name", "").startswith(table):
            nodes.append(node)
        for child in node.get("Plans", []):
            collect(child)

    def on_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
        if found := re.search(r"plan:\n(.*)", diagnostic.message_primary or "", re.DOTALL):
            collect(json.loads(found[1])["Plan"])

    connection.add_notice_handler(on_notice)
    try:
        yield nodes
    finally:
        connection.remove_notice_handler(on_notice)


def plans(large: tuple[Connection, str, str], **arguments: str) -> tuple[Any, list[dict[str, Any]]]:
    """What list_messages answers, and each node that read messages or their words on the way."""
    connection, user, chat = large
    with watched(connection, "message") as nodes:
        return call(connection, user, "list_messages", chat, **arguments), nodes


def test_a_page_that_the_caller_has_is_not_read(large: tuple[Connection, str, str]) -> None:
    connection, user, chat = large
    for known, is_read in (("*", False), ('"another"', True)):
        with watched(connection, "message") as nodes:
            connection.execute(
                "select api.list_messages(%s) from session.authenticate(%s, null, null, %s)",
                [chat, json.dumps({"sub": user}), known],
            )
        assert bool(nodes) == is_read


def rows_read(nodes: list[dict[str, Any]]) -> Any:
    """The most rows that one node read, what its filters threw away included."""
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return max(n["Actual Rows"] * n["Actual Loops"] + sum(n.get(r, 0) for r in removed) for n in nodes)


@pytest.mark.parametrize(
    ("arguments", "answered", "total", "most"),
    [
        ({}, 50, LARGE, 51),
        ({"limit": "100"}, 100, LARGE, 101),
        ({"search": "needle"}, HITS, HITS, 510),
        ({"search": "absent"}, 0, 0, 510),
    ],
)
def test_a_page_reads_no_more_than_it_must(
    large: tuple[Connection, str, str], arguments: dict[str, str], answered: int, total: int, most: int
) -> None:
    answer, nodes = plans(large, **arguments)
    assert (len(answer["messages"]), answer["total"]) == (answered, total)
    assert nodes
    assert {node["Node Type"] for node in nodes} <= {
        "Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan",
    }  # fmt: skip
    assert (
        rows_read(nodes) <= most
    )  # one more than the page tells whether there is more; a search looks at ten pages first


def test_without_a_type_nothing_is_filtered_by_one(large: tuple[Connection, str, str]) -> None:
    connection, _, _ = large
    with connection.transaction(force_rollback=True):
        # So that it must be planned as it may be with other statistics.
        connection.execute("reset session authorization")
        connection.execute("drop index parley.messages_type")
        connection.execute("set session authorization app")
        assert rows_read(plans(large)[1]) <= 51


@pytest.mark.parametrize("place", [{}, {"before": "ffffffff-0000-7000-8000-000000000000"}, {"after": NO_SUCH_ID}])
def test_a_rare_type_is_not_looked_for_among_all(large: tuple[Connection, str, str], place: dict[str, str]) -> None:
    connection, _, chat = large
    connection.execute("reset session authorization")
    try:
        with connection.transaction(force_rollback=True):
            for statement in (  # as after a load: all of one type, and no index tells by itself which are there
                "set local session_replication_role = replica",
                f"delete from parley.messages where chat_id <> '{chat}'",
                "reindex index parley.messages_pkey",
                "analyze parley.messages",
                "update pg_class set relallvisible = 0 where oid = 'parley.messages'::regclass",
                "set local role app",
            ):
                connection.execute(statement)
            answer, nodes = plans(large, type="image", **place)
    finally:
        connection.execute("set session authorization app")
    assert (answer["total"], answer["messages"]) == (0, [])
    assert rows_read(nodes) <= 1000  # those in no block


def test_a_range_of_dates_is_a_range_of_the_key(large: tuple[Connection, str, str]) -> None:
    answer, _ = plans(large)
    day = answer["messages"][0]["createdAt"][:10]
    answer, nodes = plans(large, start_date=day, limit="1")
    assert 0 < answer["total"] < LARGE
    assert rows_read(nodes) <= answer["total"]


def test_search_uses_its_index(large: tuple[Connection, str, str]) -> None:
    _, nodes = plans(large, search="needle")
    assert [node for node in nodes if re.fullmatch(r"message_words_\d+_chat_id_tsv_idx", node.get("Index Name", ""))]


@pytest.mark.parametrize(
    ("arguments", "answered", "most"),
    [
        ({"page": "300"}, 50, 1051),  # a block, and then the page
        ({"page": "300", "type": "text"}, 50, 1051),
        ({"page": "300", "start_date": "2020-01-01"}, 50, 1051),
        ({"type": "image"}, 0, 20),  # the blocks
        ({"type": "image", "start_date": "2020-01-01"}, 0, 20),
        ({"before": "ffffffff-0000-7000-8000-000000000000"}, 50, 51),
        ({"after": "00000000-0000-7000-8000-000000000000"}, 50, 51),
        ({"after": "00000000-0000-7000-8000-000000000000", "type": "text"}, 50, 1000),  # those in no block
    ],
)
def test_no_page_reads_those_before_it(
    large: tuple[Connection, str, str], arguments: dict[str, str], answered: int, most: int
) -> None:
    answer, nodes = plans(large, **arguments)
    assert len(answer["messages"]) == answered
    assert rows_read(nodes) <= most


@pytest.mark.parametrize("sort", ["newest", "relevance"])
@pytest.mark.parametrize(("search", "total"), [("needle", HITS), ("absent", 0), ("message", 50)])
def test_a_search_everywhere_reads_hits_by_the_index_and_messages_by_their_keys(
    large: tuple[Connection, str, str], search: str, total: int, sort: str
) -> None:
    connection, user, chat = large
    query = {"search": search, "sort": sort}
    if search == "message":  # what everybody says is looked for among one's own
        user = new_user()
        connection.execute("reset session authorization")
        connection.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
        connection.execute(
            "insert into parley.members (chat_id, user_id)"
            " select id, %s from parley.chats where id <> %s order by id limit 5",
            [user, chat],
        )
        connection.execute("set session authorization app")
    with watched(connection, "message") as nodes:
        answer = call(connection, user, "search", **query)
    assert answer["total"] == total
    assert "Seq Scan" not in {node["Node Type"] for node in nodes}
    assert total == 0 or rows_read([node for node in nodes if node.get("Relation Name") == "messages"]) <= 51
    words = [node for node in nodes if node.get("Relation Name", "").startswith("message_words_")]
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in words)
    assert read <= (1001 if search == "message" else 0) + 3 * total


@pytest.mark.parametrize("search", ["message", "message 1", '"message 1"'])
def test_a_search_reads_few_messages_of_others_however_many_have_the_words(
    large: tuple[Connection, str, str], search: str
) -> None:
    connection, _, _ = large
    with watched(connection, "message") as nodes:
        assert call(connection, new_user(), "search", search=search)["total"] == 0
    assert 0 < sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes if "Relation Name" in node) <= 1001


def test_a_page_of_chats_reads_the_last_messages_and_no_others(large: tuple[Connection, str, str]) -> None:
    connection, user, _ = large
    with watched(connection, "messages") as nodes:
        answer = call(connection, user, "list_chats", page="3")
    assert (len(answer["chats"]), answer["total"]) == (50, 500)
    assert {node.get("Index Name") for node in nodes} == {"messages_pkey"}
    assert rows_read(nodes) <= 51
    with watched(connection, "members") as nodes:
        call(connection, user, "list_chats")
    assert sum(n["Actual Rows"] * n["Actual Loops"] for n in nodes) <= 2 * 500 + 200  # for the page, and for the total


def test_a_request_looks_up_its_user_once(large: tuple[Connection, str, str]) -> None:
    connection, user, _ = large
    for table, function in (("settings", "get_settings"), ("users", "get_profile")):
        with watched(connection, table) as nodes:
            call(connection, user, function)
        assert {node.get("Index Name") for node in nodes} == {f"{table}_pkey"}
        assert rows_read(nodes) == 1


def test_a_database_session_is_looked_up_by_its_digest(large: tuple[Connection, str, str]) -> None:
    connection, _, _ = large
    digests = [sha256(session_token).hexdigest() for session_token in (b"absent", b"77")]
    with watched(connection, "sessions") as nodes:
        row = connection.execute(
            "select session.user_id() from session.authenticate(%s)", [json.dumps({"session_digests": digests})]
        ).fetchone()
    assert row == ("77",)
    assert {node.get("Index Name") for node in nodes} == {"sessions_token_digest"}
    assert rows_read(nodes) == 1


def test_whether_an_image_is_used_is_looked_up(large: tuple[Connection, str, str]) -> None:
    connection, _, _ = large
    with watched(connection, "users") as nodes, connection.transaction(force_rollback=True):
        assert connection.execute("select api.claim_unused_image()").fetchone() == (None,)
    assert {node.get("Index Name") for node in nodes} == {"users_stored_image"}
    assert rows_read(nodes) <= 20


def test_a_first_answer_is_looked_up_by_its_key(large: tuple[Connection, str, str]) -> None:
    connection, _, _ = large
    begin = "select once::text from session.authenticate_idempotent(%s, null, %s, '') once"
    for key, answer in (("77", "1"), ("absent", None)):
        with watched(connection, "idempotency_keys") as nodes:
            assert connection.execute(begin, [json.dumps({"sub": "77"}), key]).fetchone() == (answer,)
        assert {node.get("Index Name") for node in nodes} == {"idempotency_keys_pkey"}
        assert rows_read(nodes) <= 1


@pytest.fixture
def listener(large: tuple[Connection, str, str]) -> Iterator[Connection]:
    """The connection, as the listener's role."""
    connection, _, _ = large
    connection.execute("set session authorization events")
    yield connection
    connection.execute("set session authorization app")


@pytest.mark.parametrize("after", [0, 5000, 9999, 10_000])
def test_a_chats_next_events_are_read_and_no_others(large: tuple[Connection, str, str], after: int) -> None:
    connection, user, chat = large
    with watched(connection, "outbox") as nodes:
        answer = call(connection, user, "list_chat_events", chat, after=str(after), limit="10")
    assert len(answer["events"]) == min(10, 10_000 - after)
    assert {node["Index Name"] for node in nodes} == {"outbox_chat"}
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
    assert 0 <= read - len(answer["events"]) <= 1  # row_number() looked one ahead until PostgreSQL 16


def test_what_is_new_in_any_chat_is_found_by_the_newest_event_of_each(large: tuple[Connection, str, str]) -> None:
    connection, user, _ = large
    cursor = call(connection, user, "list_events")["next"]
    with watched(connection, "outbox") as nodes:
        assert call(connection, user, "list_events", after=cursor)["events"] == []
    assert {node["Index Name"] for node in nodes if "Index Name" in node} == {"outbox_chat", "outbox_ends"}
    assert not [node for node in nodes if (node["Node Type"], node.get("Relation Name")) == ("Seq Scan", "outbox")]
    assert sum(n["Actual Rows"] * n["Actual Loops"] for n in nodes if n.get("Index Name") == "outbox_chat") == 500


def test_a_look_into_the_outbox_reads_what_is_queued_and_not_the_log(listener: Connection) -> None:
    take = "select count(*) from listener.take_events('{}', 0, %s::bigint[], '{}', '{}', '{}', 2000, 100, 1000000)"
    for held in ([], list(range(1, 2000))):
        with watched(listener, "outbox") as nodes:
            assert listener.execute(take, [held]).fetchone() == (5,)
        assert {node.get("Index Name") for node in nodes} - {"outbox_queue_chat"} == {
            "outbox_pkey",
            "outbox_queue_pkey",
        }
        assert rows_read(nodes) <= 10


def test_a_rename_reads_the_members_whom_it_is_published_to(listener: Connection) -> None:
    members, renames = 5000, 9
    take = "select cardinality(channels) from listener.take_events('{}', %s, '{}', '{}', '{}', '{}', 100, 100, 60000)"
    listener.execute("reset session authorization")
    with listener.transaction(force_rollback=True):
        chat = new_chat(listener, new_user())
        listener.execute(
            "insert into parley.members (chat_id, user_id) select %s, n + 1000 from generate_series(1, %s) n",
            [chat, members - 1],
        )
        last = listener.execute("select max(id) from parley.outbox").fetchone()
        for n in range(renames):
            listener.execute("update parley.chats set title = %s where id = %s", [n, chat])
        listener.execute("set local session authorization events")
        with watched(listener, "members") as nodes:
            assert listener.execute(take, last).fetchall() == [(members + 1,)] * 2
        assert {node["Node Type"] for node in nodes} <= {"Index Only Scan", "Index Scan"}
        assert {node["Index Name"] for node in nodes} == {"members_once_per_chat"}
        # Two fit, since an id of four characters takes up eight bytes; they are weighed, then published.
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes) == (2 + 2) * members


@pytest.mark.parametrize(("limit", "is_full"), [(100, True), (3000, True), (3001, False), (10_000, False)])
def test_who_adds_a_member_reads_up_to_the_limit(large: tuple[Connection, str, str], limit: int, is_full: bool) -> None:
    connection, user, _ = large
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
            with watched(connection, "members") as nodes, refused(409) if is_full else nullcontext():
                connection.execute(insert, [chat])
    finally:
        connection.execute("set session authorization app")
    counted = [node for node in nodes if node.get("Index Name") == "members_once_per_chat"]
    assert {node["Node Type"] for node in counted} <= {"Index Only Scan", "Index Scan"}
    assert max(node["Actual Rows"] for node in counted) == min(limit + 1, 3001)


def test_old_events_are_found_at_the_beginning_of_the_log(listener: Connection) -> None:
    with watched(listener, "outbox") as nodes, listener.transaction(force_rollback=True):
        assert listener.execute("select listener.remove_events('0 days', 100)").fetchone() == (100,)
    assert rows_read([node for node in nodes if node.get("Relation Name") == "outbox"]) <= 400


def test_old_answers_are_found_by_their_time(listener: Connection) -> None:
    with watched(listener, "idempotency_keys") as nodes, listener.transaction(force_rollback=True):
        assert listener.execute("select listener.purge_idempotency_keys(100)").fetchone() == (100,)
    assert {node.get("Index Name") for node in nodes} == {None, "idempotency_keys_time"}  # one is by ctid
    assert rows_read(nodes) <= 100


def test_a_piece_of_an_old_chat_reads_that_piece(large: tuple[Connection, str, str]) -> None:
    connection, _, chat = large
    connection.execute("reset session authorization")
    try:
        with connection.transaction(force_rollback=True):
            for statement in (  # a chat's messages are far from each other, as where chats went on side by side
                "create index scattered on parley.messages (md5(id::text))",
                "cluster parley.messages using scattered",
                "analyze parley.messages",
            ):
                connection.execute(statement)
            connection.execute(
                "update parley.chats set last_message_id = parley.generate_uuid7('2001-01-01', 1) where id = %s", [chat]
            )
            remove = "select parley.purge_inactive_chats(now() - '2002-01-01', 1000)"
            with watched(connection, "message") as nodes:
                assert connection.execute(remove).fetchone() == (1000,)
            assert "Seq Scan" not in {node["Node Type"] for node in nodes}
            assert rows_read(nodes) <= 2 * 1000  # what goes, and the neighbours in its blocks
            with watched(connection, "chats") as nodes:  # the search for old chats is not done again
                assert connection.execute(remove).fetchone() == (1000,)
            assert rows_read(nodes) <= 2  # of the one chat, as it is and as it was
            assert "chats_being_removed" in {node.get("Index Name") for node in nodes}
    finally:
        connection.execute("set session authorization app")


@pytest.mark.parametrize("is_removed", [False, True])
def test_events_that_are_not_told_are_not_read(large: tuple[Connection, str, str], is_removed: bool) -> None:
    connection, owner, member = large[0], new_user(), new_user()
    connection.execute("reset session authorization")
    chat = new_chat(connection, owner, member)
    start = call(connection, member, "list_events")["next"]
    for _ in range(2):
        call(connection, owner, "send_message", chat, {"content": "hello"})
    second_page = call(connection, member, "list_events", after=start, limit="1")["next"]
    connection.execute(
        "insert into parley.outbox (chat_id, seq, event, payload)"
        " select id, seq + n, 'message:sent', '{}' from parley.chats, generate_series(1, 1000) n where id = %s",
        [chat],
    )
    connection.execute("update parley.chats set seq = seq + 1000 where id = %s", [chat])
    if is_removed:
        call(connection, owner, "remove_member", chat, member)
    connection.execute("set session authorization app")
    for cursor, told in ((start, is_removed), (second_page, not is_removed)):
        with watched(connection, "outbox") as nodes:
            answer = call(connection, member, "list_events", after=cursor, limit="10")
        assert bool(answer["events"]) == told or not is_removed
        assert max(n["Actual Rows"] + n.get("Rows Removed by Filter", 0) for n in nodes) <= 11
