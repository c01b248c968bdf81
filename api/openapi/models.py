"""The shapes of bodies, answers and events, which the OpenAPI document tells of. Nothing is validated with them.

What a value may be is the database's to say: the document has its limits from api.get_field_schemas(). Each field has
an example, and of these the document makes those of whole bodies.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema, WithJsonSchema

Left = SkipJsonSchema[None]  # a field that may be left out, and is not null


def told(description: str, *examples: Any, **schema: Any) -> Any:
    """What a field is, with examples and further words of JSON Schema."""
    return Field(description=description, examples=list(examples) or None, json_schema_extra=schema)


ChatId = Annotated[UUID, told("The chat's id, a UUIDv7.", "01a20a99-4a23-7c5b-9aec-d0aaeaef17a8")]
MessageId = Annotated[UUID, told("The message's id, a UUIDv7.", "01a21066-a8c1-7000-80c8-03d3bfc81670")]
UserId = Annotated[str, told("The user's id: the `sub` of their session token.", "alice")]
MemberId = Annotated[str, told("The member's user id.", "bob")]
Title = Annotated[str, told("The chat's title, kept as it was sent.", "Plans")]
Content = Annotated[str, told("The message's text, kept as it was sent.", "Hello from curl")]
Type = Annotated[str, told("What the content is.", "text")]
Name = Annotated[str, told("What the user is called.", "Alice")]
Email = Annotated[str, told("The user's e-mail address, in lower case; it belongs to one user.", "alice@example.com")]
ImageUrl = Annotated[
    str,
    told(
        "Where the user's picture is.",
        "https://chat.example.org/images/878b2794f8d7953e8b2a0275e5b49bed06ce336244a0049b307eb3bdf8580fc8.png",
        format="uri",
    ),
]
Role = Annotated[Literal["owner", "member"], told("What the user is in the chat.", "owner")]
Instant = Annotated[datetime, told("UTC, to the millisecond.", "2026-11-25T01:51:32.161Z")]
Ignored = Annotated[Any, WithJsonSchema({"description": "Ignored, so that what `GET` gave can be put back."})]


class Model(BaseModel):
    """Named in JSON as JSON does."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


# Bodies


class Body(Model):
    """What a request carries; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Change(Body):
    """… whose fields may be left out, but not all of them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})


class NewChat(Body):
    """A chat to create."""

    title: Title


class ChatChange(Change):
    """A chat's new title."""

    title: Title | Left = None


class NewMember(Body):
    """The new member: a user who has signed in before. A chat has at most 5,000 members, by default."""

    user_id: MemberId


class NewMessage(Body):
    """A message to send."""

    content: Content
    type: Annotated[str, told("What the content is; `text`, if it is left out.", "text")] | Left = None


class MessageChange(Change):
    """What a message is to have instead."""

    content: Content | Left = None
    type: Type | Left = None


class ProfileChange(Change):
    """What the user tells of themselves."""

    name: Name | Left = None
    email: Email | Left = None


LanguageModel = Annotated[str, told("The language model that the user has chosen.", "default")]
Theme = Annotated[str, told("Of the user interface.", "dark")]
Context = Annotated[str, told("What a language model is to know of the user.", "Be brief.")]
Runtime = Annotated[str, told("What code is run with.", "python3.11")]
ResponseStyle = Annotated[str, told("How long answers are to be.", "concise")]
AlwaysShowCode = Annotated[bool, told("Whether code is shown without being asked for.", True)]


class ChosenSettings(Body):
    """The settings to change: at least one of those that are a user's to choose."""

    model_config = ConfigDict(json_schema_extra={"not": {"propertyNames": {"enum": ["isPremium", "updatedAt"]}}})

    model: LanguageModel | Left = None
    theme: Theme | Left = None
    context: Context | Left = None
    runtime: Runtime | Left = None
    response_style: ResponseStyle | Left = None
    always_show_code: AlwaysShowCode | Left = None
    is_premium: Ignored = None
    updated_at: Ignored = None


