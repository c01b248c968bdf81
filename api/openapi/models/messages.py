"""Messages: the bodies that send and update them, and the responses that list and search them."""

from typing import Annotated

from api.openapi.models.base import Body, Model, Omitted, PartialUpdate, describe_field
from api.openapi.models.fields import (
    IMAGE_URL,
    ChatId,
    Content,
    ItemEtag,
    MessageId,
    Nonce,
    Timestamp,
    Type,
    UserId,
)
from api.openapi.models.page import Page
from api.openapi.models.users import IncludedUsers


class NewMessage(Body):
    """A message to send."""

    content: Content
    type: Annotated[str, describe_field("The kind of content; `text` by default.", "text")] | Omitted = None
    nonce: Nonce | Omitted = None


class MessageChange(PartialUpdate):
    """The fields of a message to update."""

    content: Content | Omitted = None
    type: Type | Omitted = None


class ChatImage(Model):
    """An uploaded image. Send its URL as the `content` of a message of type `image` within 24 hours."""

    image_url: Annotated[str, describe_field("The URL of the image, without a session token.", IMAGE_URL, format="uri")]
    width: Annotated[int, describe_field("The width of the stored image in pixels.", 2048)]
    height: Annotated[int, describe_field("The height of the stored image in pixels.", 1536)]


class SentMessage(Model):
    """The sent message."""

    id: MessageId
    content: Content
    type: Type
    user_id: UserId
    created_at: Timestamp


class LastMessage(SentMessage):
    """A chat's newest message, with the first 200 characters of its content."""


class Message(SentMessage):
    """A message."""

    updated_at: Timestamp


class MessageWithUsers(Message):
    """A message, and its author if requested."""

    users: IncludedUsers | Omitted = None


class ListedMessage(Message):
    """A message in a list."""

    etag: ItemEtag | Omitted = None


class ChangedMessage(Model):
    """The updated message."""

    id: MessageId
    content: Content
    type: Type
    updated_at: Timestamp


class Messages(Page):
    """A page of a chat's messages."""

    messages: list[ListedMessage]
    users: IncludedUsers | Omitted = None


class Hit(ListedMessage):
    """A message that matches the search."""

    chat_id: ChatId
    extract: Annotated[
        str,
        describe_field(
            "Up to 240 characters around the first match, as HTML in which `<mark>` is the only element.",
            "<mark>Hello</mark> from curl",
        ),
    ]


class Hits(Page):
    """A page of search results."""

    messages: list[Hit]
    users: IncludedUsers | Omitted = None
