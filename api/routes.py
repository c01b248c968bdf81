"""The table of routes: method, path, the SQL function that answers, where its arguments come from, what it is about."""

import re
from dataclasses import dataclass

from pydantic import BaseModel

from api.openapi import models


@dataclass(frozen=True, slots=True)
class Route:
    """One route. The function's parameters are the path's, then the query's, in snake_case, then `body`.

    `summary`, `answer`, `body`, `required` (of the query) and `errors` are for the OpenAPI document; `errors` are those
    that the rest does not tell. A route with `image` takes a form with an image instead, and its function the URL of
    that. One with `form` takes those fields of a form, as Pusher's clients send them, and signs for Pusher what its
    function answers. `says` are settings `parley.…` in which the function tells more than its answer does: `links`,
    which pages are next to it; `chat_seq`, up to which event of the chat it is true; `etag`, which version it is: a GET
    that the caller has is answered by that alone. One that is `always_fresh` is answered by the primary alone.
    """

    method: str
    path: str
    function: str
    summary: str
    answer: type[BaseModel] | None = None
    query: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    image: bool = False
    form: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    always_fresh: bool = False
    errors: tuple[int, ...] = ()
    status: int = 200

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The names in angle brackets."""
        return tuple(re.findall(r"<(\w+)>", self.path))

    @property
    def can_be_repeated(self) -> bool:
        """Whether a repeat with the same Idempotency-Key gets the first answer."""
        return self.method == "POST"

    @property
    def changes_nothing(self) -> bool:
        """Whether it may be asked on behalf of a user who does not know of it."""
        return self.method == "GET" or bool(self.form)

    @property
    def statement(self) -> str:
        """The one statement, whose row has the answer, and what the route `says`, or whether the answer is repeated.

        $1 is the caller's identity, $2 the request's id; $3 and $4 are If-Match and If-None-Match or, where it can be
        repeated, Idempotency-Key and the request's fingerprint; the rest are the function's arguments.
        """
        names = [*self.path_parameters, *map(snake_case, self.query), *self.form, *["image_url"] * self.image]
        arguments = [f'"{name}" => ${number}' for number, name in enumerate(names, start=5)]
        if self.body:
            arguments.append(f"body => api.parse_json(${len(names) + 5})")
        call = f"{self.function}({', '.join(arguments)})"
        if self.can_be_repeated:
            # Pusher's clients are told nothing again that they may not hear any more.
            again = f"case when {call} is not null then once end" if self.form else "once"
            answer = f"case when once is null then session.store_response($3, $4, {call}) else {again} end"
            return f"select {answer}, once is not null from session.authenticate_idempotent($1, $2, $3, $4) once"  # noqa: S608 (names from the table below)
        # OFFSET 0 keeps the function in the subquery, which PostgreSQL evaluates before the settings that it sets.
        columns = ["response", *(f"current_setting('response.{name}', true)" for name in self.says)]
        authenticated = f"select {call} as response from session.authenticate($1, $2, $3, $4) offset 0"  # noqa: S608 (as above)
        return f"select {', '.join(columns)} from ({authenticated}) request"  # noqa: S608 (as above)


def snake_case(name: str) -> str:
    """`startDate` as SQL writes it: `start_date`."""
    return re.sub(r"(?=[A-Z])", "_", name).lower()


SAID_IN = {"chat_seq": "X-Chat-Seq", "etag": "ETag"}  # the headers for what a route says

CHAT = "/api/chats/<chat_id>"
MEMBERS = f"{CHAT}/members"
MESSAGES = f"{CHAT}/messages"
MESSAGE = f"{MESSAGES}/<message_id>"
CURSORS = ("before", "after")
FILTERS = ("page", "limit", "type", "search", "startDate", "endDate", "sort", *CURSORS)

ROUTES = (
    Route("GET", "/api/chats", "api.list_chats", "List the caller's chats, latest activity first", models.Chats,
          query=("page", "limit", *CURSORS), says=("links",)),
    Route("POST", "/api/chats", "api.create_chat", "Create a chat", models.CreatedChat,
          body=models.NewChat, status=201),
    Route("GET", CHAT, "api.get_chat", "Get a chat", models.Chat, says=("chat_seq", "etag")),
    Route("PUT", CHAT, "api.update_chat", "Rename a chat; its owner only", models.Chat, body=models.ChatChange,
          says=("etag",)),
    Route("DELETE", CHAT, "api.delete_chat", "Delete a chat with all in it; its owner only", status=204),
    Route("GET", MEMBERS, "api.list_members", "List a chat's members", models.Members, says=("chat_seq",)),
    Route("POST", MEMBERS, "api.add_member", "Add a member; the owner only", models.Member,
          body=models.NewMember, errors=(409,), status=201),
    Route("DELETE", f"{MEMBERS}/<user_id>", "api.remove_member",
          "Remove a member, as the owner, or leave, as anybody else", errors=(409,), status=204),
    Route("GET", MESSAGES, "api.list_messages", "List or search a chat's messages, newest first", models.Messages,
          query=FILTERS, says=("links", "chat_seq", "etag")),
    Route("POST", MESSAGES, "api.send_message", "Send a message", models.SentMessage,
          body=models.NewMessage, status=201),
    Route("GET", MESSAGE, "api.get_message", "Get a message", models.Message, says=("chat_seq", "etag")),
    Route("PUT", MESSAGE, "api.update_message", "Change a message; its author only", models.ChangedMessage,
          body=models.MessageChange, says=("etag",)),
    Route("DELETE", MESSAGE, "api.delete_message", "Delete a message; its author or the chat's owner", status=204),
    Route("GET", f"{CHAT}/events", "api.list_chat_events", "List what happened in a chat after an event of it",
          models.ChatEvents, query=("after", "limit"), required=("after",), says=("chat_seq",), always_fresh=True,
          errors=(410,)),
    Route("GET", "/api/events", "api.list_events", "List what happened in all of the caller's chats", models.Events,
          query=("after", "limit"), always_fresh=True, errors=(410,)),
    Route("GET", "/api/search", "api.search", "Search all of the caller's chats", models.Hits, query=FILTERS,
          says=("links",), required=("search",)),
    Route("POST", "/api/pusher/auth", "api.authorize_channel", "Authorize a subscription to a channel at Pusher",
          models.Signed, form=("socket_id", "channel_name"), errors=(403,)),
    Route("POST", "/api/pusher/user-auth", "api.authorize_user", "Sign the caller in at Pusher", models.SignedIn,
          form=("socket_id",)),
    Route("GET", "/api/profile", "api.get_profile", "Get the caller's profile", models.Profile, says=("etag",)),
    Route("PUT", "/api/profile", "api.update_profile", "Change the caller's name or e-mail address",
          models.ChangedProfile, body=models.ProfileChange, says=("etag",), errors=(409,)),
    Route("POST", "/api/profile/image", "api.set_image", "Change the caller's picture", models.ChangedImage,
          image=True),
    Route("GET", "/api/settings", "api.get_settings", "Get the caller's settings", models.Settings, says=("etag",)),
    Route("PUT", "/api/settings", "api.update_settings", "Change the caller's settings", models.Settings,
          body=models.SettingsChange, says=("etag",)),
)  # fmt: skip