class SettingsChange(Body):
    """Settings to change."""

    settings: ChosenSettings


# Answers


class CreatedChat(Model):
    """The chat that was created."""

    id: ChatId
    title: Title
    created_at: Instant


class SentMessage(Model):
    """A message that was sent."""

    id: MessageId
    content: Content
    type: Type
    user_id: UserId
    created_at: Instant


class LastMessage(SentMessage):
    """A chat's newest message, with the first 200 characters of its content."""


class Chat(Model):
    """A chat, as one of its members sees it."""

    id: ChatId
    title: Title
    role: Role
    created_at: Instant
    updated_at: Instant
    last_message_at: Instant | None = Field(description="When the newest message was sent; null while there is none.")
    last_message: LastMessage | None


class Message(SentMessage):
    """A message."""

    updated_at: Instant


class ChangedMessage(Model):
    """A message that was changed."""

    id: MessageId
    content: Content
    type: Type
    updated_at: Instant


class Hit(Message):
    """A message that was found."""

    chat_id: ChatId
    extract: Annotated[
        str,
        told(
            "Up to 240 characters around the first hit, as HTML in which only `<mark>` is markup.",
            "<mark>Hello</mark> from curl",
        ),
    ]


class Page(Model):
    """A page of a list."""

    total: Annotated[int, told("How many there are on all pages.", 1, minimum=0)]
    page: Annotated[int | None, told("The page's number; null where the page was asked for by a cursor.", 1)]
    limit: Annotated[int, told("How many a page has at most.", 50)]


class Chats(Page):
    """A page of the caller's chats, latest activity first."""

    chats: list[Chat]


class Messages(Page):
    """A page of a chat's messages."""

    messages: list[Message]


class Hits(Page):
    """A page of the messages that were found."""

    messages: list[Hit]


class Member(Model):
    """A member of a chat."""

    user_id: MemberId
    name: Annotated[str | None, told("What the member is called.", "Bob")]
    image: ImageUrl | None
    role: Annotated[Literal["owner", "member"], told("What the member is in the chat.", "member")]
    joined_at: Instant


class Members(Model):
    """A chat's members, longest first."""

    members: list[Member]


class ChangedUser(Model):
    """What the user has told of themselves."""

    name: Name | None
    email: Email | None
    updated_at: Instant


class User(ChangedUser):
    """The caller."""

    id: UserId
    image_url: ImageUrl | None


class Profile(Model):
    """The caller's profile; null is what nobody has told."""

    user: User


class ChangedProfile(Model):
    """The caller's profile after a change."""

    user: ChangedUser


class ChangedImage(Model):
    """The caller's new picture."""

    image_url: ImageUrl
    updated_at: Instant


class UserSettings(Model):
    """What the user has chosen."""

    model: LanguageModel
    theme: Theme
    context: Context
    runtime: Runtime
    is_premium: Annotated[bool, told("Not the user's to choose.", False)]
    response_style: ResponseStyle
    always_show_code: AlwaysShowCode
    updated_at: Instant


class Settings(Model):
    """The caller's settings."""

    settings: UserSettings


class Signed(BaseModel):
    """What a client of Pusher's wants to subscribe to a channel."""

    auth: Annotated[str, told("The signature.", f"app-key:{'0123456789abcdef' * 4}")]
    channel_data: Annotated[str, told("Who is there, as JSON, on a presence channel.")] | Left = None


class SignedIn(BaseModel):
    """What a client of Pusher's wants to sign its user in."""

    auth: Annotated[str, told("The signature.", f"app-key:{'0123456789abcdef' * 4}")]
    user_data: Annotated[str, told("Who it is: JSON.", '{"id": "YWxpY2U", "user_info": {"userId": "alice"}}')]


class Status(Model):
    """All is well."""

    status: Literal["ok"] = Field(examples=["ok"])


