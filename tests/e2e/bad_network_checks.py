"""The promises that must hold after tests.e2e.bad_network: each function describes the violations of one.

- Each copy is what the database has, with all fields, and so is the chat of a client that reads it now.
- Between two full reads, a client applied the events of the log, one by one and each once. When it had caught up
  after a full read, its copy was the result of the log up to that event.
- Each message with an acknowledged request is in the log once, with its latest content, and no other one of its user
  is. Each word that two devices of one user appended to a message is in it once.
"""

from collections import Counter
from typing import Any, NamedTuple, Self

from tests.database import Connection
from tests.e2e.chat_clients import Appender, Client, Writer
from tests.e2e.followers import Outline
from tests.e2e.local_copy import LocalCopy, Message

TITLE = "Bad network"
OWNER = "olga"
MESSAGES = """
select json_build_object('id', id, 'content', content, 'type', type, 'userId', user_id,
    'createdAt', parley.iso8601(created_at), 'updatedAt', parley.iso8601(updated_at))
from parley.messages where chat_id = %s
"""


class Chat(NamedTuple):
    """The state of a chat."""

    title: str
    members: set[str]
    messages: dict[str, Message]

    @classmethod
    def copied(cls, copy: LocalCopy) -> Self:
        """Return the chat of a client's copy."""
        return cls(copy.title, copy.members, copy.messages)

    @classmethod
    def stored(cls, dba: Connection, chat: str) -> Self:
        """Return the chat of the database."""
        ((title,),) = dba.execute("select title from parley.chats where id = %s", [chat]).fetchall()
        members = dba.execute("select user_id from parley.members where chat_id = %s", [chat]).fetchall()
        messages = [message for (message,) in dba.execute(MESSAGES, [chat])]
        return cls(title, {user for (user,) in members}, {message["id"]: message for message in messages})

    def contents(self) -> dict[str, str]:
        """Return the content of each message."""
        return {key: message.get("content", "") for key, message in self.messages.items()}

    def differences(self, other: Self) -> list[str]:
        """Describe the differences of another chat."""
        return [
            *([f"the title {self.title}, not {other.title}"] if self.title != other.title else []),
            *(f"the member {user}, which is no member" for user in self.members - other.members),
            *(f"not the member {user}" for user in other.members - self.members),
            *(
                f"the message {self.messages.get(key)!s:.200}, not {other.messages.get(key)!s:.200}"
                for key in sorted(self.messages.keys() | other.messages.keys())
                if self.messages.get(key) != other.messages.get(key)
            ),
        ]


Log = dict[int, tuple[str, Any]]  # the events of the chat, and their data, by seq


def copy_violations(client: Client, stored: Chat) -> list[str]:
    """Return where a client's copy differs from the database."""
    return [f"{client.name} has {difference}" for difference in Chat.copied(client.copy).differences(stored)]


def apply_violations(client: Client, log: Log) -> list[str]:
    """Return the events that a client did not apply in the order and the form of the log."""
    deleted = {data for event, data in log.values() if event == "message:deleted"}
    edited = edited_messages(log)
    return [
        f"{client.name} applied {event!s:.200}, not {seq}, {log.get(seq)!s:.200}"
        for first, events in client.copy.applied
        for seq, event in enumerate(events, first + 1)
        if event["seq"] != seq or (event["event"], event["data"]) not in accepted_forms(*log[seq], edited, deleted)
    ]


def edited_messages(log: Log) -> set[str]:
    """Return the messages whose content was edited."""
    return {data["id"] for event, data in log.values() if event == "message:updated" and "content" in data["updates"]}


def accepted_forms(event: str, data: Any, edited: set[str], deleted: set[str]) -> list[tuple[str, Any]]:
    """Return the forms in which an event may be read: content that was replaced or deleted since may be left out."""
    forms = [(event, data)]
    if event == "chat:updated":
        forms.append((event, data | {"updates": {}}))
    elif isinstance(data, dict):
        bare = {name: value for name, value in data.items() if name not in ("content", "truncated")}
        if "updates" in data:
            bare["updates"] = {name: value for name, value in data["updates"].items() if name != "content"}
        forms += [(event, bare | {"truncated": True})] * (data["id"] in edited)
        forms += [(event, bare | {"deleted": True})] * (data["id"] in deleted)
    return forms


def catch_up_violations(client: Client, log: Log) -> list[str]:
    """Return where a client that had caught up was not in the state of the log.

    If it had to fetch a message, it may have noticed the deletion of the message before it read the event.
    """
    outlines = outlines_by_seq(log)
    fetched = {data["id"] for _, data in log.values() if "truncated" in data} | edited_messages(log)
    return [
        f"{client.name} had {outline!s:.200} at {seq}, and the log has {outlines[seq]!s:.200}"
        for seq, outline in client.copy.caught_up
        if outline[:2] != outlines[seq][:2] or (outline.messages ^ outlines[seq].messages) - fetched
    ]


def outlines_by_seq(log: Log) -> dict[int, Outline]:
    """Return the outline of the chat after each event."""
    now = Outline(TITLE, {OWNER}, set())
    outlines = {}
    for seq, (event, data) in log.items():
        match event:
            case "chat:updated":
                now = now._replace(title=data["updates"].get("title", now.title))
            case "member:added":
                now = now._replace(members=now.members | {data})
            case "member:removed":
                now = now._replace(members=now.members - {data})
            case "message:sent":
                now = now._replace(messages=now.messages | {data["id"]})
            case "message:deleted":
                now = now._replace(messages=now.messages - {data})
        outlines[seq] = now
    return outlines


def send_violations(writer: Writer, log: Log, stored: Chat) -> list[str]:
    """Return sent messages that the log lacks, logged ones that were not sent, and those with other content."""
    logged = {data["id"] for event, data in log.values() if event == "message:sent" and data["userId"] == writer.user}
    contents = stored.contents()
    return [
        *(f"{writer.name} sent {message}, and the log does not have it" for message in writer.contents.keys() - logged),
        *(f"{writer.name} did not send {message}, or sent it twice" for message in logged - writer.contents.keys()),
        *(
            f"{writer.name} last wrote {content!s:.80}, and the database has {contents.get(message)!s:.80}"
            for message, content in writer.contents.items()
            if contents.get(message) != content
        ),
    ]


def append_violations(appenders: list[Appender], stored: Chat) -> list[str]:
    """Return the words that two devices appended to a message and that are not in it exactly once."""
    appended = Counter(["List", *(word for appender in appenders for word in appender.appended)])
    stored_words = Counter(stored.contents()[appenders[0].message].split())
    return [
        f"{word} was appended {appended[word]} times, and is in the message {stored_words[word]} times"
        for word in appended | stored_words
        if appended[word] != stored_words[word]
    ]
