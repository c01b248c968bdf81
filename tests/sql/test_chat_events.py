"""api.list_chat_events: the events of one chat, after a seq."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database import NO_SUCH_ID, Connection, add_member, call, connect_rolled_back, expect_error, new_chat
from tests.sql.event_log import Event, change_chat, list_chat_events, omit_content, send, seq_of, seqs_and_names

if TYPE_CHECKING:
    from collections.abc import Callable


def test_each_change_of_a_chat_is_an_event(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member", title="A chat")
    sent = send(dba, chat)
    edited = call(dba, "owner", "update_message", chat, sent["id"], {"content": "bye"})
    renamed = call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    call(dba, "owner", "remove_member", chat, "member")
    members = call(dba, "owner", "list_members", chat)["members"]
    page = list_chat_events(dba, chat)
    assert (page["next"], page["hasMore"]) == (seq_of(dba, chat), False)
    assert {event["chatId"] for event in page["events"]} == {chat}
    assert [(event["seq"], event["event"], event["data"]) for event in page["events"]] == [
        (1, "member:added", "owner"),
        (2, "member:added", "member"),
        (3, "message:sent", omit_content(sent)),
        (4, "message:updated", {"id": sent["id"], "updates": {"content": "bye"}}),
        (5, "chat:updated", {"id": chat, "updates": {"title": "Plans"}}),
        (6, "member:removed", "member"),
    ]
    at = [event["at"] for event in page["events"]]
    assert at[0] == members[0]["joinedAt"]
    assert (at[2], at[3], at[4]) == (sent["createdAt"], edited["updatedAt"], renamed["updatedAt"])
    assert at == sorted(at)


def test_events_are_returned_in_pages(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    for _ in range(4):
        send(dba, chat)
    assert [
        (seqs_and_names(page)[0][0], len(page["events"]), page["next"], page["hasMore"])
        for page in (list_chat_events(dba, chat, after, 2) for after in (0, 1, 2, 3, 4))
    ] == [(1, 2, 2, True), (2, 2, 3, True), (3, 2, 4, True), (4, 2, 5, False), (5, 1, 5, False)]
    assert list_chat_events(dba, chat, 5) == {"events": [], "next": 5, "hasMore": False}


def test_limit_is_100_by_default_and_1000_at_most(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    dba.execute("select set_config('parley.user_id', 'owner', true)")
    dba.execute("insert into parley.messages (chat_id, content) select %s, 'x' from generate_series(1, 1001)", [chat])
    dba.execute(
        "update parley.outbox set transaction_id = '700' where chat_id = %s", [chat]
    )  # a transaction before the first unassigned one, so that it counts as committed
    dba.execute("update parley.outbox_state set removed_until = null")
    row = dba.execute("select parley.encode_cursor('700:700:')").fetchone()
    assert row
    (start,) = row
    calls: list[Callable[..., Any]] = [
        lambda **options: call(dba, "owner", "list_chat_events", chat, after="0", **options),
        lambda **options: call(dba, "owner", "list_events", after=start, **options),
    ]
    for list_page in calls:
        for limit in ("0", "1001", "x", "-1", ""):
            with expect_error(400) as error:
                list_page(limit=limit)
            assert error.fields == {"limit": "must be a whole number from 1 to 1000"}
        sizes = [len(list_page(**options)["events"]) for options in ({}, {"limit": "1"}, {"limit": "1000"})]
        assert sizes == [100, 1, 1000]


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "1" * 19])
def test_invalid_seq_is_rejected(dba: Connection, after: str) -> None:
    chat = new_chat(dba, "owner")
    with expect_error(400) as error:
        call(dba, "owner", "list_chat_events", chat, after=after, limit="0")
    assert error.fields.keys() == {"after", "limit"}
    with expect_error(400) as error:
        call(dba, "owner", "list_chat_events", chat)
    assert error.fields == {"after": "is required"}


def test_only_present_members_can_list_events(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    send(dba, chat)
    assert len(list_chat_events(dba, chat, user="member")["events"]) == 3
    for user, id_ in (("stranger", chat), ("owner", NO_SUCH_ID), ("owner", "x")):
        with expect_error(404):
            list_chat_events(dba, id_, user=user)
    call(dba, "owner", "remove_member", chat, "member")
    with expect_error(404):
        list_chat_events(dba, chat, user="member")
    add_member(dba, "owner", chat, "member")
    assert len(list_chat_events(dba, chat, user="member")["events"]) == 5
    call(dba, "owner", "delete_chat", chat)
    with expect_error(404):
        list_chat_events(dba, chat)


def test_seq_whose_following_events_are_missing_has_expired(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    for _ in range(4):
        send(dba, chat)
    dba.execute("delete from parley.outbox where chat_id = %s and seq in (1, 2, 4)", [chat])
    for after in (0, 1, 3, 6, 10**17):
        with expect_error(410) as error:
            list_chat_events(dba, chat, after)
    assert error.message == "The log does not have the events after this seq."
    assert seqs_and_names(list_chat_events(dba, chat, 4)) == [(5, "message:sent")]
    before_the_gap = list_chat_events(dba, chat, 2)
    assert (seqs_and_names(before_the_gap), before_the_gap["next"], before_the_gap["hasMore"]) == (
        [(3, "message:sent")],
        3,
        True,
    )
    assert list_chat_events(dba, chat, 5)["events"] == []


def test_large_event_has_no_content(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    sent = send(dba, chat, "x" * 11_000)
    (event,) = list_chat_events(dba, chat, 1)["events"]
    assert event["data"] == omit_content(sent)


@pytest.mark.parametrize("function", ["get_chat", "list_members", "list_messages"])
def test_response_has_the_seq_of_the_last_change(dba: Connection, function: str) -> None:
    chat = new_chat(dba, "owner")
    send(dba, chat)
    call(dba, "owner", function, chat)
    assert dba.execute("select current_setting('response.chat_seq')").fetchone() == ("2",)


CHANGES = ("send", "send", "edit", "delete", "rename", "join or leave")


@given(data=st.data())
@settings(max_examples=40)
def test_replayed_events_complete_a_copy_that_was_read_during_changes(module_url: str, data: st.DataObject) -> None:
    with connect_rolled_back(module_url) as dba:
        chat = new_chat(dba, "owner")

        def apply_changes(max_changes: int) -> None:
            for action in data.draw(st.lists(st.sampled_from(CHANGES), max_size=max_changes)):
                change_chat(dba, "owner", chat, action)

        def read(function: str, **options: str) -> Any:
            response = call(dba, "owner", function, chat, **options)
            row = dba.execute("select current_setting('response.chat_seq')::bigint").fetchone()
            assert row
            seqs.append(row[0])
            return response

        seqs: list[int] = []
        apply_changes(12)
        copy = Copy(read("get_chat")["title"])
        apply_changes(3)
        copy.members = {member["userId"] for member in read("list_members")["members"]}
        page, options = {"messages": [None]}, {}  # type: dict[str, Any], dict[str, str]
        while page["messages"]:
            apply_changes(3)
            page = read("list_messages", limit="2", **options)
            copy.messages |= {message["id"]: message for message in page["messages"]}
            options = {"before": page["messages"][-1]["id"]} if page["messages"] else {}
        seq = first = min(seqs)
        has_more = True
        while has_more:
            apply_changes(2)
            if data.draw(st.integers(0, 4)) == 0:
                seq = data.draw(st.integers(first, seq))  # as if the client lost some events and applies them again
            page = list_chat_events(dba, chat, seq, limit=data.draw(st.integers(1, 5)))
            for event in page["events"]:
                copy.apply(event)
            seq, has_more = page["next"], page["hasMore"]
        assert copy.messages == {m["id"]: m for m in call(dba, "owner", "list_messages", chat, limit="100")["messages"]}
        assert copy.members == {member["userId"] for member in call(dba, "owner", "list_members", chat)["members"]}
        assert copy.title == call(dba, "owner", "get_chat", chat)["title"]


@dataclass
class Copy:
    """A client's copy of a chat that never fetches a message: later events have the content that earlier ones omit."""

    title: str
    members: set[str] = field(default_factory=set)
    messages: dict[str, Any] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        """Apply an event; unknown messages are ignored."""
        name, data = event["event"], event["data"]
        if name == "message:sent":
            sent = {name: value for name, value in data.items() if name != "truncated"}
            self.messages[data["id"]] = sent | {"updatedAt": event["at"]}
        elif name == "message:updated" and data["id"] in self.messages:
            self.messages[data["id"]] |= data["updates"] | {"updatedAt": event["at"]}
        elif name == "message:deleted":
            self.messages.pop(data, None)
        elif name == "chat:updated":
            self.title = data["updates"].get("title", self.title)
        elif name == "member:added":
            self.members.add(data)
        elif name == "member:removed":
            self.members.discard(data)