class Details(Model):
    """What is wrong."""

    fields: dict[str, str] = Field(
        description="What is wrong with each bad field.", examples=[{"title": "must be 1 to 200 characters"}]
    )


class Problem(Model):
    """Why a request was not answered as it wished."""

    message: Annotated[str, told("For people.", "The request has invalid fields.")]
    code: Annotated[str, told("For programs.", "validation_error")]
    details: Details | Left = None


class Error(Model):
    """Every answer that is not a success."""

    error: Problem


# Events

Truncated = Annotated[
    Literal[True],
    told(
        "There if the content is left out, which was too large for Pusher: fetch the message. In the log also if the "
        "message was edited or deleted since: later members cannot read replaced content."
    ),
]


class MessageSent(Model):
    """The new message."""

    id: MessageId
    content: Content | Left = None
    type: Type
    user_id: UserId
    created_at: Instant
    truncated: Truncated | Left = None


class MessageUpdates(Model):
    """What is different now."""

    content: Content | Left = None
    type: Type | Left = None


class MessageUpdated(Model):
    """The message, and what was changed of it."""

    id: MessageId
    updates: MessageUpdates
    truncated: Truncated | Left = None


class MessageDeleted(RootModel[MessageId]):
    """The message's id."""


class ChatUpdates(Model):
    """The fields that have changed. The log leaves out a title that was replaced since."""

    title: Title | Left = None


class ChatUpdated(Model):
    """The chat, and what was changed of it."""

    id: ChatId
    updates: ChatUpdates


class ChatDeleted(RootModel[ChatId]):
    """The id of the chat, which is gone with its messages and memberships."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event at Pusher: on which channels, when, and what it carries."""

    name: str
    channels: tuple[str, ...]
    tells: str
    payload: type[BaseModel]


class LoggedEvent(Model):
    """An event, as the log has it."""

    chat_id: ChatId
    seq: Annotated[
        int, told("Which event of its chat it is: the one before it has the number before it.", 42, minimum=1)
    ]
    event: Annotated[
        Literal[
            "message:sent", "message:updated", "message:deleted", "chat:updated", "chat:deleted",
            "member:added", "member:removed",
        ],
        told("What happened.", "message:deleted"),
    ]  # fmt: skip
    data: MessageSent | MessageUpdated | ChatUpdated | str = Field(
        description="What it carries at Pusher; of `member:added` and `member:removed`, which are not published, "
        "the user's id.",
        examples=["01a21066-a8c1-7000-80c8-03d3bfc81670"],
    )
    at: Annotated[
        Instant,
        told("When it was: the `updatedAt` of the message or the chat, if it has one.", "2026-11-25T01:51:32.161Z"),
    ]


class ChatEvents(Model):
    """Events of a chat, in order and without a gap."""

    events: list[LoggedEvent]
    next: Annotated[int, told("What to ask for `after`.", 42, minimum=0)]
    has_more: Annotated[bool, told("Whether there are more already.", False)]


class Events(Model):
    """Events of all of the caller's chats, chat by chat, in order within each."""

    events: list[LoggedEvent]
    next: Annotated[str, told("What to ask for `after`: a cursor.", "NGU3YjA4YzRmMGExIDgxMjo4MTI6")]
    has_more: Annotated[bool, told("Whether there are more already.", False)]


OF_CHAT = ("private-chat-{chatId}",)
OF_CHAT_AND_USERS = (*OF_CHAT, "private-user-{id}")

EVENTS = (
    Event("message:sent", OF_CHAT, "A message was sent.", MessageSent),
    Event("message:updated", OF_CHAT, "A message was changed.", MessageUpdated),
    Event("message:deleted", OF_CHAT, "A message was deleted.", MessageDeleted),
    Event("chat:updated", OF_CHAT_AND_USERS, "A chat was changed.", ChatUpdated),
    Event("chat:deleted", OF_CHAT_AND_USERS, "A chat was deleted.", ChatDeleted),
)
