"""api.list_events: the events of all chats of a user, after a cursor that is a snapshot."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database import Connection, add_member, call, new_chat
from tests.sql.event_log import (
    Event,
    change_chat,
    chats_and_names,
    list_chat_events,
    list_events,
    omit_content,
    read_all_events,
    send,
    seq_of,
    seqs_and_names,
)
from tests.tokens import new_user

if TYPE_CHECKING:
    from collections.abc import Callable


def test_events_before_the_first_cursor_are_not_returned(module_dba: Connection) -> None:
    owner = new_user()
    chat = new_chat(module_dba, owner)
    page = list_events(module_dba, user=owner)
    assert (page["events"], page["hasMore"]) == ([], False)
    assert list_events(module_dba, page["next"], user=owner)["events"] == []
    send(module_dba, chat, user=owner)
    assert chats_and_names(list_events(module_dba, page["next"], user=owner)["events"]) == [(chat, "message:sent")]
    assert chats_and_names(list_events(module_dba, page["next"], user=owner)["events"]) == [(chat, "message:sent")]


def test_events_of_a_transaction_in_progress_are_returned_after_its_commit(
    module_dba: Connection, module_url: str
) -> None:
    owner = new_user()
    slow, quick = new_chat(module_dba, owner), new_chat(module_dba, owner)
    start = list_events(module_dba, user=owner)["next"]
    with psycopg.connect(module_url) as other:
        other.execute("select")  # begins a transaction, so that the next statement does not commit
        send(other, slow, user=owner)  # its id and its transaction are before those of the next
        send(module_dba, quick, user=owner)
        events, cursor = read_all_events(module_dba, start, owner)
        assert chats_and_names(events) == [(quick, "message:sent")]
        other.commit()
    events, cursor = read_all_events(module_dba, cursor, owner)
    assert chats_and_names(events) == [(slow, "message:sent")]
    assert read_all_events(module_dba, cursor, owner)[0] == []


def test_no_event_is_lost_between_two_pages(module_dba: Connection) -> None:
    owner = new_user()
    chats = sorted(new_chat(module_dba, owner) for _ in range(3))
    start = list_events(module_dba, user=owner)["next"]
    for chat in chats:
        send(module_dba, chat, user=owner)
    first = list_events(module_dba, start, 2, owner)
    assert (chats_and_names(first["events"]), first["hasMore"]) == ([(c, "message:sent") for c in chats[:2]], True)
    for chat in chats:
        call(module_dba, owner, "update_chat", chat, {"title": "New"})
    second = list_events(module_dba, first["next"], 2, owner)
    assert (chats_and_names(second["events"]), second["hasMore"]) == ([(chats[2], "message:sent")], True)
    third, _ = read_all_events(module_dba, second["next"], owner)
    assert chats_and_names(third) == [(chat, "chat:updated") for chat in chats]


@pytest.mark.parametrize("change", ["none", "in a chat of others", "in a chat", "of access"])
def test_last_of_several_pages_has_more_only_if_events_follow(module_dba: Connection, change: str) -> None:
    owner, other = new_user(), new_user()
    chat, foreign, left = new_chat(module_dba, owner), new_chat(module_dba, other), new_chat(module_dba, other, owner)
    start = list_events(module_dba, user=owner)["next"]
    for _ in range(4):
        send(module_dba, chat, user=owner)
    first = list_events(module_dba, start, 2, owner)
    assert first["hasMore"] is True
    if change == "of access":
        call(module_dba, owner, "remove_member", left, owner)
    elif change != "none":
        send(module_dba, chat if change == "in a chat" else foreign, user=owner if change == "in a chat" else other)
    second = list_events(module_dba, first["next"], 2, owner)
    assert (len(second["events"]), second["hasMore"]) == (2, change in {"in a chat", "of access"})
    assert len(list_events(module_dba, second["next"], 2, owner)["events"]) == second["hasMore"]


def test_events_are_those_of_the_present_chats_and_ends_of_former_ones(module_dba: Connection) -> None:
    owner, member = new_user(), new_user()
    call(module_dba, member, "get_settings")
    start = list_events(module_dba, user=member)["next"]
    joined, left, deleted, closed = (new_chat(module_dba, owner) for _ in range(4))
    for chat in (left, deleted, closed):
        add_member(module_dba, owner, chat, member)
        send(module_dba, chat, user=owner)
    call(module_dba, owner, "remove_member", left, member)
    send(module_dba, left, "not for the former member", user=owner)
    call(module_dba, owner, "delete_chat", deleted)
    send(module_dba, joined, user=owner)
    add_member(module_dba, owner, joined, member)
    module_dba.execute("update parley.chats set is_being_removed = true, owner_id = null where id = %s", [closed])
    module_dba.execute("delete from parley.members where chat_id = %s", [closed])
    returned = {chat: [] for chat in (joined, left, deleted, closed)}  # type: dict[str, list[tuple[str, Any]]]
    for event in read_all_events(module_dba, start, member, limit=2)[0]:
        returned[event["chatId"]].append((event["event"], event["data"]))
    assert returned[left] == [("member:removed", member)]
    assert returned[deleted] == [("chat:deleted", deleted)]
    assert returned[closed] == [("chat:deleted", closed)]
    assert [event for event, _ in returned[joined]] == ["member:added", "message:sent", "member:added"]
    assert returned[joined][-1] == ("member:added", member)
    stranger = new_user()
    call(module_dba, stranger, "get_settings")
    assert read_all_events(module_dba, start, stranger)[0] == []
    assert len(read_all_events(module_dba, start, owner)[0]) == 10


def test_member_who_was_removed_and_added_gets_both_events(module_dba: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(module_dba, owner)
    add_member(module_dba, owner, chat, member)
    start = list_events(module_dba, user=member)["next"]
    call(module_dba, owner, "remove_member", chat, member)
    add_member(module_dba, owner, chat, member)
    events, _ = read_all_events(module_dba, start, member)
    assert [(event["event"], event["data"]) for event in events] == [
        ("member:removed", member),
        ("member:added", member),
    ]


def test_member_who_was_removed_twice_gets_one_event(module_dba: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(module_dba, owner, member)
    start = list_events(module_dba, user=member)["next"]
    call(module_dba, owner, "remove_member", chat, member)
    add_member(module_dba, owner, chat, member)
    call(module_dba, owner, "remove_member", chat, member)
    last = seq_of(module_dba, chat)
    returned = seqs_and_names({"events": read_all_events(module_dba, start, owner)[0]})
    assert returned == [(last - 2, "member:removed"), (last - 1, "member:added"), (last, "member:removed")]
    assert seqs_and_names({"events": read_all_events(module_dba, start, member, limit=1)[0]}) == [
        (last, "member:removed")
    ]


def test_content_of_a_deleted_message_is_left_out_of_the_log(module_dba: Connection) -> None:
    owner = new_user()
    chat = new_chat(module_dba, owner)
    start = list_events(module_dba, user=owner)["next"]
    sent = send(module_dba, chat, "a secret", user=owner)
    call(module_dba, owner, "update_message", chat, sent["id"], {"content": "the secret"})
    calls: list[Callable[[], Any]] = [
        lambda: list_chat_events(module_dba, chat, 1, user=owner),
        lambda: list_events(module_dba, start, user=owner),
    ]
    assert [str(list_page()).count("the secret") for list_page in calls] == [1, 1]
    call(module_dba, owner, "delete_message", chat, sent["id"])
    for list_page in calls:
        assert [(event["event"], event["data"]) for event in list_page()["events"]] == [
            ("message:sent", omit_content(sent, "deleted")),
            ("message:updated", {"id": sent["id"], "updates": {}, "deleted": True}),
            ("message:deleted", sent["id"]),
        ]


def test_content_that_an_edit_replaced_is_left_out_of_the_log(module_dba: Connection) -> None:
    owner, newcomer = new_user(), new_user()
    chat = new_chat(module_dba, owner)
    start = list_events(module_dba, user=owner)["next"]
    sent = send(module_dba, chat, "password: one", user=owner)

    def edit(**updates: str) -> Any:
        call(module_dba, owner, "update_message", chat, sent["id"], updates)
        return {"id": sent["id"], "updates": updates}

    unchanged = {"id": sent["id"], "updates": {"type": "code"}}
    replaced = {"id": sent["id"], "updates": {}, "truncated": True}
    for content in ("password: two", "password: three"):
        edit(content=content)
    assert edit(type="code") == unchanged
    add_member(module_dba, owner, chat, newcomer)
    for user, after in ((owner, start), (newcomer, None)):
        pages = [list_chat_events(module_dba, chat, 1, user=user)] + (
            [list_events(module_dba, after, user=user)] if after else []
        )
        for page in pages:
            assert [event["data"] for event in page["events"]] == [
                omit_content(sent),
                replaced,
                {"id": sent["id"], "updates": {"content": "password: three"}},
                unchanged,
                newcomer,
            ]
    restored = edit(content="password: one")  # as in the message again, so the first event has it
    data = [event["data"] for event in list_chat_events(module_dba, chat, 1, user=newcomer)["events"]]
    assert data == [sent, replaced, replaced, unchanged, newcomer, restored]


def test_title_that_was_replaced_is_left_out_of_the_log(module_dba: Connection) -> None:
    owner, newcomer = new_user(), new_user()
    chat = new_chat(module_dba, owner, title="Plans")
    start = list_events(module_dba, user=owner)["next"]
    for title in ("Layoffs", "Holidays"):
        call(module_dba, owner, "update_chat", chat, {"title": title})
    add_member(module_dba, owner, chat, newcomer)
    for page in (list_chat_events(module_dba, chat, 1, user=newcomer), list_events(module_dba, start, user=owner)):
        assert [event["data"] for event in page["events"]] == [
            {"id": chat, "updates": {}}, {"id": chat, "updates": {"title": "Holidays"}}, newcomer,
        ]  # fmt: skip


STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "edit", "delete", "rename", "commit", "roll back", "list"]), st.integers(0, 2),
              st.integers(0, 3)),
    min_size=10, max_size=60,
)  # fmt: skip


@given(steps=STEPS, limits=st.lists(st.integers(1, 4), min_size=1, max_size=3))
@settings(max_examples=40)
def test_each_event_is_returned_once_and_in_order_for_overlapping_transactions(
    module_url: str, steps: list[tuple[str, int, int]], limits: list[int]
) -> None:
    with ExitStack() as stack:
        reader = stack.enter_context(psycopg.connect(module_url, autocommit=True))
        owner = new_user()
        chats = [new_chat(reader, owner) for _ in range(4)]
        writers = [stack.enter_context(psycopg.connect(module_url)) for _ in range(3)]
        locked_by: dict[int, int] = {}  # the writer whose open transaction has changed a chat: others would wait
        received: list[list[Event]] = [[] for _ in limits]
        cursors = [list_events(reader, user=owner)["next"] for _ in limits]
        seqs = {chat: seq_of(reader, chat) for chat in chats}

        def list_pages() -> None:
            for reader_index, limit in enumerate(limits):
                page = list_events(reader, cursors[reader_index], limit, owner)
                received[reader_index] += page["events"]
                cursors[reader_index] = page["next"]

        for action, writer, chat in steps:
            if action == "list":
                list_pages()
            elif action in ("commit", "roll back"):
                writers[writer].commit() if action == "commit" else writers[writer].rollback()
                locked_by = {locked: by for locked, by in locked_by.items() if by != writer}
            elif locked_by.setdefault(chat, writer) == writer:
                change_chat(writers[writer], owner, chats[chat], action)
        for connection in writers:
            connection.commit()
        for reader_index, limit in enumerate(limits):
            remaining, _ = read_all_events(reader, cursors[reader_index], owner, limit)
            received[reader_index] += remaining
        expected = {chat: seqs_and_names(list_chat_events(reader, chat, seq, user=owner)) for chat, seq in seqs.items()}
        for events in received:
            returned = {chat: seqs_and_names({"events": [e for e in events if e["chatId"] == chat]}) for chat in chats}
            assert returned == expected
