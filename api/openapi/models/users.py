"""The caller's profile and settings."""

from typing import Annotated, Any

from pydantic import ConfigDict
from pydantic.json_schema import WithJsonSchema

from api.openapi.models.base import Body, Model, Omitted, PartialUpdate, describe_field
from api.openapi.models.fields import Email, ImageUrl, Name, Timestamp, UserId

# Profile


class ProfileChange(PartialUpdate):
    """The fields of the profile to update."""

    name: Name | Omitted = None
    email: Email | Omitted = None


class ChangedUser(Model):
    """The updated user."""

    name: Name | None
    email: Email | None
    updated_at: Timestamp


class User(ChangedUser):
    """The caller."""

    id: UserId
    image_url: ImageUrl | None


class Profile(Model):
    """The caller's profile. Fields that were never set are null."""

    user: User


class ChangedProfile(Model):
    """The caller's updated profile."""

    user: ChangedUser


class ChangedImage(Model):
    """The caller's new profile image."""

    image_url: ImageUrl
    updated_at: Timestamp


class PublicProfile(Model):
    """What users may read of each other; name and image are null after the account is deleted."""

    id: UserId
    name: Name | None
    image_url: ImageUrl | None


IncludedUsers = Annotated[
    list[PublicProfile],
    describe_field("Only with `include=users`: everyone whom the response names, ordered by ID."),
]


class Users(Model):
    """The user with the e-mail address, or nobody."""

    users: list[PublicProfile]


# Settings

LanguageModel = Annotated[str, describe_field("The language model that the user has selected.", "default")]
Theme = Annotated[str, describe_field("The theme of the user interface.", "dark")]
Context = Annotated[str, describe_field("Instructions from the user to the language model.", "Be brief.")]
Runtime = Annotated[str, describe_field("The runtime that executes code.", "python3.11")]
ResponseStyle = Annotated[str, describe_field("The length of the language model's responses.", "concise")]
AlwaysShowCode = Annotated[bool, describe_field("Whether code is always shown.", True)]
ReadOnly = Annotated[
    Any,
    WithJsonSchema({"description": "Read-only: accepted and ignored, so that a response of `GET` can be sent back."}),
]


class ChosenSettings(Body):
    """The settings to update; at least one that is not read-only."""

    model_config = ConfigDict(json_schema_extra={"not": {"propertyNames": {"enum": ["isPremium", "updatedAt"]}}})

    model: LanguageModel | Omitted = None
    theme: Theme | Omitted = None
    context: Context | Omitted = None
    runtime: Runtime | Omitted = None
    response_style: ResponseStyle | Omitted = None
    always_show_code: AlwaysShowCode | Omitted = None
    is_premium: ReadOnly = None
    updated_at: ReadOnly = None


class SettingsChange(Body):
    """Settings to update."""

    settings: ChosenSettings


class UserSettings(Model):
    """All settings of a user."""

    model: LanguageModel
    theme: Theme
    context: Context
    runtime: Runtime
    is_premium: Annotated[bool, describe_field("Whether the user has a premium account. Read-only.", False)]
    response_style: ResponseStyle
    always_show_code: AlwaysShowCode
    updated_at: Timestamp


class Settings(Model):
    """The caller's settings."""

    settings: UserSettings
