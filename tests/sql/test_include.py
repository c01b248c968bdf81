"""The parameter include: the users and entity tags that it adds to a response, and who may read names of users."""

from typing import Any

import psycopg
import pytest

from tests.database import Connection, add_member, call, expect_error, new_chat
from tests.sql.paging import response_links
from tests.sql.preconditions import call_with_preconditions
from tests.tokens import new_user
from tests.waiting import next_millisecond

IMAGE = "https://x.org/ada.png"


@pytest.fixture
def chat(dba: Connection) -> dict[str, str]:
    """A chat with messages of its owner, a former member, a deleted user, and a member with a name and an image."""
    users = {name: new_user(name) for name in ("owner", "former", "deleted", "named", "silent")}
    chat = new_chat(dba, *users.values())
    messages = {
        name: call(dba, users[name], "send_message", chat, {"content": f"word of {name}"})["id"]
        for name in ("owner", "former", "deleted", "named")
    }
    call(dba, users["owner"], "send_message", chat, {"content": "word again"})
    dba.execute("update next_auth.users set name = 'Ada', image = %s where id = %s", [IMAGE, users["named"]])
    dba.execute("update next_auth.users set name = 'Former' where id = %s", [users["former"]])
    dba.execute("update next_auth.users set name = 'Deleted' where id = %s", [users["deleted"]])
    call(dba, users["owner"], "remove_member", chat, users["former"])
    dba.execute("delete from next_auth.users where id = %s", [users["deleted"]])
    return users | {"chat": chat} | {f"{name} message": message for name, message in messages.items()}


def user_json(user: str, name: str | None = None, image: str | None = None) -> dict[str, str | None]:
    return {"id": user, "name": name, "imageUrl": image}


