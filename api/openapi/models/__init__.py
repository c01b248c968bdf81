"""The models of bodies, responses and events: they define the schemas of the OpenAPI document, and validate nothing.

The database validates, and api.get_field_schemas() returns its limits. The examples of whole bodies consist of the
examples of their fields. Each class has the name of its schema.
"""

from api.openapi.models.base import Body
from api.openapi.models.chats import Chat, ChatChange, Chats, CreatedChat, Member, Members, NewChat, NewMember
from api.openapi.models.errors import Details, Error, Problem, Status
from api.openapi.models.events import (
    ChatDeleted,
    ChatEvents,
    ChatUpdated,
    ChatUpdates,
    Events,
    LoggedEvent,
    MessageDeleted,
    MessageSent,
    MessageUpdated,
    MessageUpdates,
)
from api.openapi.models.messages import (
    ChangedMessage,
    Hit,
    Hits,
    LastMessage,
    Message,
    MessageChange,
    Messages,
    NewMessage,
    SentMessage,
)
from api.openapi.models.pusher import Signed, SignedIn
from api.openapi.models.users import (
    ChangedImage,
    ChangedProfile,
    ChangedUser,
    ChosenSettings,
    Profile,
    ProfileChange,
    Settings,
    SettingsChange,
    User,
    UserSettings,
)

__all__ = [
    "Body",
    "ChangedImage",
    "ChangedMessage",
    "ChangedProfile",
    "ChangedUser",
    "Chat",
    "ChatChange",
    "ChatDeleted",
    "ChatEvents",
    "ChatUpdated",
    "ChatUpdates",
    "Chats",
    "ChosenSettings",
    "CreatedChat",
    "Details",
    "Error",
    "Events",
    "Hit",
    "Hits",
    "LastMessage",
    "LoggedEvent",
    "Member",
    "Members",
    "Message",
    "MessageChange",
    "MessageDeleted",
    "MessageSent",
    "MessageUpdated",
    "MessageUpdates",
    "Messages",
    "NewChat",
    "NewMember",
    "NewMessage",
    "Problem",
    "Profile",
    "ProfileChange",
    "SentMessage",
    "Settings",
    "SettingsChange",
    "Signed",
    "SignedIn",
    "Status",
    "User",
    "UserSettings",
]
