"""Synchronization: the initial state of a client, and the events since a cursor."""

from typing import Annotated

from pydantic import RootModel

from api.openapi.models.base import Model, Omitted, describe_field
from api.openapi.models.chats import SyncChat
from api.openapi.models.events import Cursor, Events
from api.openapi.models.users import IncludedUsers, User, UserSettings


class InitialState(Model):
    """The caller, their settings and the first page of their chats, all at one moment."""

    cursor: Cursor
    user: User
    settings: UserSettings
    chats: list[SyncChat]
    total: Annotated[int, describe_field("The number of all chats of the caller.", 1, minimum=0)]
    limit: Annotated[int, describe_field("The maximum number of chats in the response.", 50)]
    users: IncludedUsers | Omitted = None


class Sync(RootModel[InitialState | Events]):
    """Without `after`, the initial state of a client. With `after`, the events since a cursor."""
