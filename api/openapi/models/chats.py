"""Chats and their members."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from api.openapi.models.base import Body, Model, Omitted, PartialUpdate, describe_field
from api.openapi.models.fields import (
    MESSAGE_ID,
    ChatId,
    ImageUrl,
    ItemEtag,
    MemberId,
    MessageId,
    Role,
    Timestamp,
    Title,
)
from api.openapi.models.messages import LastMessage
from api.openapi.models.page import Page
from api.openapi.models.users import IncludedUsers, PublicProfile

UnreadCount = Annotated[
    int,
    describe_field("The number of messages after the last read one. None of them is the caller's own.", 0, minimum=0),
]
LastReadMessageId = Annotated[
    UUID | None,
    describe_field(
        "The newest message that the user has read or sent, which may be deleted by now; null if there is none.",
        MESSAGE_ID,
    ),
]


class NewMember(Body):
    """The user to add, by either ID or e-mail address; the user must have signed in before.

    By default, a chat has at most 5,000 members.
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    user_id: MemberId | Omitted = None
    # Without an example, so that the example of the body has only one of the two.
    email: Annotated[str, describe_field("The user's e-mail address, without regard to case.")] | Omitted = None


class NewChat(Body):
    """A chat to create."""

    title: Title
    members: (
        Annotated[
            list[MemberId | NewMember],
            Field(
                description="Users to add, each by ID or as an object. Repeated users and the caller are ignored. One "
                "unknown user rejects the request.",
                max_length=100,
            ),
        ]
        | Omitted
    ) = None


class ChatChange(PartialUpdate):
    """The chat's new title."""

    title: Title | Omitted = None


class CreatedChat(Model):
    """The created chat."""

    id: ChatId
    title: Title
    created_at: Timestamp


class Chat(Model):
    """A chat, with the caller's role in it."""

    id: ChatId
    title: Title
    role: Role
    created_at: Timestamp
    updated_at: Timestamp
    last_message_at: Timestamp | None = Field(
        description="The time of the newest message; null if the chat has no messages."
    )
    last_message: LastMessage | None
    unread_count: UnreadCount
    last_read_message_id: LastReadMessageId
    member_count: Annotated[int, describe_field("The number of members, the owner included.", 2, minimum=1)]


class ListedChat(Chat):
    """A chat in a list."""

    etag: ItemEtag | Omitted = None


class Chats(Page):
    """A page of the caller's chats, most recently active first."""

    chats: list[ListedChat]
    users: IncludedUsers | Omitted = None


class MemberChange(Body):
    """The member's new role."""

    role: Annotated[
        Literal["owner"],
        describe_field("`owner` makes the member the chat's owner. The former owner remains a member.", "owner"),
    ]


class Member(Model):
    """A member of a chat."""

    user_id: MemberId
    name: Annotated[str | None, describe_field("The member's display name.", "Bob")]
    image: ImageUrl | None
    role: Annotated[Literal["owner", "member"], describe_field("The member's role in the chat.", "member")]
    joined_at: Timestamp
    last_read_message_id: LastReadMessageId


class ReadMarker(Body):
    """The newest message that the caller has read."""

    message_id: MessageId


class ReadState(Model):
    """How far the caller has read the chat."""

    last_read_message_id: LastReadMessageId
    unread_count: UnreadCount


class Members(Page):
    """A page of the chat's members, in the order in which they joined."""

    members: list[Member]


class AuthoredMessage(LastMessage):
    """A chat's newest message, with the first 200 characters of its content, and its author."""

    author: PublicProfile


class SyncChat(ListedChat):
    """A chat, with what a client needs to follow it."""

    last_message: AuthoredMessage | None
    seq: Annotated[int, describe_field("The chat's last event that this response includes.", 42, minimum=0)]
    channel: Annotated[
        str,
        describe_field(
            "The Pusher channel to listen to: the caller's own or, if the chat has more than 100 members, the chat's, "
            "without a `seq` and without `member:…` events.",
            "private-user-YWxpY2U",
        ),
    ]
