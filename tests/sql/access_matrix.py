"""Rows that each kind of user may read and change with plain SQL as the API's role, by table and verb."""

import psycopg
from psycopg import sql

from tests.database import Connection

# An intruder is a stranger whose session has selected the chat; anonymous is a session without a user.
ACTORS = ("owner", "member", "stranger", "intruder", "anonymous")

# By table and verb: a statement, the rows that it affects for each of ACTORS, and those that it affects for a DBA. The
# fixture `example_ids` has the values of the names in braces.
MATRIX: dict[str, tuple[str, tuple[int, int, int, int, int], int]] = {
    "chats select": ("select from parley.chats where id = {chat}", (1, 1, 0, 0, 0), 1),
    "chats insert": ("insert into parley.chats (title) values ('new')", (1, 1, 1, 1, 0), 1),
    "chats update": ("update parley.chats set title = 'new' where id = {chat}", (1, 0, 0, 0, 0), 1),
    "chats update owner": ("update parley.chats set owner_id = {member} where id = {chat}", (0, 0, 0, 0, 0), 1),
    "chats delete": ("delete from parley.chats where id = {chat}", (1, 0, 0, 0, 0), 1),
    "members select": ("select from parley.members where chat_id = {chat}", (2, 2, 0, 0, 0), 2),
    "members insert other": (
        "insert into parley.members (chat_id, user_id) values ({chat}, {newcomer})", (1, 0, 0, 0, 0), 1),
    "members insert self": (
        "insert into parley.members (chat_id, user_id) values ({chat}, {stranger})", (1, 0, 0, 0, 0), 1),
    "members update": ("update parley.members set joined_at = now() where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "members delete owner": (
        "delete from parley.members where chat_id = {chat} and user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "members delete member": (
        "delete from parley.members where chat_id = {chat} and user_id = {member}", (1, 1, 0, 0, 0), 1),
    "members delete all": ("delete from parley.members where chat_id = {chat}", (1, 1, 0, 0, 0), 2),
    "read_markers select": ("select from parley.read_markers where chat_id = {chat}", (2, 2, 0, 0, 0), 2),
    "read_markers insert": (
        "insert into parley.read_markers values ({chat}, {newcomer}, {chat})", (0, 0, 0, 0, 0), 1),
    "read_markers update": (
        "update parley.read_markers set last_read_message_id = {chat} where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "read_markers delete": ("delete from parley.read_markers where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "messages select": ("select from parley.messages where chat_id = {chat}", (2, 2, 0, 0, 0), 2),
    "messages insert": (
        "insert into parley.messages (chat_id, content) values ({chat}, 'new')", (1, 1, 0, 0, 0), 1),
    "messages insert as": (
        "insert into parley.messages (chat_id, content, user_id) values ({chat}, 'new', {owner})",
        (0, 0, 0, 0, 0), 1),
    "messages update own": (
        "update parley.messages set content = 'new' where chat_id = {chat} and user_id = {me}", (1, 1, 0, 0, 0), 1),
    "messages update": ("update parley.messages set content = 'new' where chat_id = {chat}", (1, 1, 0, 0, 0), 2),
    "messages update user": ("update parley.messages set user_id = {me} where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "messages delete": ("delete from parley.messages where chat_id = {chat}", (2, 1, 0, 0, 0), 2),
    "settings select": ("select from parley.settings where user_id = {owner}", (1, 0, 0, 0, 0), 1),
    "settings insert": (
        "insert into parley.settings (theme) values ('dark')", (0, 0, 0, 0, 0), 1),
    "settings update": ("update parley.settings set theme = 'dark' where user_id = {owner}", (1, 0, 0, 0, 0), 1),
    "settings update premium": (
        "update parley.settings set is_premium = true where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "settings delete": ("delete from parley.settings where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "users select": ("select from next_auth.users where id = {owner}", (1, 0, 0, 0, 0), 1),
    "users select all": ("select from next_auth.users where id in ({owner}, {member})", (1, 1, 0, 0, 0), 2),
    "users insert": ("insert into next_auth.users (id) values ('new user')", (0, 0, 0, 0, 0), 1),
    "users update": ("update next_auth.users set name = 'new' where id = {owner}", (0, 0, 0, 0, 0), 1),
    "users delete": ("delete from next_auth.users where id = {owner}", (0, 0, 0, 0, 0), 1),
    "accounts select": ('select from next_auth.accounts where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "accounts insert": (
        'insert into next_auth.accounts ("userId", type, provider, "providerAccountId")'
        " values ({me}, 'oauth', 'x', 'new')", (0, 0, 0, 0, 0), 1),
    "accounts update": ('update next_auth.accounts set scope = null where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "accounts delete": ('delete from next_auth.accounts where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "sessions select": ('select from next_auth.sessions where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "sessions insert": (
        'insert into next_auth.sessions ("userId", expires, "sessionToken") values ({me}, now(), \'new\')',
        (0, 0, 0, 0, 0), 1),
    "sessions update": ('update next_auth.sessions set expires = now() where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "sessions delete": ('delete from next_auth.sessions where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "verification_token select": (
        "select from next_auth.verification_token where identifier = {owner}", (0, 0, 0, 0, 0), 1),
    "verification_token insert": (
        "insert into next_auth.verification_token values ('new', now(), 'new')", (0, 0, 0, 0, 0), 1),
    "verification_token update": (
        "update next_auth.verification_token set token = 'new' where identifier = {owner}", (0, 0, 0, 0, 0), 1),
    "verification_token delete": (
        "delete from next_auth.verification_token where identifier = {owner}", (0, 0, 0, 0, 0), 1),
    "image_cleanup select": ("select from parley.image_cleanup where name = {owner}", (0, 0, 0, 0, 0), 1),
    "image_cleanup insert": ("insert into parley.image_cleanup (name) values ('new')", (0, 0, 0, 0, 0), 1),
    "image_cleanup update": ("update parley.image_cleanup set due = now() where name = {owner}", (0, 0, 0, 0, 0), 1),
    "image_cleanup delete": ("delete from parley.image_cleanup where name = {owner}", (0, 0, 0, 0, 0), 1),
    "chat_images select": ("select from parley.chat_images where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "chat_images insert": (
        "insert into parley.chat_images (name, chat_id, user_id) values ('new', {chat}, {me})", (0, 0, 0, 0, 0), 1),
    "chat_images update": (
        "update parley.chat_images set chat_id = {other_chat} where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "chat_images delete": ("delete from parley.chat_images where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "outbox select": ("select from parley.outbox where chat_id = {chat}", (0, 0, 0, 0, 0), 4),
    "outbox insert": (
        "insert into parley.outbox (chat_id, seq, event, payload) values ({chat}, 99, 'new', '1')",
        (0, 0, 0, 0, 0), 1),
    "outbox update": ("update parley.outbox set payload = '1' where chat_id = {chat}", (0, 0, 0, 0, 0), 4),
    "outbox delete": ("delete from parley.outbox where chat_id = {chat}", (0, 0, 0, 0, 0), 4),
    "outbox_queue select": ("select from parley.outbox_queue where id = {event}", (0, 0, 0, 0, 0), 1),
    "outbox_queue insert": ("insert into parley.outbox_queue values (0, {chat})", (0, 0, 0, 0, 0), 1),
    "outbox_queue update": ("update parley.outbox_queue set id = 0 where id = {event}", (0, 0, 0, 0, 0), 1),
    "outbox_queue delete": ("delete from parley.outbox_queue where id = {event}", (0, 0, 0, 0, 0), 1),
    "message_words select": ("select from parley.message_words where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "message_words insert": (
        "insert into parley.message_words values ({chat}, {other_chat}, 'text', 'new')", (0, 0, 0, 0, 0), 1),
    "message_words update": ("update parley.message_words set tsv = 'new' where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "letter_variants select": ("select from parley.letter_variants where letter = 'a'", (0, 0, 0, 0, 0), 1),
    "letter_variants insert": ("insert into parley.letter_variants values ('x0', 'x')", (0, 0, 0, 0, 0), 1),
    "letter_variants update": (
        "update parley.letter_variants set variants = 'a' where letter = 'a'", (0, 0, 0, 0, 0), 1),
    "letter_variants delete": ("delete from parley.letter_variants where letter = 'a'", (0, 0, 0, 0, 0), 1),
    "message_words delete": ("delete from parley.message_words where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "message_blocks select": ("select from parley.message_blocks where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "message_blocks insert": (
        "insert into parley.message_blocks values ({chat}, {other_chat}, {other_chat}, 1, '{{}}')", (0, 0, 0, 0, 0), 1),
    "message_blocks update": (
        "update parley.message_blocks set messages = 9 where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "message_blocks delete": ("delete from parley.message_blocks where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "deleted_users select": ("select from parley.deleted_users where user_id = {deleted}", (0, 0, 0, 0, 0), 1),
    "deleted_users insert": ("insert into parley.deleted_users (user_id) values ('new')", (0, 0, 0, 0, 0), 1),
    "deleted_users update": (
        "update parley.deleted_users set deleted_at = now() where user_id = {deleted}", (0, 0, 0, 0, 0), 1),
    "deleted_users delete": ("delete from parley.deleted_users where user_id = {deleted}", (0, 0, 0, 0, 0), 1),
    "idempotency_keys select": ("select from parley.idempotency_keys where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "idempotency_keys insert": (
        "insert into parley.idempotency_keys (user_id, key, fingerprint, response) values ({me}, 'new', '', '1')",
        (0, 0, 0, 0, 0), 1),
    "idempotency_keys update": (
        "update parley.idempotency_keys set response = '1' where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "idempotency_keys delete": ("delete from parley.idempotency_keys where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "repeatable_migrations select": ("select from parley.repeatable_migrations limit 1", (0, 0, 0, 0, 0), 1),
    "repeatable_migrations insert": ("insert into parley.repeatable_migrations values ('new', '')", (0, 0, 0, 0, 0), 1),
    "repeatable_migrations update": (
        "update parley.repeatable_migrations set checksum = '' where name = 'functions'", (0, 0, 0, 0, 0), 1),
    "repeatable_migrations delete": (
        "delete from parley.repeatable_migrations where name = 'functions'", (0, 0, 0, 0, 0), 1),
}  # fmt: skip

# Tables whose rows belong to no user: a column, a row that the fixture `example_ids` inserts, and another one.
ROLLUPS = {
    "rollup_periods": ("messages", "'day', '2026-01-01', 1, 1, 0, 0, 1, 1", "'day', '2026-01-02', 1, 1, 0, 0, 1, 1"),
    "rollup_active_keys": ("kind", "'day', '2026-01-01', 'user', {chat}", "'day', '2026-01-02', 'user', {chat}"),
    "rollup_users": (
        "messages",
        "{chat}, '2026-01-01', '2026-01-01', 1",
        "{other_chat}, '2026-01-01', '2026-01-01', 1",
    ),
    "rollup_chats": (
        "messages",
        "{chat}, '2026-01-01', '2026-01-01', 1",
        "{other_chat}, '2026-01-01', '2026-01-01', 1",
    ),
    "rollup_retention": ("users", "'2026-01-01', '2026-01-01', 1", "'2026-01-01', '2026-01-08', 1"),
    "rollup_responses": ("responses", "'2026-01-01', 1, 1", "'2026-01-01', 2, 1"),
    "rollup_chat_sizes": ("chats", "0, 0, 1, 0, 0, 0, 1", "0, 1, 1, 0, 1, 0, 1"),
    "rollup_settings": ("users", "'theme', 'dark', 5", "'theme', 'light', 5"),
    "rollup_state": ("as_of", "true", "true"),
    "pseudonym_key": ("inner_key", "true, '', ''", "true, '', ''"),
    "outbox_state": ("removed_until", "true", "true"),
    "limits": ("members_per_chat", "true", "true"),
}
for _table, (_column, _, _row) in ROLLUPS.items():
    # Some of these tables have one row at most.
    _upsert = " on conflict (id) do update set id = true" if _row.startswith("true") else ""
    for _verb, _statement in {
        "select": f"select from parley.{_table}",
        "insert": f"insert into parley.{_table} values ({_row}){_upsert}",
        "update": f"update parley.{_table} set {_column} = {_column}",
        "delete": f"delete from parley.{_table}",
    }.items():
        MATRIX[f"{_table} {_verb}"] = (_statement, (0, 0, 0, 0, 0), 1)


def authenticate_as(connection: Connection, actor: str, example_ids: dict[str, str]) -> str:
    """Set the settings of a transaction as this actor can; return the user's id."""
    user = {"intruder": example_ids["stranger"], "anonymous": ""}.get(actor, example_ids.get(actor, ""))
    connection.execute("select set_config('parley.user_id', %s, true)", [user])
    chat = "" if actor == "stranger" else example_ids["chat"]
    connection.execute("select set_config('parley.selected_chat', %s, true)", [chat])
    return user


def affected_rows(connection: Connection, statement: str, values: dict[str, str]) -> int:
    """Return the number of rows that a statement reads or writes, 0 if permission is denied. It is rolled back."""
    query = sql.SQL(statement).format(**{name: sql.Literal(value) for name, value in values.items()})
    try:
        with connection.transaction(force_rollback=True):
            return connection.execute(query).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return 0
