"""list_chat_events: the events of one chat, after a seq."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database import NO_SUCH_ID, Connection, add_member, call, connect_rolled_back, expect_error, new_chat
from tests.sql.event_log import Event, change, names, of_chat, send, seq_of, strip_content

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_chats_events_are_all_that_happened_in_it(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member", title="A chat")
    sent = send(dba, chat)
    edited = call(dba, "owner", "update_message", chat, sent["id"], {"content": "bye"})
    renamed = call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    call(dba, "owner", "remove_member", chat, "member")
    members = call(dba, "owner", "list_members", chat)["members"]
    answer = of_chat(dba, chat)
    assert (answer["next"], answer["hasMore"]) == (seq_of(dba, chat), False)
    assert {event["chatId"] for event in answer["events"]} == {chat}
    assert [(event["seq"], event["event"], event["data"]) for event in answer["events"]] == [
        (1, "member:added", "owner"),
        (2, "member:added", "member"),
        (3, "message:sent", strip_content(sent)),
        (4, "message:updated", {"id": sent["id"], "updates": {"content": "bye"}}),
        (5, "chat:updated", {"id": chat, "updates": {"title": "Plans"}}),
        (6, "member:removed", "member"),
    ]
    at = [event["at"] for event in answer["events"]]
    assert at[0] == members[0]["joinedAt"]
    assert (at[2], at[3], at[4]) == (sent["createdAt"], edited["updatedAt"], renamed["updatedAt"])
    assert at == sorted(at)


def test_they_come_page_by_page(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    for _ in range(4):
        send(dba, chat)
    assert [
        (names(page)[0][0], len(page["events"]), page["next"], page["hasMore"])
        for page in (of_chat(dba, chat, after, 2) for after in (0, 1, 2, 3, 4))
    ] == [(1, 2, 2, True), (2, 2, 3, True), (3, 2, 4, True), (4, 2, 5, False), (5, 1, 5, False)]
    assert of_chat(dba, chat, 5) == {"events": [], "next": 5, "hasMore": False}


def test_a_hundred_is_usual_and_a_thousand_is_the_most(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    dba.execute("select set_config('parley.user_id', 'owner', true)")
    dba.execute("insert into parley.messages (chat_id, content) select %s, 'x' from generate_series(1, 1001)", [chat])
    dba.execute(
        "update parley.outbox set transaction_id = '700' where chat_id = %s", [chat]
    )  # as if it had been committed
    dba.execute("update parley.outbox_state set removed_until = null")
    row = dba.execute("select parley.encode_cursor('700:700:')").fetchone()
    assert row
    (start,) = row
    asked: list[Callable[..., Any]] = [
        lambda **options: call(dba, "owner", "list_chat_events", chat, after="0", **options),
        lambda **options: call(dba, "owner", "list_events", after=start, **options),
    ]
    for ask in asked:
        for limit in ("0", "1001", "x", "-1", ""):
            with expect_error(400) as error:
                ask(limit=limit)
            assert error.fields == {"limit": "must be a whole number from 1 to 1000"}
        sizes = [len(ask(**options)["events"]) for options in ({}, {"limit": "1"}, {"limit": "1000"})]
        assert sizes == [100, 1, 1000]


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "1" * 19])
def test_what_is_no_seq_is_refused(dba: Connection, after: str) -> None:
    chat = new_chat(dba, "owner")
    with expect_error(400) as error:
        call(dba, "owner", "list_chat_events", chat, after=after, limit="0")
    assert error.fields.keys() == {"after", "limit"}
    with expect_error(400) as error:
        call(dba, "owner", "list_chat_events", chat)
    assert error.fields == {"after": "is required"}


def test_only_a_member_of_now_is_told(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    send(dba, chat)
    assert len(of_chat(dba, chat, user="member")["events"]) == 3
    for user, id_ in (("stranger", chat), ("owner", NO_SUCH_ID), ("owner", "x")):
        with expect_error(404):
            of_chat(dba, id_, user=user)
    call(dba, "owner", "remove_member", chat, "member")
    with expect_error(404):
        of_chat(dba, chat, user="member")
    add_member(dba, "owner", chat, "member")
    assert len(of_chat(dba, chat, user="member")["events"]) == 5
    call(dba, "owner", "delete_chat", chat)
    with expect_error(404):
        of_chat(dba, chat)


def test_what_the_log_no_longer_has_or_never_had_is_gone(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    for _ in range(4):
        send(dba, chat)
    dba.execute("delete from parley.outbox where chat_id = %s and seq in (1, 2, 4)", [chat])
    for after in (0, 1, 3, 6, 10**17):
        with expect_error(410) as error:
            of_chat(dba, chat, after)
    assert error.message == "The log does not have what follows this event of the chat."
    assert names(of_chat(dba, chat, 4)) == [(5, "message:sent")]
    before_the_gap = of_chat(dba, chat, 2)
    assert (names(before_the_gap), before_the_gap["next"], before_the_gap["hasMore"]) == (
        [(3, "message:sent")],
        3,
        True,
    )
    assert of_chat(dba, chat, 5)["events"] == []


def test_a_large_event_has_no_content(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    sent = send(dba, chat, "x" * 11_000)
    (event,) = of_chat(dba, chat, 1)["events"]
    assert event["data"] == strip_content(sent)


@pytest.mark.parametrize("function", ["get_chat", "list_members", "list_messages"])
def test_an_answer_says_up_to_which_event_it_is_true(dba: Connection, function: str) -> None:
    chat = new_chat(dba, "owner")
    send(dba, chat)
    call(dba, "owner", function, chat)
    assert dba.execute("select current_setting('response.chat_seq')").fetchone() == ("2",)


CHANGES = ("send", "send", "edit", "delete", "rename", "join or leave")


@given(data=st.data())
@settings(max_examples=40)
def test_a_copy_is_whole_however_it_was_read_and_replayed(log_url: str, data: st.DataObject) -> None:
    with connect_rolled_back(log_url) as dba:
        chat = new_chat(dba, "owner")

        def happen(most: int) -> None:
            for what in data.draw(st.lists(st.sampled_from(CHANGES), max_size=most)):
                change(dba, "owner", chat, what)

        def read(function: str, **options: str) -> Any:
            answer = call(dba, "owner", function, chat, **options)
            row = dba.execute("select current_setting('response.chat_seq')::bigint").fetchone()
            assert row
            seqs.append(row[0])
            return answer

        seqs: list[int] = []
        happen(12)
        copy = Copy(read("get_chat")["title"])
        happen(3)
        copy.members = {member["userId"] for member in read("list_members")["members"]}
        page, options = {"messages": [None]}, {}  # type: dict[str, Any], dict[str, str]
        while page["messages"]:
            happen(3)
            page = read("list_messages", limit="2", **options)
            copy.messages |= {message["id"]: message for message in page["messages"]}
            options = {"before": page["messages"][-1]["id"]} if page["messages"] else {}
        seq = first = min(seqs)
        has_more = True
        while has_more:
            happen(2)
            if data.draw(st.integers(0, 4)) == 0:
                seq = data.draw(st.integers(first, seq))  # what was heard and not noted, say
            answer = of_chat(dba, chat, seq, limit=data.draw(st.integers(1, 5)))
            for event in answer["events"]:
                copy.apply(event)
            seq, has_more = answer["next"], answer["hasMore"]
        assert copy.messages == {m["id"]: m for m in call(dba, "owner", "list_messages", chat, limit="100")["messages"]}
        assert copy.members == {member["userId"] for member in call(dba, "owner", "list_members", chat)["members"]}
        assert copy.title == call(dba, "owner", "get_chat", chat)["title"]


@dataclass
class Copy:
    """What a client has of a chat that never fetches a message: content left out comes with a later event."""

    title: str
    members: set[str] = field(default_factory=set)
    messages: dict[str, Any] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        what, data = event["event"], event["data"]
        if what == "message:sent":
            sent = {name: value for name, value in data.items() if name != "truncated"}
            self.messages[data["id"]] = sent | {"updatedAt": event["at"]}
        elif what == "message:updated" and data["id"] in self.messages:
            self.messages[data["id"]] |= data["updates"] | {"updatedAt": event["at"]}
        elif what == "message:deleted":
            self.messages.pop(data, None)
        elif what == "chat:updated":
            self.title = data["updates"].get("title", self.title)
        elif what == "member:added":
            self.members.add(data)
        elif what == "member:removed":
            self.members.discard(data)
