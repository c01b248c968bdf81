"""A program with the client that openapi-python-client generates from the API's document, checked by mypy.

Its arguments are the API's URL, a user's token, another user's id and a file with an image.
"""

import sys
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import httpx
from parley_client import AuthenticatedClient
from parley_client.api.chats import (
    add_member,
    create_chat,
    delete_message,
    get_message,
    list_members,
    list_messages,
    mark_read,
    send_message,
    update_message,
)
from parley_client.api.profile import get_profile, set_image, update_profile
from parley_client.api.search import search
from parley_client.api.settings import get_settings, update_settings
from parley_client.api.sync import sync
from parley_client.api.users import list_users
from parley_client.models import (
    ChosenSettings,
    Error,
    Events,
    InitialState,
    ListMessagesType,
    MessageChange,
    MessageChangeType,
    MessageSent,
    NewChat,
    NewMember,
    NewMessage,
    NewMessageType,
    ProblemCode,
    ProfileChange,
    ReadMarker,
    SentMessage,
    SetImageBody,
    SettingsChange,
)
from parley_client.types import File, Unset

T = TypeVar("T")


def body(response: T | Error | None) -> T:
    """Return a response that is not an error."""
    assert not isinstance(response, Error | None), response
    return response


def use_api(client: AuthenticatedClient, friend: str, picture: Path) -> None:
    """Send requests as a web app does."""
    chat = body(create_chat.sync(client=client, body=NewChat(title="Plans")))
    member = body(add_member.sync(chat.id, client=client, body=NewMember(user_id=friend)))
    assert member.role == "member"
    page = body(list_members.sync(chat.id, client=client, after=member.user_id))
    assert (page.members, page.total) == ([], 2)
    shared = NewChat(title="Plans", members=[friend, NewMember(email="nobody@example.org")])
    unshared = create_chat.sync(client=client, body=shared)
    assert isinstance(unshared, Error)
    assert not isinstance(unshared.error.details, Unset)
    assert unshared.error.details.fields.to_dict() == {"members[1]": "is not a known user"}
    assert body(list_users.sync(client=client, email="nobody@example.org")).users == []

    first = send(client, chat.id, NewMessage(content="Hello world"))
    second = send(client, chat.id, NewMessage(content="Hello again"))
    third = send(client, chat.id, NewMessage(content="1 + 1", type_=NewMessageType.CODE))
    texts = ListMessagesType.TEXT
    page = body(list_messages.sync(chat.id, client=client, type_=texts, limit=1, start_date=first.created_at))
    assert (page.total, page.page, [message.id for message in page.messages]) == (2, 1, [second.id])
    older = body(list_messages.sync(chat.id, client=client, type_=texts, before=second.id))
    assert (older.page, [message.id for message in older.messages]) == (None, [first.id])
    synchronize(client, chat.id)
    marked = body(mark_read.sync(chat.id, client=client, body=ReadMarker(message_id=first.id)))
    assert (marked.last_read_message_id, marked.unread_count) == (third.id, 0)
    found = body(search.sync(client=client, search="hello -again"))
    assert [(hit.chat_id, hit.extract) for hit in found.messages] == [(chat.id, "<mark>Hello</mark> world")]

    change = MessageChange(type_=MessageChangeType.CODE)
    edited = body(update_message.sync(chat.id, first.id, client=client, body=change))
    assert (edited.content, edited.type_) == ("Hello world", "code")
    assert delete_message.sync_detailed(chat.id, first.id, client=client).status_code == 204
    missing = get_message.sync(chat.id, first.id, client=client)
    assert isinstance(missing, Error)
    assert missing.error.code is ProblemCode.NOT_FOUND
    untitled = create_chat.sync(client=client, body=NewChat(title=""))
    assert isinstance(untitled, Error)
    assert not isinstance(untitled.error.details, Unset)
    assert untitled.error.details.fields["title"] == "must be 1 to 200 characters"

    settings = body(get_settings.sync(client=client)).settings
    put_back = SettingsChange(settings=ChosenSettings.from_dict(settings.to_dict()))
    assert body(update_settings.sync(client=client, body=put_back)).settings == settings

    body(update_profile.sync(client=client, body=ProfileChange(name="Alice")))
    with picture.open("rb") as content:
        file = File(payload=content, file_name=picture.name, mime_type="image/png")
        image = body(set_image.sync(client=client, body=SetImageBody(image=file)))
    user = body(get_profile.sync(client=client)).user
    assert (user.name, user.image_url) == ("Alice", image.image_url)
    assert httpx.get(image.image_url).headers["Content-Type"] == "image/png"

    event = MessageSent.from_dict(first.to_dict())  # an event has the same fields
    assert (event.id, event.created_at, event.content) == (first.id, first.created_at, first.content)
    assert isinstance(event.truncated, Unset)


def synchronize(client: AuthenticatedClient, chat: UUID) -> None:
    """Get the state of the only chat, and the events since then."""
    start = body(sync.sync(client=client))
    assert isinstance(start, InitialState)
    assert [(one.id, one.unread_count) for one in start.chats] == [(chat, 0)]
    since = body(sync.sync(client=client, after=start.cursor))
    assert isinstance(since, Events)
    assert (since.events, since.has_more) == ([], False)


def send(client: AuthenticatedClient, chat: UUID, message: NewMessage) -> SentMessage:
    """Send a message."""
    return body(send_message.sync(chat, client=client, body=message))


if __name__ == "__main__":
    api, session, other, image_file = sys.argv[1:]
    with AuthenticatedClient(base_url=api, token=session) as authenticated:
        use_api(authenticated, other, Path(image_file))
