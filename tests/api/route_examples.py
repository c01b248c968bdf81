"""A chat with its users, and an example request and response for every route."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from api.routes import Route
from tests import images
from tests.api.support import INSTANT, UUID7, Matching, unlimited_client
from tests.api_process import Api
from tests.database import CHOSEN_SETTINGS, DEFAULT_SETTINGS
from tests.tokens import new_user

SENT = {"id": UUID7, "content": "hello", "type": "text", "userId": "<owner>", "createdAt": INSTANT}
CHAT = {"id": UUID7, "title": "Plans", "role": "owner", "lastMessage": SENT} | dict.fromkeys(
    ("createdAt", "updatedAt", "lastMessageAt"), INSTANT
)
CHAT |= {"unreadCount": 0, "lastReadMessageId": "<message_id>", "memberCount": 2}
CODE = {"content": "f()", "type": "code"}
MESSAGE = SENT | {"updatedAt": INSTANT}
SYNC_CHAT = CHAT | {"seq": 3, "channel": Matching(r"private-user-[\w-]+")}
SYNC_CHAT["lastMessage"] = SENT | {"author": {"id": "<owner>", "name": None, "imageUrl": None}}
PAGE = {"total": 1, "page": 1, "limit": 50}
MEMBER = {"userId": "<member>", "name": None, "image": None, "role": "member", "joinedAt": INSTANT}
MEMBER |= {"lastReadMessageId": None}
OWNER = MEMBER | {"userId": "<owner>", "role": "owner", "lastReadMessageId": "<message_id>"}
KNOWN = MEMBER | {"userId": "<known>"}
EMAIL = "<owner>@example.org"
STORED_IMAGE = Matching(r"http://127\.0\.0\.1:\d+/images/[0-9a-f]{64}\.png")
USER = {"name": None, "email": None, "updatedAt": INSTANT}
SETTINGS = DEFAULT_SETTINGS | {"updatedAt": INSTANT}

# For each route: a valid body, and the response to the owner of a chat with one message and one other member.
EXAMPLES: dict[tuple[str, str], tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
    ("GET", "/api/chats"): (None, {"chats": [CHAT]} | PAGE),
    ("POST", "/api/chats"): (
        {"title": "Ideas", "members": ["<member>", {"userId": "<known>"}]},
        {"id": UUID7, "title": "Ideas", "createdAt": INSTANT},
    ),
    ("GET", "/api/chats/<chat_id>"): (None, CHAT),
    ("PUT", "/api/chats/<chat_id>"): ({"title": "Plan B"}, CHAT | {"title": "Plan B"}),
    ("DELETE", "/api/chats/<chat_id>"): (None, None),
    ("GET", "/api/chats/<chat_id>/members"): (
        None,
        {"members": [OWNER, MEMBER], "total": 2, "page": 1, "limit": 100},
    ),
    ("POST", "/api/chats/<chat_id>/members"): ({"userId": "<known>"}, KNOWN),
    ("PUT", "/api/chats/<chat_id>/members/<user_id>"): ({"role": "owner"}, MEMBER | {"role": "owner"}),
    ("DELETE", "/api/chats/<chat_id>/members/<user_id>"): (None, None),
    ("GET", "/api/chats/<chat_id>/messages"): (None, {"messages": [MESSAGE]} | PAGE),
    ("POST", "/api/chats/<chat_id>/messages"): (CODE, SENT | CODE),
    ("GET", "/api/chats/<chat_id>/messages/<message_id>"): (None, MESSAGE),
    ("PUT", "/api/chats/<chat_id>/messages/<message_id>"): (
        {"content": "bye"},
        {"id": UUID7, "content": "bye", "type": "text", "updatedAt": INSTANT},
    ),
    ("DELETE", "/api/chats/<chat_id>/messages/<message_id>"): (None, None),
    ("PUT", "/api/chats/<chat_id>/read"): (
        {"messageId": "<message_id>"},
        {"lastReadMessageId": "<message_id>", "unreadCount": 0},
    ),
    ("GET", "/api/sync"): (
        None,
        {
            "cursor": Matching(r"[\w-]+"),
            "user": {"id": "<owner>", "imageUrl": None} | USER,
            "settings": SETTINGS,
            "chats": [SYNC_CHAT],
            "total": 1,
            "limit": 50,
        },
    ),
    ("POST", "/api/chats/<chat_id>/images"): (None, {"imageUrl": STORED_IMAGE, "width": 9, "height": 9}),
    ("GET", "/api/chats/<chat_id>/events"): (
        None,
        {
            "events": [{"chatId": "<chat_id>", "seq": 3, "event": "message:sent", "data": SENT, "at": INSTANT}],
            "next": 3,
            "hasMore": False,
        },
    ),
    ("GET", "/api/events"): (None, {"events": [], "next": Matching(r"[\w-]+"), "hasMore": False}),
    ("GET", "/api/search"): (
        None,
        {"messages": [MESSAGE | {"chatId": "<chat_id>", "extract": "<mark>hello</mark>"}]} | PAGE,
    ),
    ("POST", "/api/pusher/auth"): (
        {"socket_id": "1.2", "channel_name": "private-chat-<chat_id>"},
        {"auth": Matching(r"key:[0-9a-f]{64}")},
    ),
    ("POST", "/api/pusher/user-auth"): (
        {"socket_id": "1.2"},
        {
            "auth": Matching(r"key:[0-9a-f]{64}"),
            "user_data": Matching(r'\{"id": "[\w-]+", "user_info": \{"userId": .*\}\}'),
        },
    ),
    ("GET", "/api/users"): (None, {"users": [{"id": "<known>", "name": None, "imageUrl": None}]}),
    ("GET", "/api/profile"): (None, {"user": {"id": "<owner>", "imageUrl": None} | USER}),
    ("PUT", "/api/profile"): (
        {"name": "Ada", "email": EMAIL},
        {"user": {"name": "Ada", "email": EMAIL, "updatedAt": INSTANT}},
    ),
    ("POST", "/api/profile/image"): (
        None,
        {"imageUrl": STORED_IMAGE, "updatedAt": INSTANT},
    ),
    ("GET", "/api/settings"): (None, {"settings": SETTINGS}),
    ("PUT", "/api/settings"): ({"settings": CHOSEN_SETTINGS}, {"settings": SETTINGS | CHOSEN_SETTINGS}),
}

QUERIES = {
    "/api/search": {"search": "hello"},
    "/api/chats/<chat_id>/events": {"after": "2"},
    "/api/users": {"email": "<known>@example.org"},
}  # queries of the routes that require one


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@dataclass
class RouteExamples:
    """A chat with one message of its owner; clients of the owner, of a member, and of a stranger; and a known user."""

    owner: httpx.Client
    member: httpx.Client
    stranger: httpx.Client
    ids: dict[str, str]

    def with_ids(self, **ids: str) -> "RouteExamples":
        """Return these examples with other ids."""
        return replace(self, ids=self.ids | ids)

    def fill(self, value: Any) -> Any:
        """Replace the names in angle brackets by ids."""
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return (
            re.sub(r"<(\w+)>", lambda name: self.ids.get(name[1], name[0]), value) if isinstance(value, str) else value
        )

    def request(self, client: httpx.Client, route: Route, **options: Any) -> httpx.Response:
        """Request a route, with the body of its example or an image, unless another is given."""
        body, _ = EXAMPLES[route.method, route.path]
        options["params"] = self.fill(options.get("params", QUERIES.get(route.path)))
        if route.image_kind:
            options["files"] = {"image": images.build_png(9, 9)}
        elif route.pusher_fields and not options.keys() & {"data", "json", "content"}:
            options["data"] = self.fill(body)
        elif body and not options.keys() & {"json", "content"}:
            options["json"] = self.fill(body)
        return client.request(route.method, self.fill(route.path), **options)


@contextmanager
def new_route_examples(api: Api) -> Iterator[RouteExamples]:
    names = {name: new_user(name) for name in ("owner", "member", "stranger", "known")}
    with (
        unlimited_client(api, names["owner"]) as owner,
        unlimited_client(api, names["member"]) as member,
        unlimited_client(api, names["stranger"]) as stranger,
        unlimited_client(api, names["known"]) as known,
    ):
        member.get("/api/chats")
        known.put("/api/profile", json={"email": f"{names['known']}@example.org"})
        chat = owner.post("/api/chats", json={"title": "Plans"}).json()["id"]
        owner.post(f"/api/chats/{chat}/members", json={"userId": names["member"]})
        message = owner.post(f"/api/chats/{chat}/messages", json={"content": "hello"}).json()["id"]
        ids = {"chat_id": chat, "message_id": message, "user_id": names["member"]}
        yield RouteExamples(owner, member, stranger, names | ids)