def all_calls(chat: dict[str, str]) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return the functions that have the parameter, with the other arguments of a call."""
    return {
        "list_messages": ([chat["chat"]], {}),
        "search": ([], {"search": "word"}),
        "list_chats": ([], {}),
        "get_message": ([chat["chat"], chat["named message"]], {}),
    }


LISTS = ("list_messages", "search", "list_chats")
FUNCTIONS = (*LISTS, "get_message")


def select_user(connection: Connection, user: str, *chats: str) -> None:
    """Set the settings of a transaction to a user, and to selected chats of which the user need not be a member."""
    for setting, value in {
        "parley.user_id": user,
        "parley.selected_chat": chats[0] if len(chats) == 1 else "",
        "parley.selected_chats": f"{{{','.join(chats)}}}",
    }.items():
        connection.execute("select set_config(%s, %s, true)", [setting, value])


@pytest.mark.parametrize("function", ["list_messages", "search"])
def test_users_are_the_authors_each_once_by_id(dba: Connection, chat: dict[str, str], function: str) -> None:
    arguments, named = all_calls(chat)[function]
    response = call(dba, chat["owner"], function, *arguments, **named, include="users")
    without = call(dba, chat["owner"], function, *arguments, **named)
    expected = [
        user_json(chat["owner"]),
        user_json(chat["former"], "Former"),
        user_json(chat["deleted"]),
        user_json(chat["named"], "Ada", IMAGE),
    ]
    assert response == without | {"users": sorted(expected, key=lambda user: str(user["id"]))}
    assert list(response)[-1] == "users"


def test_users_are_those_of_the_page_only(dba: Connection, chat: dict[str, str]) -> None:
    owner = chat["owner"]
    first = call(dba, owner, "list_messages", chat["chat"], limit="1", include="users")
    assert first["users"] == [user_json(owner)]
    page = call(dba, owner, "list_messages", chat["chat"], limit="1", **response_links(dba)["next"], include="users")
    assert page["users"] == [user_json(chat["named"], "Ada", IMAGE)]
    newer = {"after": chat["deleted message"], "limit": "1"}
    assert call(dba, owner, "list_messages", chat["chat"], **newer, include="users")["users"] == page["users"]
    hits = call(dba, owner, "search", search='"word of named"', include="users")
    assert hits["users"] == page["users"]


def test_one_message_has_its_author(dba: Connection, chat: dict[str, str]) -> None:
    arguments = [chat["chat"], chat["named message"]]
    message = call(dba, chat["owner"], "get_message", *arguments)
    response = call(dba, chat["owner"], "get_message", *arguments, include="users")
    assert response == message | {"users": [user_json(chat["named"], "Ada", IMAGE)]}


def test_chats_have_the_authors_of_their_last_messages(dba: Connection, chat: dict[str, str]) -> None:
    owner = chat["owner"]
    next_millisecond()
    empty = new_chat(dba, owner)
    next_millisecond()
    other = new_chat(dba, owner, chat["named"])
    call(dba, chat["named"], "send_message", other, {"content": "x"})
    response = call(dba, owner, "list_chats", include="users")
    assert {listed["id"] for listed in response["chats"]} == {empty, other, chat["chat"]}
    assert response["users"] == sorted(
        [user_json(owner), user_json(chat["named"], "Ada", IMAGE)], key=lambda user: str(user["id"])
    )
    oldest = response["chats"][-1]["lastMessage"]["id"]
    page = call(dba, owner, "list_chats", after=oldest, limit="1", include="users")  # there is a newer chat
    assert ([listed["id"] for listed in page["chats"]], page["users"]) == ([empty], [])
    page = call(dba, owner, "list_chats", before=oldest, include="users")
    assert (page["chats"], page["users"]) == ([], [])


@pytest.mark.parametrize("function", LISTS)
def test_pages_without_items_have_no_users(dba: Connection, chat: dict[str, str], function: str) -> None:
    arguments, named = all_calls(chat)[function]
    response = call(dba, chat["owner"], function, *arguments, **named, include="users,etag", page="9")
    assert response["users"] == []
    assert response.get("messages", response.get("chats")) == []


@pytest.mark.parametrize("include", [None, ""])
def test_response_without_include_is_the_documented_one(dba: Connection, chat: dict[str, str], include: str) -> None:
    owner, other = chat["owner"], new_chat(dba, chat["owner"])
    message = call(dba, owner, "send_message", other, {"content": "x"})
    created = message["createdAt"]
    item = f'{{"id":"{message["id"]}","content":"x","type":"text","userId":"{owner}",'
    item += f'"createdAt":"{created}","updatedAt":"{created}"}}'
    select_user(dba, owner)
    query = "select api.list_messages(%s, include => %s)::text, api.get_message(%s, %s, include => %s)::text"
    row = dba.execute(query, [other, include, other, message["id"], include]).fetchone()
    assert row == (f'{{"messages" : [{item}], "total" : 1, "page" : 1, "limit" : 50}}', item)
    for function in ("list_chats", "search"):
        arguments, named = all_calls(chat)[function]
        response = call(dba, owner, function, *arguments, **named, include=include)
        assert response == call(dba, owner, function, *arguments, **named)
        assert response.keys() == {"chats" if function == "list_chats" else "messages", "total", "page", "limit"}
        assert "etag" not in response.get("chats", response.get("messages"))[0]


@pytest.mark.parametrize(
    "include", ["user", "users,users", "users,", ",", " users", "USERS", "users;etag", "é", "users,x"]
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_unknown_or_repeated_names_are_rejected(
    dba: Connection, chat: dict[str, str], function: str, include: str
) -> None:
    arguments, named = all_calls(chat)[function]
    allowed = "users" if function == "get_message" else "users, etag"
    with expect_error(400) as error:
        call(dba, chat["owner"], function, *arguments, **named, include=include)
    assert error.fields == {"include": f"must be a comma-separated list of: {allowed}; each at most once"}


def test_invalid_include_is_listed_with_other_errors(dba: Connection, chat: dict[str, str]) -> None:
    for function in LISTS:
        arguments, named = all_calls(chat)[function]
        with expect_error(400) as error:
            call(dba, chat["owner"], function, *arguments, **named, include="x", limit="0")
        assert error.fields.keys() == {"include", "limit"}
    with expect_error(400) as error:
        call(dba, chat["owner"], "get_message", chat["chat"], chat["named message"], include="etag")
    assert error.fields.keys() == {"include"}


@pytest.mark.parametrize("function", ["list_messages", "search"])
@pytest.mark.parametrize("include", ["etag", "users,etag", "etag,users"])
def test_etag_of_a_listed_message_allows_changing_it(
    dba: Connection, chat: dict[str, str], function: str, include: str
) -> None:
    arguments, named = all_calls(chat)[function]
    owner = chat["owner"]

    def fetch_message() -> Any:
        response = call(dba, owner, function, *arguments, **named, include=include)
        return next(m for m in response["messages"] if m["id"] == chat["owner message"])

    listed = fetch_message()
    message = [chat["chat"], listed["id"]]
    assert list(listed)[-1] == "etag"
    assert call_with_preconditions(dba, owner, "get_message", *message)[1] == listed["etag"]
    body = {"content": "word changed"}
    changed, etag = call_with_preconditions(dba, owner, "update_message", *message, body, if_match=listed["etag"])
    assert changed["content"] == "word changed"
    with expect_error(412):
        call_with_preconditions(dba, owner, "delete_message", *message, if_match=listed["etag"])
    assert fetch_message()["etag"] == etag
    call_with_preconditions(dba, owner, "delete_message", *message, if_match=etag)


def test_each_item_has_its_own_etag(dba: Connection, chat: dict[str, str]) -> None:
    owner = chat["owner"]
    call(dba, owner, "update_message", chat["chat"], chat["owner message"], {"content": "word, edited"})
    for function, named in (("list_messages", {}), ("list_messages", {"search": "word", "sort": "relevance"})):
        for message in call(dba, owner, function, chat["chat"], **named, include="etag")["messages"]:
            _, etag = call_with_preconditions(dba, owner, "get_message", chat["chat"], message["id"])
            assert message["etag"] == etag


def test_etag_of_a_listed_chat_allows_changing_it(dba: Connection, chat: dict[str, str]) -> None:
    owner, other = chat["owner"], new_chat(dba, chat["named"], chat["owner"])
    call(dba, owner, "send_message", other, {"content": "x"})
    listed = {item["id"]: item for item in call(dba, owner, "list_chats", include="etag")["chats"]}
    assert len(listed) == 2
    for id_, item in listed.items():
        assert call_with_preconditions(dba, owner, "get_chat", id_)[1] == item["etag"]
        assert list(item)[-1] == "etag"
    etag = listed[chat["chat"]]["etag"]
    call_with_preconditions(dba, owner, "update_chat", chat["chat"], {"title": "New"}, if_match=etag)
    with expect_error(412):
        call_with_preconditions(dba, owner, "delete_chat", chat["chat"], if_match=etag)


def test_response_with_users_is_never_reported_as_not_modified(dba: Connection, chat: dict[str, str]) -> None:
    """A name may change without an event of the chat, which the entity tags of pages depend on."""
    for function in ("list_messages", "get_message"):
        arguments, _ = all_calls(chat)[function]
        include = [None] * 9 + ["users"] if function == "list_messages" else ["users"]
        call_with_preconditions(dba, chat["owner"], function, *arguments)  # sets an entity tag
        dba.execute("select set_config('response.etag', '', false)")
        before, etag = call_with_preconditions(dba, chat["owner"], function, *arguments, *include)
        assert etag in ("", None)
        dba.execute("update next_auth.users set name = 'Lovelace' where id = %s", [chat["named"]])
        after, _ = call_with_preconditions(dba, chat["owner"], function, *arguments, *include, if_none_match="*")
        assert after != before
        assert "Lovelace" in [user["name"] for user in after["users"]]
        dba.execute("update next_auth.users set name = 'Ada' where id = %s", [chat["named"]])
    page = [chat["chat"], *[None] * 9, "etag"]
    _, etag = call_with_preconditions(dba, chat["owner"], "list_messages", *page)
    assert call_with_preconditions(dba, chat["owner"], "list_messages", *page, if_none_match=etag)[0] is None


def fetch_authors(dba: Connection, user: str, chats: list[str], messages: list[str], *selected: str) -> Any:
    """Return the authors of messages as the API's role, for a user whose session has selected these chats."""
    dba.execute("set local role app")
    select_user(dba, user, *selected)
    row = dba.execute("select parley.authors_json(%s::uuid[], %s::uuid[])", [chats, messages]).fetchone()
    dba.execute("reset role")
    assert row is not None
    return row[0]


