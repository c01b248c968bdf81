"""The owner of a chat hands it over to a member. A DBA names a new owner, also after the account of the old one."""

import json

import psycopg
import pytest

from tests.database import NO_SUCH_ID, Connection, call, expect_error, new_chat
from tests.sql.outbox import events, fetch, fetch_publications, id_before, new_published_chat
from tests.sql.preconditions import call_with_preconditions
from tests.tokens import new_user

OWNER = {"role": "owner"}


def list_roles(connection: Connection, user: str, chat: str) -> dict[str, str]:
    """Return the role of each member, as a user lists them."""
    return {member["userId"]: member["role"] for member in call(connection, user, "list_members", chat)["members"]}


def test_chat_is_handed_over_to_a_member(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner, member)
    before = call(app, owner, "list_members", chat)["members"]
    updated = call(app, owner, "update_member", chat, member, OWNER)
    (listed,) = (m for m in before if m["userId"] == member)
    assert updated == listed | OWNER
    for user in (owner, member):
        assert list_roles(app, user, chat) == {owner: "member", member: "owner"}
    assert [call(app, user, "get_chat", chat)["role"] for user in (owner, member)] == ["member", "owner"]
    call(app, member, "update_chat", chat, {"title": "Mine"})
    for function, arguments in (("update_chat", [{"title": "Mine"}]), ("delete_chat", []), ("remove_member", [member])):
        with expect_error(403):
            call(app, owner, function, chat, *arguments)
    call(app, owner, "remove_member", chat, owner)
    assert list_roles(app, member, chat) == {member: "owner"}


def test_owner_may_leave_only_after_handing_the_chat_over(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner, member)
    with expect_error(409) as error:
        call(app, owner, "remove_member", chat, owner)
    assert "first make another member its owner" in error.message
    call(app, owner, "update_member", chat, member, OWNER)
    with expect_error(409):
        call(app, member, "remove_member", chat, member)
    call(app, owner, "remove_member", chat, owner)


def test_only_the_owner_can_hand_a_chat_over(app: Connection) -> None:
    owner, member, third = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member, third)
    for target in (member, third, owner, "nobody"):
        with expect_error(403):
            call(app, member, "update_member", chat, target, OWNER)
        for user, id_ in ((new_user(), chat), (owner, NO_SUCH_ID), (owner, "x")):
            with expect_error(404) as error:
                call(app, user, "update_member", id_, target, OWNER)
            assert error.message == "Chat not found."
    assert list_roles(app, owner, chat)[owner] == "owner"
    call(app, owner, "update_member", chat, third, OWNER)
    with expect_error(403):  # a former owner is like any other member
        call(app, owner, "update_member", chat, owner, OWNER)
    call(app, third, "update_member", chat, owner, OWNER)
    assert list_roles(app, owner, chat) == {owner: "owner", member: "member", third: "member"}


def test_new_owner_must_be_a_member(app: Connection) -> None:
    owner, former, stranger = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, former)
    new_chat(app, stranger)
    call(app, former, "remove_member", chat, former)
    for target in (former, stranger, "nobody", "", "x" * 300):
        with expect_error(404) as error:
            call(app, owner, "update_member", chat, target, OWNER)
        assert error.message == "Member not found."
    assert list_roles(app, owner, chat) == {owner: "owner"}


def test_member_whose_account_is_deleted_cannot_become_the_owner(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "deleted")
    dba.execute("set local session_replication_role = replica")  # the membership is not removed yet
    dba.execute("delete from next_auth.users where id = 'deleted'")
    dba.execute("set local session_replication_role = origin")
    assert dba.execute("select from parley.members where user_id = 'deleted'").rowcount == 1
    with expect_error(404):
        call(dba, "owner", "update_member", chat, "deleted", OWNER)


def test_handing_a_chat_over_to_oneself_changes_nothing(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    state = "select seq, owner_id, updated_at from parley.chats where id = %s"
    before = dba.execute(state, [chat]).fetchone()
    assert call(dba, "owner", "update_member", chat, "owner", OWNER)["role"] == "owner"
    assert dba.execute(state, [chat]).fetchone() == before
    assert events(dba, chat) == []


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"role": "is required"}),
        ({"role": "member"}, {"role": "must be one of: owner"}),
        ({"role": "Owner"}, {"role": "must be one of: owner"}),
        ({"role": None, "userId": "x"}, {"role": "must be a string", "userId": "is not a known field"}),
    ],
)
def test_invalid_role_is_an_error(app: Connection, body: dict[str, object], errors: dict[str, str]) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner, member)
    for target in (member, owner):
        with expect_error(400) as error:
            call(app, owner, "update_member", chat, target, body)
        assert error.fields == errors
    assert list_roles(app, owner, chat)[owner] == "owner"


def test_membership_matches_only_an_asterisk_in_if_match(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner, member)
    _, etag = call_with_preconditions(app, owner, "get_chat", chat)
    for conditions in ({"if_match": etag}, {"if_none_match": "*"}):
        with expect_error(412):
            call_with_preconditions(app, owner, "update_member", chat, member, OWNER, **conditions)
    assert list_roles(app, owner, chat)[owner] == "owner"
    others: tuple[tuple[int, str, str, dict[str, str]], ...]
    others = ((404, owner, "nobody", OWNER), (403, member, owner, OWNER), (400, owner, member, {}))
    for status, user, target, body in others:
        with expect_error(status):
            call_with_preconditions(app, user, "update_member", chat, target, body, if_match='"x"')
    call_with_preconditions(app, owner, "update_member", chat, member, OWNER, if_match="*")
    assert call_with_preconditions(app, member, "get_chat", chat)[1] != etag


