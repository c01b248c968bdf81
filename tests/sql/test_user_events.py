"""list_events: the events of all of a user's chats, after a cursor that is a snapshot."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database import Connection, add_member, call, new_chat
from tests.sql.event_log import Event, brief, change, drained, names, of_all, of_chat, send, seq_of, strip_content
from tests.tokens import new_user

if TYPE_CHECKING:
    from collections.abc import Callable


def test_what_was_before_the_first_cursor_is_not_told(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    answer = of_all(committing, user=owner)
    assert (answer["events"], answer["hasMore"]) == ([], False)
    assert of_all(committing, answer["next"], user=owner)["events"] == []
    send(committing, chat, user=owner)
    assert brief(of_all(committing, answer["next"], user=owner)["events"]) == [(chat, "message:sent")]
    assert brief(of_all(committing, answer["next"], user=owner)["events"]) == [(chat, "message:sent")]


def test_a_transaction_that_was_under_way_is_told_of_later(committing: Connection, log_url: str) -> None:
    owner = new_user()
    slow, quick = new_chat(committing, owner), new_chat(committing, owner)
    start = of_all(committing, user=owner)["next"]
    with psycopg.connect(log_url) as other:
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
            ("message:sent", strip_content(sent)),
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
                strip_content(sent),
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


STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "edit", "delete", "rename", "commit", "roll back", "ask"]), st.integers(0, 2),
              st.integers(0, 3)),
    min_size=10, max_size=60,
)  # fmt: skip


@given(steps=STEPS, limits=st.lists(st.integers(1, 4), min_size=1, max_size=3))
@settings(max_examples=40)
def test_however_transactions_overlap_each_event_is_told_once_and_in_order(
    log_url: str, steps: list[tuple[str, int, int]], limits: list[int]
) -> None:
    with ExitStack() as stack:
        reader = stack.enter_context(psycopg.connect(log_url, autocommit=True))
        owner = new_user()
        chats = [new_chat(reader, owner) for _ in range(4)]
        writers = [stack.enter_context(psycopg.connect(log_url)) for _ in range(3)]
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
