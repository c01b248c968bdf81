"""Real-time events: the single source of the facts about them.

The events page and the OpenAPI document are generated from this file. Tests compare it with the README's tables, with
the comments in the database, and with the events that the database records.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field, RootModel

from api.openapi.models.base import Model, Omitted, describe_field
from api.openapi.models.chats import SyncChat
from api.openapi.models.fields import (
    MESSAGE_ID,
    TIMESTAMP,
    ChatId,
    Content,
    ImageUrl,
    MemberId,
    MessageId,
    Name,
    Nonce,
    Timestamp,
    Title,
    Type,
    UserId,
)
from api.openapi.models.users import IncludedUsers, PublicProfile

MAX_EVENT_BYTES = 10_000  # of a payload: Pusher rejects events of more than 10 kB
MAX_CHANNEL_USER_ID_BYTES = 113  # in UTF-8: longer user IDs would exceed the 164 characters of Pusher's channel names

# Payloads

Truncated = Annotated[
    Literal[True],
    describe_field(
        "Present if the content is omitted because the event would be too large for Pusher: fetch the message. In the "
        "log, content is also omitted if the message was edited later, since new members must not read it."
    ),
]
Deleted = Annotated[
    Literal[True],
    describe_field("Only in the log: present if the message was deleted later. The content is omitted."),
]


class MessageSent(Model):
    """The new message."""

    id: MessageId
    content: Content | Omitted = None
    type: Type
    user_id: UserId
    created_at: Timestamp
    truncated: Truncated | Omitted = None
    deleted: Deleted | Omitted = None


class MessageUpdates(Model):
    """The updated fields with their new values."""

    content: Content | Omitted = None
    type: Type | Omitted = None


class MessageUpdated(Model):
    """The message's ID and its updated fields."""

    id: MessageId
    updates: MessageUpdates
    truncated: Truncated | Omitted = None
    deleted: Deleted | Omitted = None


class MessageDeleted(RootModel[MessageId]):
    """The message's ID."""


class ChatUpdates(Model):
    """The updated fields with their new values. In the log, a title is omitted if it was replaced later."""

    title: Title | Omitted = None


class ChatUpdated(Model):
    """The chat's ID and its updated fields."""

    id: ChatId
    updates: ChatUpdates


class ChatDeleted(RootModel[ChatId]):
    """The ID of the chat. Its messages and memberships no longer exist."""


class ChatRead(Model):
    """How far a member has read. Sending a message advances the author's marker without this event."""

    user_id: UserId
    last_read_message_id: MessageId
    unread_count: Annotated[
        int, describe_field("The number of messages that the user had not read at that time.", 0, minimum=0)
    ]


class MemberUpdated(Model):
    """The chat's new owner. The former owner is a member."""

    user_id: MemberId
    role: Annotated[Literal["owner"], describe_field("The member's new role.", "owner")]


class UserUpdated(Model):
    """The user's new name and profile image."""

    id: UserId
    name: Name | None
    image_url: ImageUrl | None


# The log


class LoggedEvent(Model):
    """An event in the log."""

    chat_id: ChatId
    seq: Annotated[
        int,
        describe_field("The event's number in its chat; each event has the next number.", 42, minimum=1),
    ]
    event: Annotated[
        Literal[
            "message:sent", "message:updated", "message:deleted", "chat:updated", "chat:deleted",
            "member:added", "member:updated", "member:removed", "chat:read",
        ],
        describe_field("The event's name.", "message:deleted"),
    ]  # fmt: skip
    data: MessageSent | MessageUpdated | ChatUpdated | ChatRead | MemberUpdated | str = Field(
        description="The data of the event of this name; for `member:added` and `member:removed`, the user's ID.",
        examples=[MESSAGE_ID],
    )
    at: Annotated[
        Timestamp,
        describe_field("The time of the change: the `updatedAt` of the message or the chat, if it has one.", TIMESTAMP),
    ]
    nonce: Nonce | Omitted = None
    user: Annotated[
        PublicProfile | Omitted,
        describe_field("Only in live events: the user whom the data names, such as the author of a new message."),
    ] = None
    chat: Annotated[
        SyncChat | Omitted,
        describe_field("Only if the caller was added: the chat as it is now, with the events up to its `seq`."),
    ] = None


# Channels and events


@dataclass(frozen=True, slots=True)
class Channel:
    """A kind of channel; texts may have `code`."""

    name: str
    subscribers: str
    content: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event that is published on channels."""

    name: str
    channels: tuple[Channel, ...]
    description: str
    payload: type[BaseModel]


CHAT_CHANNEL = Channel(
    "private-chat-{chatId}", "the chat's members", "the chat's `message:…` and `chat:…` events, without a `seq`"
)
PRESENCE_CHANNEL = Channel(
    "presence-chat-{chatId}",
    "the chat's members",
    "no events but those of clients, such as `client-typing`; the members who are online: `user_id` is the user's ID, "
    "`user_info` has the `name`",
)
USER_CHANNEL = Channel(
    "private-user-{id}",
    "the user; `{id}` is the user's ID in base64url without padding",
    "all events of the user's chats of up to 100 members, as `chat:event`; of larger chats, `chat:updated` and "
    "`chat:deleted` and, as `chat:event`, the user's own `member:…` events and messages with a `nonce`; and "
    "`user:updated`",
)
CHANNELS = (CHAT_CHANNEL, PRESENCE_CHANNEL, USER_CHANNEL)
EVENTS = (
    Event("message:sent", (CHAT_CHANNEL,), "A message was sent.", MessageSent),
    Event("message:updated", (CHAT_CHANNEL,), "A message was updated.", MessageUpdated),
    Event("message:deleted", (CHAT_CHANNEL,), "A message was deleted.", MessageDeleted),
    Event("chat:updated", (CHAT_CHANNEL, USER_CHANNEL), "A chat was renamed.", ChatUpdated),
    Event("chat:deleted", (CHAT_CHANNEL, USER_CHANNEL), "A chat was deleted.", ChatDeleted),
    Event("chat:event", (USER_CHANNEL,), "An entry of the log of a chat was recorded.", LoggedEvent),
    Event(
        "user:updated", (USER_CHANNEL,), "The user, or a member of a common chat, has a new name or image.", UserUpdated
    ),
)
# Published only as the `event` of a `chat:event`.
CHAT_EVENT_ONLY = ("member:added", "member:updated", "member:removed", "chat:read")


# Pages of the log

Cursor = Annotated[
    str, describe_field("The value of `after` for the next request: a cursor.", "NGU3YjA4YzRmMGExIDgxMjo4MTI6")
]


class ChatEvents(Model):
    """Events of a chat, in order and without gaps."""

    events: list[LoggedEvent]
    next: Annotated[int, describe_field("The value of `after` for the next request.", 42, minimum=0)]
    has_more: Annotated[bool, describe_field("Whether more events follow.", False)]
    users: IncludedUsers | Omitted = None


class Events(Model):
    """Events of all of the caller's chats, grouped by chat and in order within each."""

    events: list[LoggedEvent]
    next: Cursor
    has_more: Annotated[bool, describe_field("Whether more events follow.", False)]
    users: IncludedUsers | Omitted = None
