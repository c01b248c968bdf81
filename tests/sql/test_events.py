"""Catching up from the log: of one chat by its seq, of all of a user's chats by a cursor that is a snapshot."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.support import NO_SUCH_ID, Connection, add_member, call, new_chat, new_user, refused, rolled_back

Event = dict[str, Any]


def send(connection: Connection, chat: str, content: str = "hello", user: str = "owner") -> Any:
    return call(connection, user, "send_message", chat, {"content": content})


def of_chat(connection: Connection, chat: str, after: int = 0, limit: int = 1000, user: str = "owner") -> Any:
    return call(connection, user, "list_chat_events", chat, after=str(after), limit=str(limit))


def of_all(connection: Connection, after: str | None = None, limit: int = 1000, user: str = "owner") -> Any:
    return call(connection, user, "list_events", after=after, limit=str(limit))


def names(answer: Any) -> list[tuple[int, str]]:
    return [(event["seq"], event["event"]) for event in answer["events"]]


def without_content(sent: Any) -> Any:
    """The data of the event of a message as sent, if its content is left out."""
    return {name: value for name, value in sent.items() if name != "content"} | {"truncated": True}


def seq_of(connection: Connection, chat: str) -> int:
    row = connection.execute("select seq from parley.chats where id = %s", [chat]).fetchone()
    assert row
    return int(row[0])


# Of one chat


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
        (3, "message:sent", without_content(sent)),
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
            with refused(400) as refusal:
                ask(limit=limit)
            assert refusal.fields == {"limit": "must be a whole number from 1 to 1000"}
        sizes = [len(ask(**options)["events"]) for options in ({}, {"limit": "1"}, {"limit": "1000"})]
        assert sizes == [100, 1, 1000]


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "1" * 19])
def test_what_is_no_seq_is_refused(dba: Connection, after: str) -> None:
    chat = new_chat(dba, "owner")
    with refused(400) as refusal:
        call(dba, "owner", "list_chat_events", chat, after=after, limit="0")
    assert refusal.fields.keys() == {"after", "limit"}
    with refused(400) as refusal:
        call(dba, "owner", "list_chat_events", chat)
    assert refusal.fields == {"after": "is required"}


def test_only_a_member_of_now_is_told(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    send(dba, chat)
    assert len(of_chat(dba, chat, user="member")["events"]) == 3
    for user, id_ in (("stranger", chat), ("owner", NO_SUCH_ID), ("owner", "x")):
        with refused(404):
            of_chat(dba, id_, user=user)
    call(dba, "owner", "remove_member", chat, "member")
    with refused(404):
        of_chat(dba, chat, user="member")
    add_member(dba, "owner", chat, "member")
    assert len(of_chat(dba, chat, user="member")["events"]) == 5
    call(dba, "owner", "delete_chat", chat)
    with refused(404):
        of_chat(dba, chat)


def test_what_the_log_no_longer_has_or_never_had_is_gone(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    for _ in range(4):
        send(dba, chat)
    dba.execute("delete from parley.outbox where chat_id = %s and seq in (1, 2, 4)", [chat])
    for after in (0, 1, 3, 6, 10**17):
        with refused(410) as refusal:
            of_chat(dba, chat, after)
    assert refusal.message == "The log does not have what follows this event of the chat."
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
    assert event["data"] == without_content(sent)


@pytest.mark.parametrize("function", ["get_chat", "list_members", "list_messages"])
def test_an_answer_says_up_to_which_event_it_is_true(dba: Connection, function: str) -> None:
    chat = new_chat(dba, "owner")
    send(dba, chat)
    call(dba, "owner", function, chat)
    assert dba.execute("select current_setting('response.chat_seq')").fetchone() == ("2",)


CHANGES = ("send", "send", "edit", "delete", "rename", "join or leave")


@given(data=st.data())
@settings(max_examples=40)
def test_a_copy_is_whole_however_it_was_read_and_replayed(url: str, data: st.DataObject) -> None:
    with rolled_back(url) as dba:
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


# Of all chats


@pytest.fixture(scope="module")
def url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """Of a database in which everything is committed."""
    return postgres.url(new_database("parley_events"))


@pytest.fixture
def committing(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def drained(connection: Connection, cursor: str, user: str, limit: int = 1000) -> tuple[list[Event], str]:
    """All events since a cursor, and the one after them."""
    events: list[Event] = []
    while True:
        answer = of_all(connection, cursor, limit, user)
        assert len(answer["events"]) <= limit
        events += answer["events"]
        cursor = answer["next"]
        if not answer["hasMore"]:
            return events, cursor


def brief(events: list[Event]) -> list[tuple[str, str]]:
    return [(event["chatId"], event["event"]) for event in events]


def test_what_was_before_the_first_cursor_is_not_told(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    answer = of_all(committing, user=owner)
    assert (answer["events"], answer["hasMore"]) == ([], False)
    assert of_all(committing, answer["next"], user=owner)["events"] == []
    send(committing, chat, user=owner)
    assert brief(of_all(committing, answer["next"], user=owner)["events"]) == [(chat, "message:sent")]
    assert brief(of_all(committing, answer["next"], user=owner)["events"]) == [(chat, "message:sent")]


def test_a_transaction_that_was_under_way_is_told_of_later(committing: Connection, url: str) -> None:
    owner = new_user()
    slow, quick = new_chat(committing, owner), new_chat(committing, owner)
    start = of_all(committing, user=owner)["next"]
    with psycopg.connect(url) as other:
        other.execute("select")  # begins, so that what follows does not commit
        send(other, slow, user=owner)  # its id and its transaction are before those of the next
        send(committing, quick, user=owner)
        events, cursor = drained(committing, start, owner)
        assert brief(events) == [(quick, "message:sent")]
        other.commit()
    events, cursor = drained(committing, cursor, owner)
    assert brief(events) == [(slow, "message:sent")]
    assert drained(committing, cursor, owner)[0] == []


def test_between_two_pages_nothing_is_lost(committing: Connection) -> None:
    owner = new_user()
    chats = sorted(new_chat(committing, owner) for _ in range(3))
    start = of_all(committing, user=owner)["next"]
    for chat in chats:
        send(committing, chat, user=owner)
    first = of_all(committing, start, 2, owner)
    assert (brief(first["events"]), first["hasMore"]) == ([(c, "message:sent") for c in chats[:2]], True)
    for chat in chats:
        call(committing, owner, "update_chat", chat, {"title": "New"})
    second = of_all(committing, first["next"], 2, owner)
    assert (brief(second["events"]), second["hasMore"]) == ([(chats[2], "message:sent")], True)
    third, _ = drained(committing, second["next"], owner)
    assert brief(third) == [(chat, "chat:updated") for chat in chats]


def test_membership_is_as_of_now(committing: Connection) -> None:
    owner, member = new_user(), new_user()
    call(committing, member, "get_settings")
    start = of_all(committing, user=member)["next"]
    joined, left, deleted, closed = (new_chat(committing, owner) for _ in range(4))
    for chat in (left, deleted, closed):
        add_member(committing, owner, chat, member)
        send(committing, chat, user=owner)
    call(committing, owner, "remove_member", left, member)
    send(committing, left, "not for them", user=owner)
    call(committing, owner, "delete_chat", deleted)
    send(committing, joined, user=owner)
    add_member(committing, owner, joined, member)
    committing.execute("update parley.chats set is_being_removed = true, owner_id = null where id = %s", [closed])
    committing.execute("delete from parley.members where chat_id = %s", [closed])
    told = {chat: [] for chat in (joined, left, deleted, closed)}  # type: dict[str, list[tuple[str, Any]]]
    for event in drained(committing, start, member, limit=2)[0]:
        told[event["chatId"]].append((event["event"], event["data"]))
    assert told[left] == [("member:removed", member)]
    assert told[deleted] == [("chat:deleted", deleted)]
    assert told[closed] == [("chat:deleted", closed)]
    assert [event for event, _ in told[joined]] == ["member:added", "message:sent", "member:added"]
    assert told[joined][-1] == ("member:added", member)
    stranger = new_user()
    call(committing, stranger, "get_settings")
    assert drained(committing, start, stranger)[0] == []
    assert len(drained(committing, start, owner)[0]) == 10


def test_who_comes_back_is_told_that_they_were_away(committing: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(committing, owner)
    add_member(committing, owner, chat, member)
    start = of_all(committing, user=member)["next"]
    call(committing, owner, "remove_member", chat, member)
    add_member(committing, owner, chat, member)
    events, _ = drained(committing, start, member)
    assert [(event["event"], event["data"]) for event in events] == [
        ("member:removed", member),
        ("member:added", member),
    ]


def test_who_left_twice_is_told_so_once(committing: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(committing, owner, member)
    start = of_all(committing, user=member)["next"]
    call(committing, owner, "remove_member", chat, member)
    add_member(committing, owner, chat, member)
    call(committing, owner, "remove_member", chat, member)
    last = seq_of(committing, chat)
    told = names({"events": drained(committing, start, owner)[0]})
    assert told == [(last - 2, "member:removed"), (last - 1, "member:added"), (last, "member:removed")]
    assert names({"events": drained(committing, start, member, limit=1)[0]}) == [(last, "member:removed")]


def test_what_was_deleted_is_not_to_be_read_in_the_log(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    start = of_all(committing, user=owner)["next"]
    sent = send(committing, chat, "a secret", user=owner)
    call(committing, owner, "update_message", chat, sent["id"], {"content": "the secret"})
    ask: list[Callable[[], Any]] = [
        lambda: of_chat(committing, chat, 1, user=owner),
        lambda: of_all(committing, start, user=owner),
    ]
    assert [str(answer()).count("the secret") for answer in ask] == [1, 1]
    call(committing, owner, "delete_message", chat, sent["id"])
    for answer in ask:
        assert [(event["event"], event["data"]) for event in answer()["events"]] == [
            ("message:sent", without_content(sent)),
            ("message:updated", {"id": sent["id"], "updates": {}, "truncated": True}),
            ("message:deleted", sent["id"]),
        ]


def test_content_replaced_by_an_edit_is_left_out_of_the_log(committing: Connection) -> None:
    owner, late = new_user(), new_user()
    chat = new_chat(committing, owner)
    start = of_all(committing, user=owner)["next"]
    sent = send(committing, chat, "password: one", user=owner)

    def edit(**updates: str) -> Any:
        call(committing, owner, "update_message", chat, sent["id"], updates)
        return {"id": sent["id"], "updates": updates}

    unchanged = {"id": sent["id"], "updates": {"type": "code"}}
    replaced = {"id": sent["id"], "updates": {}, "truncated": True}
    for content in ("password: two", "password: three"):
        edit(content=content)
    assert edit(type="code") == unchanged
    add_member(committing, owner, chat, late)
    for user, after in ((owner, start), (late, None)):
        answers = [of_chat(committing, chat, 1, user=user)] + ([of_all(committing, after, user=user)] if after else [])
        for answer in answers:
            assert [event["data"] for event in answer["events"]] == [
                without_content(sent),
                replaced,
                {"id": sent["id"], "updates": {"content": "password: three"}},
                unchanged,
                late,
            ]
    back = edit(content="password: one")  # which may be read again, then
    told = [event["data"] for event in of_chat(committing, chat, 1, user=late)["events"]]
    assert told == [sent, replaced, replaced, unchanged, late, back]


def test_a_title_that_was_replaced_is_left_out_of_the_log(committing: Connection) -> None:
    owner, late = new_user(), new_user()
    chat = new_chat(committing, owner, title="Plans")
    start = of_all(committing, user=owner)["next"]
    for title in ("Layoffs", "Holidays"):
        call(committing, owner, "update_chat", chat, {"title": title})
    add_member(committing, owner, chat, late)
    for answer in (of_chat(committing, chat, 1, user=late), of_all(committing, start, user=owner)):
        assert [event["data"] for event in answer["events"]] == [
            {"id": chat, "updates": {}}, {"id": chat, "updates": {"title": "Holidays"}}, late,
        ]  # fmt: skip


def test_a_cursor_from_before_what_was_removed_is_gone(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    old = of_all(committing, user=owner)["next"]
    send(committing, chat, user=owner)
    new = of_all(committing, user=owner)["next"]
    assert len(drained(committing, old, owner)[0]) == 1
    committing.execute("delete from parley.outbox where chat_id = %s", [chat])
    with refused(410) as refusal:
        of_all(committing, old, user=owner)
    assert refusal.message == "The log does not reach back to this cursor."
    send(committing, chat, user=owner)
    assert len(drained(committing, new, owner)[0]) == 1
    committing.execute("truncate parley.outbox, parley.outbox_queue")
    with refused(410):
        of_all(committing, new, user=owner)
    assert drained(committing, of_all(committing, user=owner)["next"], owner)[0] == []


def test_a_log_that_came_from_another_cluster_is_not_told_again(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    committing.execute("update parley.outbox set transaction_id = '1000000000000' where chat_id = %s", [chat])
    start = of_all(committing, user=owner)["next"]
    send(committing, chat, user=owner)
    events, cursor = drained(committing, start, owner)
    assert brief(events) == [(chat, "message:sent")]
    send(committing, chat, user=owner)
    assert len(drained(committing, cursor, owner)[0]) == 1
    committing.execute("delete from parley.outbox where chat_id = %s and transaction_id >= '1000000000000'", [chat])
    assert len(drained(committing, start, owner)[0]) == 2
    committing.execute("update parley.outbox_state set removed_until = '1000000000000'")
    assert len(drained(committing, start, owner)[0]) == 2


def test_after_a_restore_nobody_goes_on_from_where_they_were(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    send(committing, chat, user=owner)
    start, seq = of_all(committing, user=owner)["next"], seq_of(committing, chat)
    assert of_chat(committing, chat, seq, user=owner)["events"] == []
    assert of_all(committing, start, user=owner)["hasMore"] is False
    committing.execute("select parley.start_new_epoch()")
    with refused(410):
        of_chat(committing, chat, seq, user=owner)
    with refused(410):
        of_all(committing, start, user=owner)
    seq = seq_of(committing, chat)
    send(committing, chat, user=owner)
    assert names(of_chat(committing, chat, seq, user=owner)) == [(seq + 1, "message:sent")]


def test_after_a_restore_nobody_goes_on_from_what_did_not_happen(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    history, _ = said_by(of_all(committing, user=owner)["next"])
    later = encoded(f"{history} 1000000000000:1000000000000:")
    send(committing, chat, user=owner)
    assert of_all(committing, later, user=owner)["events"] == []  # what happened before, it knows of
    committing.execute("select parley.start_new_epoch()")
    with refused(410):
        of_all(committing, later, user=owner)


def test_cursors_work_where_the_owner_may_not_read_the_control_file(own: Connection) -> None:
    """As a managed service has it: a restore is noticed after start_new_epoch(), as other databases are at once."""
    chat = new_chat(own, "owner")
    start = call(own, "owner", "list_events")["next"]
    own.execute("create role managed")
    own.execute("grant create on schema parley to managed")
    for function in ("parley.system_identifier()", "parley.timeline()"):
        own.execute(f"alter function {function} owner to managed")
    own.execute("revoke execute on function pg_walfile_name(pg_lsn) from public")
    assert call(own, "owner", "list_events", after=start)["events"] == []  # the control file has the same timeline
    own.execute("revoke execute on function pg_control_system(), pg_control_checkpoint() from public")
    with refused(410):
        call(own, "owner", "list_events", after=start)
    start = call(own, "owner", "list_events")["next"]
    call(own, "owner", "send_message", chat, {"content": "x"})
    assert len(call(own, "owner", "list_events", after=start)["events"]) == 1
    own.execute("select parley.start_new_epoch()")
    with refused(410):
        call(own, "owner", "list_events", after=start)
    own.execute("reassign owned by managed to current_user")
    own.execute("drop owned by managed")
    own.execute("drop role managed")


def test_a_cursor_of_another_history_is_gone(committing: Connection) -> None:
    owner = new_user()
    new_chat(committing, owner)
    history, snapshot = said_by(of_all(committing, user=owner)["next"])
    with refused(410):
        of_all(committing, encoded(f"{history[::-1]} {snapshot}"), user=owner)
    assert of_all(committing, encoded(f"{history} {snapshot}"), user=owner)["events"] == []


@given(junk=st.text(max_size=30) | st.binary(max_size=60).map(lambda b: urlsafe_b64encode(b).decode()))
@settings(max_examples=60)
def test_what_is_no_cursor_is_refused(url: str, junk: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        with refused(400) as refusal:
            of_all(connection, junk.replace("\0", ""), user="reader")
        assert refusal.fields == {"after": "must be a cursor that was answered"}


@pytest.mark.parametrize(
    "said",
    ["{h}", "{h} {s} {s}", "{h} 9:1:", "{h} x", "{h} {s} {s} x 1", "{h} {s} {s} {c} x", "{h} {s} {s} {c} 1 1", "  "],
)
def test_what_is_nearly_a_cursor_is_refused(committing: Connection, said: str) -> None:
    history, snapshot = said_by(of_all(committing, user="reader")["next"])
    parts = {"h": history, "s": snapshot, "c": NO_SUCH_ID}
    good = "{h} {s} {s} {c} 1"
    assert of_all(committing, encoded(good.format(**parts)), user="reader")["events"] == []
    with refused(400):
        of_all(committing, encoded(said.format(**parts)), user="reader")


@pytest.mark.parametrize("seq", [-(2**63), -1, 0, 2**63 - 1])
@pytest.mark.parametrize("is_member", [True, False])
def test_a_cursor_that_was_made_up_tells_no_more(committing: Connection, seq: int, is_member: bool) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(committing, owner, member)
    start = of_all(committing, user=member)["next"]
    send(committing, chat, user=owner)
    if not is_member:
        call(committing, owner, "remove_member", chat, member)
    history, snapshot = said_by(start)
    _, now = said_by(of_all(committing, user=member)["next"])
    made_up = of_all(committing, encoded(f"{history} {snapshot} {now} {chat} {seq}"), user=member)
    told = drained(committing, start, member)[0]
    assert told
    assert made_up["events"] == (told if seq < 1 else [])


def said_by(cursor: str) -> list[str]:
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" ")


def encoded(said: str) -> str:
    return urlsafe_b64encode(said.encode()).decode().rstrip("=")


STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "edit", "delete", "rename", "commit", "roll back", "ask"]), st.integers(0, 2),
              st.integers(0, 3)),
    min_size=10, max_size=60,
)  # fmt: skip


@given(steps=STEPS, limits=st.lists(st.integers(1, 4), min_size=1, max_size=3))
@settings(max_examples=40)
def test_however_transactions_overlap_each_event_is_told_once_and_in_order(
    url: str, steps: list[tuple[str, int, int]], limits: list[int]
) -> None:
    with ExitStack() as stack:
        reader = stack.enter_context(psycopg.connect(url, autocommit=True))
        owner = new_user()
        chats = [new_chat(reader, owner) for _ in range(4)]
        writers = [stack.enter_context(psycopg.connect(url)) for _ in range(3)]
        busy: dict[int, int] = {}  # which writer has changed a chat and not committed: others would wait
        heard: list[list[Event]] = [[] for _ in limits]
        cursors = [of_all(reader, user=owner)["next"] for _ in limits]
        seqs = {chat: seq_of(reader, chat) for chat in chats}

        def ask() -> None:
            for place, limit in enumerate(limits):
                answer = of_all(reader, cursors[place], limit, owner)
                heard[place] += answer["events"]
                cursors[place] = answer["next"]

        for what, writer, chat in steps:
            if what == "ask":
                ask()
            elif what in ("commit", "roll back"):
                writers[writer].commit() if what == "commit" else writers[writer].rollback()
                busy = {held: by for held, by in busy.items() if by != writer}
            elif busy.setdefault(chat, writer) == writer:
                change(writers[writer], owner, chats[chat], what)
        for connection in writers:
            connection.commit()
        for place, limit in enumerate(limits):
            rest, _ = drained(reader, cursors[place], owner, limit)
            heard[place] += rest
        expected = {chat: names(of_chat(reader, chat, seq, user=owner)) for chat, seq in seqs.items()}
        for events in heard:
            told = {chat: names({"events": [e for e in events if e["chatId"] == chat]}) for chat in chats}
            assert told == expected


def change(connection: Connection, owner: str, chat: str, what: str) -> None:
    newest = "select id from parley.messages where chat_id = %s order by id desc limit 1"
    row = connection.execute(newest, [chat]).fetchone()
    if what == "join or leave":
        guest = "select from parley.members where chat_id = %s and user_id = 'guest'"
        if connection.execute(guest, [chat]).rowcount:
            call(connection, "guest", "remove_member", chat, "guest")
        else:
            add_member(connection, owner, chat, "guest")
    elif what == "rename":
        call(connection, owner, "update_chat", chat, {"title": f"Renamed {new_user()}"})
    elif what == "send" or row is None:
        send(connection, chat, user=owner)
    elif what == "edit":
        call(connection, owner, "update_message", chat, str(row[0]), {"content": new_user()})
    else:
        call(connection, owner, "delete_message", chat, str(row[0]))
