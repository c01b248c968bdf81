"""Synchronization: what a client starts from, and what has changed since."""

from typing import Annotated

from pydantic import RootModel

from api.openapi.models.base import Model, describe_field
from api.openapi.models.chats import Chat
from api.openapi.models.events import Cursor, Events
from api.openapi.models.users import User, UserSettings


class SyncChat(Chat):
    """A chat, with what a client needs to follow it."""

    seq: Annotated[int, describe_field("The chat's last event that this response includes.", 42, minimum=0)]
    channel: Annotated[
        str,
        describe_field(
            "The Pusher channel that carries all events of the chat for the caller: the caller's own or, if the chat "
            "has more than 100 members, the chat's.",
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


class Sync(RootModel[Snapshot | Events]):
    """Without `after`, all that a client starts from. With `after`, the events since then."""