# The event


def test_new_owner_is_recorded_and_published_to_the_members(dba: Connection) -> None:
    chat = new_published_chat(dba, "owner", "member")
    call(dba, "owner", "update_member", chat, "member", OWNER)
    assert events(dba, chat) == [("member:updated", {"userId": "member", "role": "owner"})]
    last = call(dba, "owner", "list_chat_events", chat, after="2")["events"]
    assert [(event["seq"], event["event"], event["data"]) for event in last] == [
        (3, "member:updated", {"userId": "member", "role": "owner"})
    ]
    assert dba.execute("select current_setting('response.chat_seq')").fetchone() == ("3",)
    assert fetch(dba, chat) == []  # nothing on the chat's own channel
    published = [row for row in fetch_publications(dba, after_chat=id_before(chat)) if str(row["chat_id"]) == chat]
    assert [(row["event"], set(row["channels"])) for row in published] == [
        ("chat:event", {"private-user-b3duZXI", "private-user-bWVtYmVy"})
    ]
    assert json.loads(published[0]["payload"])["data"] == {"userId": "member", "role": "owner"}


def test_change_of_title_and_owner_in_one_statement_has_two_events(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    dba.execute("update parley.chats set title = 'Plans', owner_id = 'member' where id = %s", [chat])
    recorded = call(dba, "owner", "list_chat_events", chat, after="2")["events"]
    assert [(event["seq"], event["event"]) for event in recorded] == [(3, "member:updated"), (4, "chat:updated")]
    assert dba.execute("select seq from parley.chats where id = %s", [chat]).fetchone() == (4,)


# A DBA


def test_dba_names_a_new_owner_of_a_chat_whose_owner_is_deleted(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member", "other")
    dba.execute("delete from next_auth.users where id = 'owner'")
    with expect_error(403):
        call(dba, "member", "update_chat", chat, {"title": "Mine"})
    before = events(dba, chat)
    dba.execute("select parley.set_owner(%s, 'member')", [chat])
    assert list_roles(dba, "other", chat) == {"member": "owner", "other": "member"}
    call(dba, "member", "update_chat", chat, {"title": "Mine"})
    dba.execute("select parley.set_owner(%s, 'other')", [chat])
    dba.execute("select parley.set_owner(%s, 'other')", [chat])
    updated = [("member:updated", {"userId": user, "role": "owner"}) for user in ("member", "other")]
    renamed = ("chat:updated", {"id": chat, "updates": {"title": "Mine"}})
    assert events(dba, chat) == [*before, updated[0], renamed, updated[1]]


@pytest.mark.parametrize(
    "statement", ["select parley.set_owner(%s, %s)", "update parley.chats c set owner_id = new.id from"]
)
def test_dba_cannot_name_an_owner_who_is_not_a_member(dba: Connection, statement: str) -> None:
    chat = new_chat(dba, "owner", "deleted")
    new_chat(dba, "stranger")
    dba.execute("delete from next_auth.users where id = 'deleted'")
    if "from" in statement:
        statement = f"{statement} (select %s::uuid as chat, %s as id) new where c.id = new.chat"
    for user in ("stranger", "nobody", "deleted"):
        with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught, dba.transaction():
            dba.execute(statement, [chat, user])
        assert caught.value.diag.constraint_name == "chats_owner_is_member"
    assert list_roles(dba, "owner", chat) == {"owner": "owner"}


def test_chat_of_which_a_dba_names_the_owner_must_exist(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    call(dba, "owner", "delete_chat", chat)
    for missing in (chat, NO_SUCH_ID):
        with pytest.raises(psycopg.errors.NoDataFound, match=f"chat {missing} does not exist"), dba.transaction():
            dba.execute("select parley.set_owner(%s, 'member')", [missing])


def test_owner_whose_membership_a_dba_deletes_owns_the_chat_no_longer(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    dba.execute("delete from parley.members where chat_id = %s and user_id = 'owner'", [chat])
    assert dba.execute("select owner_id from parley.chats where id = %s", [chat]).fetchone() == (None,)
    assert [event for event, _ in events(dba, chat)] == ["member:removed"]


@pytest.mark.parametrize("role", ["parley_api", "parley_web", "parley_listener", "parley_analyst"])
def test_only_a_dba_can_name_an_owner(dba: Connection, role: str) -> None:
    chat = new_chat(dba, "owner", "member")
    dba.execute('select session.authenticate(\'{"sub": "owner"}\')')
    dba.execute(f"set local role {role}")
    for statement in (
        "select parley.set_owner(%s, 'member')",
        "update parley.chats set owner_id = 'member' where id = %s",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
            dba.execute(statement, [chat])
    dba.execute("reset role")
    dba.execute("select parley.set_owner(%s, 'member')", [chat])


def test_transfer_in_plain_sql_requires_the_ownership_of_the_selected_chat(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner, member)
    transfer = "select parley.transfer_ownership(%s)"
    for user, is_owner in ((member, False), (new_user(), False), (owner, True)):
        app.execute("select session.authenticate(%s)", [f'{{"sub": "{user}"}}'])
        app.execute("select set_config('parley.selected_chat', %s, true)", [chat])
        assert app.execute(transfer, [member]).fetchone() == (is_owner,)
