"""The events that the database records, and its comments on them, match the models."""

import re
from typing import get_args

from api.openapi.models import LoggedEvent
from api.openapi.models.events import CHAT_EVENT_ONLY, EVENTS, MAX_EVENT_BYTES
from tests.api.openapi.support import Json, list_schema_errors
from tests.database import Connection, add_member, call, new_chat
from tests.tokens import new_user

NOT_IN_LOG = ("chat:event", "user:updated")
EVENT_NAMES = (*(event.name for event in EVENTS if event.name not in NOT_IN_LOG), *CHAT_EVENT_ONLY)


def test_recorded_events_match_the_models(document: Json, dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    for content in ("Hello", "x" * 20_000):
        message = call(dba, user, "send_message", chat, {"content": content})["id"]
        call(dba, user, "update_message", chat, message, {"content": content + "!", "type": "code"})
    call(dba, user, "delete_message", chat, message)
    call(dba, user, "update_chat", chat, {"title": "Plans"})
    other = new_user()
    add_member(dba, user, chat, other)
    for owner, new_owner in ((user, other), (other, user)):
        call(dba, owner, "update_member", chat, new_owner, {"role": "owner"})
    first = call(dba, user, "list_messages", chat)["messages"][-1]
    call(dba, other, "mark_read", chat, {"messageId": first["id"]})
    call(dba, user, "remove_member", chat, other)
    for event in call(dba, user, "list_chat_events", chat, after="0")["events"]:
        assert list_schema_errors(document, {"$ref": "#/components/schemas/LoggedEvent"}, event) == []
    call(dba, user, "delete_chat", chat)
    recorded = dba.execute("select event, payload from parley.outbox where chat_id = %s", [chat]).fetchall()
    schema_names = {event.name: event.payload.__name__ for event in EVENTS if event.name not in NOT_IN_LOG}
    assert {event for event, _ in recorded} == {*EVENT_NAMES}
    published = [(event, payload) for event, payload in recorded if event not in CHAT_EVENT_ONLY]
    assert {event for event, _ in published} == schema_names.keys()
    for event, payload in published:
        schema = {"$ref": f"#/components/schemas/{schema_names[event]}"}
        assert list_schema_errors(document, schema, payload) == []
        assert list_schema_errors(document, schema, None) != []


def test_log_has_all_events() -> None:
    assert get_args(LoggedEvent.model_fields["event"].annotation) == EVENT_NAMES


def test_comments_in_the_database_name_the_events_of_the_models(dba: Connection) -> None:
    comments = dict(
        dba.execute(
            "select a.attname::text, col_description(a.attrelid, a.attnum) from pg_attribute a"
            " where a.attrelid = 'parley.outbox'::regclass and a.attnum > 0 and not a.attisdropped"
        ).fetchall()
    )
    assert sorted(find_event_names(comments["event"])) == sorted([*EVENT_NAMES, "user:updated"])
    assert f"{MAX_EVENT_BYTES:,} bytes" in comments["payload"]
    (everywhere,) = dba.execute("select string_agg(description, ' ') from pg_description").fetchone() or ("",)
    assert set(find_event_names(everywhere)) <= {*EVENT_NAMES, *NOT_IN_LOG}


def find_event_names(text: str) -> list[str]:
    return re.findall(r"\b(?:message|chat|member|user):[a-z]+", text)