def test_api_role_cannot_read_names_of_users_of_other_chats(dba: Connection, chat: dict[str, str]) -> None:
    stranger = new_user()
    own_chat = new_chat(dba, stranger)
    message = [chat["chat"]], [chat["named message"]]
    author = [user_json(chat["named"], "Ada", IMAGE)]
    for selected in ([chat["chat"]], [chat["chat"], own_chat]):
        assert fetch_authors(dba, chat["owner"], *message, *selected) == author
        for user in (stranger, chat["former"], chat["deleted"], ""):
            assert fetch_authors(dba, user, *message, *selected) == []
    assert fetch_authors(dba, chat["owner"], *message) == []  # not selected


def test_api_role_cannot_pass_ids_of_users(dba: Connection, chat: dict[str, str]) -> None:
    query = "select parley.users_json(array[%s])"
    row = dba.execute(query, [chat["named"]]).fetchone()
    assert row == ([user_json(chat["named"], "Ada", IMAGE)],)
    dba.execute("set local role app")
    select_user(dba, chat["owner"], chat["chat"])
    with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
        dba.execute(query, [chat["named"]])


def test_only_messages_of_selected_chats_have_authors(dba: Connection) -> None:
    user, authors = new_user(), [new_user("a"), new_user("b")]
    chats = [new_chat(dba, author, user) for author in authors]
    messages = [call(dba, a, "send_message", c, {"content": "x"})["id"] for a, c in zip(authors, chats, strict=True)]
    both = [user_json(author) for author in authors]
    assert fetch_authors(dba, user, chats, messages, *chats) == both
    assert fetch_authors(dba, user, chats, messages, chats[0]) == both[:1]
    assert fetch_authors(dba, user, chats, messages[::-1], *chats) == []  # each is in the other chat


def test_new_member_reads_names_of_former_authors(dba: Connection, chat: dict[str, str]) -> None:
    newcomer = new_user()
    add_member(dba, chat["owner"], chat["chat"], newcomer)
    users = call(dba, newcomer, "list_messages", chat["chat"], include="users")["users"]
    assert user_json(chat["former"], "Former") in users
    with expect_error(404):
        call(dba, chat["former"], "list_messages", chat["chat"], include="users")
