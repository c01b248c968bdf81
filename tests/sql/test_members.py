"""Members: list, add, remove, leave, and the limit of members per chat."""

import psycopg
import pytest

from tests.database import Connection, add_member, call, expect_error, new_chat
from tests.tokens import new_user
from tests.waiting import next_millisecond


def test_added_member_is_listed_for_all_members(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner)
    next_millisecond()
    added = add_member(app, owner, chat, member)
    assert list(added) == ["userId", "name", "image", "role", "joinedAt", "lastReadMessageId"]
    assert (added["userId"], added["role"]) == (member, "member")
    for user in (owner, member):
        members = call(app, user, "list_members", chat)["members"]
        assert [(m["userId"], m["role"]) for m in members] == [(owner, "owner"), (member, "member")]
        assert members[1] == added


def test_member_has_the_name_and_picture_of_the_token(app: Connection) -> None:
    owner = new_user()
    identity = f'{{"sub": "{owner}", "name": "Ada", "email": "{owner}@x.org", "picture": "https://x.org/a.png"}}'
    app.execute("select session.authenticate(%s)", [identity])
    member = call(app, owner, "list_members", new_chat(app, owner))["members"][0]
    assert (member["name"], member["image"]) == ("Ada", "https://x.org/a.png")
    assert "email" not in member


def test_only_the_owner_can_add_members(app: Connection) -> None:
    owner, member, third = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member)
    with expect_error(403):
        add_member(app, member, chat, third)
    with expect_error(404):
        add_member(app, third, chat, third)
    assert add_member(app, owner, chat, third)["userId"] == third


def test_unknown_user_cannot_be_added(app: Connection) -> None:
    owner, unknown = new_user(), new_user()
    chat = new_chat(app, owner)
    with expect_error(400) as error:
        call(app, owner, "add_member", chat, {"userId": unknown})
    assert error.fields == {"userId": "is not a known user"}
    assert add_member(app, owner, chat, unknown)["userId"] == unknown


def test_member_cannot_be_added_twice(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner, member)
    for user in (owner, member):
        with expect_error(409):
            call(app, owner, "add_member", chat, {"userId": user})
    assert len(call(app, owner, "list_members", chat)["members"]) == 2


def test_owner_can_remove_members_and_members_can_leave(app: Connection) -> None:
    owner, removed, leaving = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, removed, leaving)
    call(app, owner, "remove_member", chat, removed)
    call(app, leaving, "remove_member", chat, leaving)
    for user in (removed, leaving):
        with expect_error(404):
            call(app, user, "list_messages", chat)
    assert [m["userId"] for m in call(app, owner, "list_members", chat)["members"]] == [owner]


def test_member_cannot_remove_others(app: Connection) -> None:
    owner, member, third = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member, third)
    for user in (owner, third, new_user()):
        with expect_error(403):
            call(app, member, "remove_member", chat, user)
    with expect_error(404):
        call(app, new_user(), "remove_member", chat, third)
    assert len(call(app, owner, "list_members", chat)["members"]) == 3
    call(app, owner, "remove_member", chat, third)
    with expect_error(404):
        call(app, owner, "remove_member", chat, third)


def test_owner_cannot_leave(app: Connection) -> None:
    owner = new_user()
    chat = new_chat(app, owner)
    with expect_error(409):
        call(app, owner, "remove_member", chat, owner)
    assert call(app, owner, "get_chat", chat)["role"] == "owner"


# The limit of members


def set_limit(connection: Connection, members: int) -> None:
    """Set the limit of members per chat, as a DBA."""
    connection.execute("update parley.limits set members_per_chat = %s", [members])


def members_of(connection: Connection, chat: str) -> set[str]:
    """Return the ids of a chat's members."""
    return {user for (user,) in connection.execute("select user_id from parley.members where chat_id = %s", [chat])}


INSERT = "insert into parley.members (chat_id, user_id) select %s, unnest(%s::text[]) on conflict do nothing"


