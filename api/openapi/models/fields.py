"""Types of fields that several models share."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from api.openapi.models.base import describe_field

CHAT_ID = "01a20a99-4a23-7c5b-9aec-d0aaeaef17a8"
MESSAGE_ID = "01a21066-a8c1-7000-80c8-03d3bfc81670"
IMAGE_URL = "https://chat.example.org/images/878b2794f8d7953e8b2a0275e5b49bed06ce336244a0049b307eb3bdf8580fc8.png"
ETAG = '"uyqusEWMi0amCzeDau98"'
TIMESTAMP = "2026-11-25T01:51:32.161Z"

ChatId = Annotated[UUID, describe_field("The chat's ID, a UUIDv7.", CHAT_ID)]
MessageId = Annotated[UUID, describe_field("The message's ID, a UUIDv7.", MESSAGE_ID)]
UserId = Annotated[str, describe_field("The user's ID: the `sub` of their session token.", "alice")]
MemberId = Annotated[str, describe_field("The member's user ID.", "bob")]
Title = Annotated[str, describe_field("The chat's title, stored exactly as sent.", "Plans")]
Nonce = Annotated[
    str,
    describe_field(
        "The client's own identifier of the message. Only the sender's `chat:event` has it, so that the client "
        "recognizes its message, even if the event arrives before the response.",
        "4f1c2d",
    ),
]
Content = Annotated[str, describe_field("The message's text, stored exactly as sent.", "Hello from curl")]
Type = Annotated[str, describe_field("The kind of content.", "text")]
Name = Annotated[str, describe_field("The user's display name.", "Alice")]
Email = Annotated[
    str, describe_field("The user's e-mail address, in lower case and unique among users.", "alice@example.com")
]
ImageUrl = Annotated[str, describe_field("The URL of the user's profile image.", IMAGE_URL, format="uri")]
Role = Annotated[Literal["owner", "member"], describe_field("The user's role in the chat.", "owner")]
ItemEtag = Annotated[str, describe_field("Only with `include=etag`: the entity tag for `If-Match`.", ETAG)]
Timestamp = Annotated[datetime, describe_field("A UTC timestamp with milliseconds.", TIMESTAMP)]
