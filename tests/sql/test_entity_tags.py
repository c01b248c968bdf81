"""Entity tags: they change with the resource, and with the format of the response."""

from collections.abc import Callable
from typing import Any

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database import Connection, call, connect_rolled_back
from tests.sql.preconditions import call_with_preconditions, new_chat_with_member, read_calls

CHAT_KEYS = ["id", "title", "role", "createdAt", "updatedAt", "lastMessageAt", "lastMessage"]
CHAT_KEYS += ["unreadCount", "lastReadMessageId", "memberCount"]
MESSAGE_KEYS = ["id", "content", "type", "userId", "createdAt", "updatedAt"]
USER_KEYS = ["id", "name", "email", "imageUrl", "updatedAt"]
SETTINGS_KEYS = [
    "model", "theme", "context", "runtime", "isPremium", "responseStyle", "alwaysShowCode", "updatedAt",
]  # fmt: skip
IMAGE = "https://x.org/images/" + "0" * 64 + ".png"


def test_format_number_of_entity_tags_is_that_of_the_response_format(app: Connection) -> None:
    """A change of these keys must increment the number in parley.etag(), or clients keep the old format."""
    chat_id, message, owner, _ = new_chat_with_member(app)
    responses = {
        name: call_with_preconditions(app, owner, name, *arguments)[0]
        for name, arguments in read_calls(chat_id, message).items()
    }
    assert {
        "get_chat": list(responses["get_chat"]),
        "lastMessage": list(responses["get_chat"]["lastMessage"]),
        "list_messages": list(responses["list_messages"]),
        "messages": list(responses["list_messages"]["messages"][0]),
        "get_message": list(responses["get_message"]),
        "get_profile": list(responses["get_profile"]["user"]),
        "get_settings": list(responses["get_settings"]["settings"]),
    } == {
        "get_chat": CHAT_KEYS,
        "lastMessage": ["id", "content", "type", "userId", "createdAt"],
        "list_messages": ["messages", "total", "page", "limit"],
        "messages": MESSAGE_KEYS,
        "get_message": MESSAGE_KEYS,
        "get_profile": USER_KEYS,
        "get_settings": SETTINGS_KEYS,
    }
    format_number = (
        "select prosrc like '%%''3 '' || version%%' from pg_proc where oid = 'parley.etag(text)'::regprocedure"
    )
    assert app.execute(format_number).fetchone() == (True,)


Change = Callable[
    [Connection, str, str, str], object
]  # arguments: a DBA's connection, a chat, its first owner, a member


def of_newest(function: str, *body: Any) -> Change:
    """Return a change of the newest message of a present member, by that member."""

    def change(dba: Connection, chat: str, _: str, __: str) -> None:
        newest = (
            "select m.id::text, m.user_id from parley.messages m join parley.members using (chat_id, user_id)"
            " where m.chat_id = %s order by m.id desc limit 1"
        )
        for message, author in dba.execute(newest, [chat]).fetchall():
            call(dba, author, function, chat, message, *body)

    return change


def by_dba(*statements: str) -> Change:
    """Return a change by statements of a DBA."""

    def change(dba: Connection, chat: str, owner: str, member: str) -> None:
        for statement in statements:
            dba.execute(statement, {"chat": chat, "owner": owner, "member": member})

    return change


CHANGES: dict[str, Change] = {
    "a message": lambda dba, chat, _, member: call(dba, member, "send_message", chat, {"content": "hello"}),
    "an edited message": of_newest("update_message", {"content": "bye"}),
    "a message of another type": of_newest("update_message", {"type": "code"}),
    "a message deleted": of_newest("delete_message"),
    "a new name": by_dba("update next_auth.users set name = 'Ada' where id = %(member)s"),
    "a new address": lambda dba, _, __, member: call(dba, member, "update_profile", {"email": f"{member}@x.org"}),
    "a new image": lambda dba, _, __, member: call(dba, member, "set_image", IMAGE),
    "no image": by_dba("update next_auth.users set image = null where id = %(member)s"),
    "other settings": lambda dba, _, __, user: call(dba, user, "update_settings", {"settings": {"theme": "dark"}}),
    "a premium user": by_dba("update parley.settings set is_premium = not is_premium where user_id = %(member)s"),
    "another title": by_dba("update parley.chats set title = title || '!' where id = %(chat)s"),
    "the same title": by_dba("update parley.chats set title = title where id = %(chat)s"),
    "another owner": by_dba("update parley.chats set owner_id = %(member)s where id = %(chat)s"),
    "no owner": by_dba("update parley.chats set owner_id = null where id = %(chat)s"),
    "the owner's account deleted": by_dba("delete from next_auth.users where id = %(owner)s"),
    "all messages edited": by_dba("update parley.messages set content = content || '.' where chat_id = %(chat)s"),
    "all of another type": by_dba("update parley.messages set type = 'image' where chat_id = %(chat)s"),
    "all but one deleted": by_dba(
        "delete from parley.messages where chat_id = %(chat)s"
        " and id > (select id from parley.messages where chat_id = %(chat)s order by id limit 1)"
    ),
    "messages inserted without triggers": by_dba(
        "set local session_replication_role = replica",
        "insert into parley.messages (chat_id, id, user_id, content, updated_at)"
        " values (%(chat)s, parley.generate_uuid7(now(), 1), %(member)s, 'loaded', now())",
        "set local session_replication_role = origin",
        "select parley.recount_chat(%(chat)s)",
    ),
}


@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=8))
def test_different_responses_have_different_entity_tags(shared_url: str, names: list[str]) -> None:
    with connect_rolled_back(shared_url) as dba:
        chat, message, owner, member = new_chat_with_member(dba)
        responses: dict[tuple[str, str, str], Any] = {}
        for name in ["nothing", *names]:
            if name != "nothing":
                CHANGES[name](dba, chat, owner, member)
            for function, arguments in read_calls(chat, message).items():
                for user in (owner, member):
                    try:
                        response, etag = call_with_preconditions(dba, user, function, *arguments)
                    except psycopg.Error as error:
                        assert error.sqlstate in ("PT401", "PT404")  # noqa: PT017
                        continue
                    assert responses.setdefault((function, user, etag), response) == response, (
                        f"{function} after {name}"
                    )
                    assert call_with_preconditions(dba, user, function, *arguments)[1] == etag
