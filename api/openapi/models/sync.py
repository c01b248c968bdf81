"""Synchronization: what a client starts from, and what has changed since."""

from typing import Annotated

from pydantic import RootModel

from api.openapi.models.base import Model, Omitted, describe_field
from api.openapi.models.chats import ListedChat
from api.openapi.models.events import Cursor, Events
from api.openapi.models.messages import LastMessage
from api.openapi.models.users import IncludedUsers, PublicProfile, User, UserSettings


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


class Snapshot(Model):
    """The caller, their settings and the first page of their chats, all at one moment."""

    cursor: Cursor
    user: User
    settings: UserSettings
    chats: list[SyncChat]
    total: Annotated[int, describe_field("The number of all chats of the caller.", 1, minimum=0)]
    limit: Annotated[int, describe_field("The maximum number of chats in the response.", 50)]
    users: IncludedUsers | Omitted = None


class Sync(RootModel[Snapshot | Events]):
    """Without `after`, all that a client starts from. With `after`, the events since then."""
