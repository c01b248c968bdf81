"""Signatures for Pusher's clients. Pusher defines the names of the fields."""

from typing import Annotated

from pydantic import BaseModel, RootModel

from api.openapi.models.base import Omitted, describe_field

Signature = Annotated[
    str, describe_field("The app's key and the signature of the request.", f"app-key:{'0123456789abcdef' * 4}")
]


class ChannelAuthorization(BaseModel):
    """The authorization of a subscription to a channel, in the format that Pusher's clients expect."""

    auth: Signature
    channel_data: (
        Annotated[str, describe_field("Presence channels only: the member's ID and name, as JSON.")] | Omitted
    ) = None


class SignedIn(BaseModel):
    """The authentication of the user, in the format that Pusher's clients expect."""

    auth: Signature
    user_data: Annotated[
        str, describe_field("The user's ID, as JSON.", '{"id": "YWxpY2U", "user_info": {"userId": "alice"}}')
    ]


class BatchAuthorization(BaseModel):
    """The authorizations of several channels by name; null for a channel that the caller may not subscribe to.

    That of `#server-to-user-{id}` signs the user in.
    """

    channels: dict[str, ChannelAuthorization | SignedIn | None]


class ChannelAuthorizations(RootModel[ChannelAuthorization | BatchAuthorization]):
    """The authorization of `channel_name`, as Pusher's clients expect it, or of each `channel_name[]`."""