def test_chat_has_at_most_5000_members(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    dba.execute("insert into next_auth.users (id) select 'u' || n from generate_series(1, 5001) n")
    dba.execute(INSERT, [chat, [f"u{n}" for n in range(1, 4999)]])
    assert add_member(dba, "owner", chat, "u4999")["userId"] == "u4999"
    with expect_error(409) as error:
        add_member(dba, "owner", chat, "u5000")
    assert error.message == "The chat is full. A chat has at most 5000 members: remove one to add another."
    assert len(members_of(dba, chat)) == 5000
    set_limit(dba, 5001)
    add_member(dba, "owner", chat, "u5000")
    with expect_error(409):
        add_member(dba, "owner", chat, "u5001")


def test_removed_member_leaves_a_place_for_another(dba: Connection) -> None:
    set_limit(dba, 3)
    chat = new_chat(dba, "owner", "a", "b")
    before = dba.execute("select seq from parley.chats where id = %s", [chat]).fetchone()
    for leaver, remover, newcomer in (("a", "owner", "c"), ("b", "b", "d")):
        with expect_error(409):
            add_member(dba, "owner", chat, newcomer)
        call(dba, remover, "remove_member", chat, leaver)
        add_member(dba, "owner", chat, newcomer)
    dba.execute("delete from next_auth.users where id = 'c'")
    add_member(dba, "owner", chat, "e")
    assert members_of(dba, chat) == {"owner", "d", "e"}
    assert before == (3,)
    assert dba.execute("select seq from parley.chats where id = %s", [chat]).fetchone() == (
        3 + 6,
    )  # rejected additions have no seq


@pytest.mark.parametrize("role", ["app", "postgres"])
def test_members_inserted_by_plain_sql_are_limited(dba: Connection, role: str) -> None:
    set_limit(dba, 4)
    chats = [new_chat(dba, "owner"), new_chat(dba, "owner", "a")]
    for user in "abcd":
        call(dba, user, "get_settings")
    dba.execute("select session.authenticate(%s)", ['{"sub": "owner"}'])
    dba.execute(f"set local role {role}")
    for chat, users in ((chats[0], "abcd"), (chats[1], "abcd"), (chats[1], "bcd")):
        with expect_error(409), dba.transaction():
            dba.execute(INSERT, [chat, list(users)])
    both = "insert into parley.members (chat_id, user_id) select c, u from unnest(%s::uuid[]) c, unnest(%s::text[]) u"
    with expect_error(409), dba.transaction():  # one of the chats has room
        dba.execute(both, [chats, ["b", "c", "d"]])
    if role == "postgres":  # row-level security does not allow COPY for other roles
        copy = "copy parley.members (chat_id, user_id) from stdin"
        with expect_error(409), dba.transaction(), dba.cursor().copy(copy) as rows:
            for user in "bcd":
                rows.write_row((chats[1], user))
    dba.execute(both, [chats, ["b", "c"]])
    dba.execute(INSERT, [chats[0], ["b", "d"]])
    dba.execute("reset role")
    assert [members_of(dba, chat) for chat in chats] == [{"owner", "b", "c", "d"}, {"owner", "a", "b", "c"}]


def test_lowered_limit_rejects_only_additions(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "a", "b")
    set_limit(dba, 1)
    call(dba, "a", "send_message", chat, {"content": "still here"})
    call(dba, "owner", "update_chat", chat, {"title": "Renamed"})
    assert len(call(dba, "b", "list_members", chat)["members"]) == 3
    for leaver in ("a", "b"):
        with expect_error(409):
            add_member(dba, "owner", chat, "c")
        call(dba, "owner", "remove_member", chat, leaver)
    with expect_error(409):
        add_member(dba, "owner", chat, "c")
    assert members_of(dba, new_chat(dba, "owner")) == {"owner"}
    call(dba, "owner", "delete_chat", chat)


def test_other_errors_precede_that_of_a_full_chat(dba: Connection) -> None:
    set_limit(dba, 2)
    chat = new_chat(dba, "owner", "a")
    with expect_error(409) as error:
        call(dba, "owner", "add_member", chat, {"userId": "a"})
    assert error.message == "This user is a member already."
    with expect_error(400):
        call(dba, "owner", "add_member", chat, {"userId": "nobody"})
    with expect_error(403):
        call(dba, "a", "add_member", chat, {"userId": "owner"})


def test_limit_is_one_positive_number_that_only_a_dba_can_change(dba: Connection) -> None:
    for members in (0, -1, None):
        with pytest.raises(psycopg.errors.IntegrityError), dba.transaction():
            dba.execute("update parley.limits set members_per_chat = %s", [members])
    for row in ("default values", "values (false, 9)"):
        with pytest.raises(psycopg.errors.IntegrityError), dba.transaction():
            dba.execute(f"insert into parley.limits {row}")
    dba.execute("set local role app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
        dba.execute("update parley.limits set members_per_chat = 9")


def test_number_of_members_is_unlimited_without_a_row_of_limits(dba: Connection) -> None:
    set_limit(dba, 2)
    chat = new_chat(dba, "owner", "a")
    with expect_error(409):
        add_member(dba, "owner", chat, "b")
    dba.execute("delete from parley.limits")
    add_member(dba, "owner", chat, "b")
    assert members_of(dba, chat) == {"owner", "a", "b"}
    added = "select payload #>> '{}' from parley.outbox where chat_id = %s and event = 'member:added' order by seq"
    assert dba.execute(added, [chat]).fetchall() == [("owner",), ("a",), ("b",)]
