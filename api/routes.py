"""The route table: for each method and path, the SQL function that responds, its arguments and its documentation."""

import re
from dataclasses import dataclass

from pydantic import BaseModel

from api.images.kinds import CHAT_IMAGE, PROFILE_IMAGE, ImageKind
from api.openapi import models

# The response headers of the settings that a function sets. `links` becomes the header Link, see api.http.links.
RESPONSE_HEADERS = {"chat_seq": "X-Chat-Seq", "etag": "ETag"}


@dataclass(frozen=True, slots=True)
class Route:
    """A route. The parameters of `function` are those of the path, then of the query, in snake_case, then the body.

    The SQL statement depends on:

    - `body`: the request has a JSON body of this model;
    - `image_kind`: the request is a form with an image of this kind, whose properties are parameters of the function;
    - `pusher_fields`: the request is a form of Pusher's clients with these fields, and the function's result is signed
      for Pusher; a name that ends with `[]` denotes an array;
    - `response_headers`: settings that the function sets in addition to its result: `links` to neighbouring pages;
      `chat_seq`, the last event of the chat that the result reflects; `etag`, the version of the result, for which a
      conditional GET returns 304;
    - `primary_only`: a replica must not run it.

    `summary`, `response`, `required_query` and `errors` are for the OpenAPI document only; `errors` are the statuses
    that do not follow from the other fields.
    """

    method: str
    path: str
    function: str
    summary: str
    response: type[BaseModel] | None = None
    query: tuple[str, ...] = ()
    required_query: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    image_kind: ImageKind | None = None
    pusher_fields: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    primary_only: bool = False
    errors: tuple[int, ...] = ()
    status: int = 200

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The names in angle brackets."""
        return tuple(re.findall(r"<(\w+)>", self.path))

    @property
    def accepts_idempotency_key(self) -> bool:
        """Whether a repeat with the same Idempotency-Key gets the first response."""
        return self.method == "POST"

    @property
    def is_write(self) -> bool:
        """Whether other requests can see a change. Those of Pusher's clients only record the authorization."""
        return self.method != "GET" and not self.pusher_fields

    @property
    def allows_cookie(self) -> bool:
        """Whether a session cookie is sufficient: safe methods (RFC 9110, section 9.2.1), and Pusher's clients."""
        return not self.is_write

    @property
    def _call(self) -> str:
        """The call of the function, with arguments from $5 on."""
        names = [*self.path_parameters, *map(to_snake_case, self.query)]
        names += [name.replace("[]", "s") for name in self.pusher_fields]
        names += self.image_kind.sql_parameters if self.image_kind else ()
        arguments = [f'"{name}" => ${number}' for number, name in enumerate(names, start=5)]
        if self.body:
            arguments.append(f"body => api.parse_json(${len(names) + 5})")
        return f"{self.function}({', '.join(arguments)})"

    @property
    def rejecting_statement(self) -> str:
        """The statement for a request with unknown or repeated query parameters, whose names are $3 and $4.

        It raises an error that also lists the other invalid fields of the request, or an error of the function such as
        404. So it changes nothing. Uploads are rejected before the image is received.
        """
        call = "null" if self.image_kind else self._call
        authenticated = "session.authenticate($1, $2), session.set_parameter_errors($3, $4)"
        subquery = f"select {call} as response from {authenticated} offset 0"  # noqa: S608 (as below)
        return f"select response, session.raise_parameter_errors() from ({subquery}) request"  # noqa: S608 (as below)

    @property
    def statement(self) -> str:
        """The SQL statement. Its row has the response body, then the values of `response_headers`.

        $1 is the caller's identity and $2 the request's id; $3 and $4 are If-Match and If-None-Match; the rest are the
        arguments of the function. If the route accepts an Idempotency-Key, $3 and $4 are the key and the request's
        fingerprint, and the second value is whether the body is a stored response.
        """
        call = self._call
        if self.accepts_idempotency_key:
            # Authorize channels anew before the stored response is returned: the caller may have been removed.
            repeat = f"parley.restrict_authorization(stored, {call})" if self.pusher_fields else "stored"
            body = f"case when stored is null then session.store_response($3, $4, {call}) else {repeat} end"
            return f"select {body}, stored is not null from session.authenticate_idempotent($1, $2, $3, $4) stored"  # noqa: S608 (names from the table below)
        # OFFSET 0 keeps the function in the subquery, so that it runs before the settings that it sets are read. If the
        # response is a 304, some are not set.
        columns = ["response", *(f"current_setting('response.{name}', true)" for name in self.response_headers)]
        authenticated = f"select {call} as response from session.authenticate($1, $2, $3, $4) offset 0"  # noqa: S608 (as above)
        return f"select {', '.join(columns)} from ({authenticated}) request"  # noqa: S608 (as above)

    @property
    def authorization_statement(self) -> str:
        """The SQL statement that authorizes an upload before its body is received. It returns the caller's identity.

        $1 is the caller's identity and $2 the request's id; the rest are the parameters of the path.
        """
        arguments = [f'"{name}" => ${number}' for number, name in enumerate(self.path_parameters, start=3)]
        return f"select api.authorize_upload({', '.join(arguments)})::text from session.authenticate($1, $2)"  # noqa: S608 (names from the table below)


def to_snake_case(name: str) -> str:
    """Convert the name of a query parameter to that of an SQL parameter: `startDate` to `start_date`."""
    return re.sub(r"(?=[A-Z])", "_", name).lower()


CHAT = "/api/chats/<chat_id>"
MEMBERS = f"{CHAT}/members"
MEMBER = f"{MEMBERS}/<user_id>"
MESSAGES = f"{CHAT}/messages"
MESSAGE = f"{MESSAGES}/<message_id>"
CURSORS = ("before", "after")
FILTERS = ("page", "limit", "type", "search", "startDate", "endDate", "sort", *CURSORS)

ROUTES = (
    Route("GET", "/api/chats", "api.list_chats", "List the caller's chats, latest activity first", models.Chats,
          query=("page", "limit", *CURSORS, "include"), response_headers=("links",)),
    Route("POST", "/api/chats", "api.create_chat", "Create a chat", models.CreatedChat,
          body=models.NewChat, status=201),
    Route("GET", CHAT, "api.get_chat", "Get a chat", models.Chat, response_headers=("chat_seq", "etag")),
    Route("PUT", CHAT, "api.update_chat", "Rename a chat; its owner only", models.Chat, body=models.ChatChange,
          response_headers=("etag",)),
    Route("DELETE", CHAT, "api.delete_chat", "Delete a chat with all in it; its owner only", status=204),
    Route("GET", MEMBERS, "api.list_members", "List a chat's members, the longest-standing first", models.Members,
          query=("page", "limit", *CURSORS), response_headers=("links", "chat_seq")),
    Route("POST", MEMBERS, "api.add_member", "Add a member; the owner only", models.Member,
          body=models.NewMember, errors=(409,), status=201),
    Route("PUT", MEMBER, "api.update_member", "Make a member the chat's owner; its owner only", models.Member,
          body=models.MemberChange),
    Route("DELETE", MEMBER, "api.remove_member",
          "Remove a member, as the owner, or leave, as anybody else", errors=(409,), status=204),
    Route("GET", MESSAGES, "api.list_messages", "List or search a chat's messages, newest first", models.Messages,
          query=(*FILTERS, "include", "around"), response_headers=("links", "chat_seq", "etag")),
    Route("POST", MESSAGES, "api.send_message", "Send a message", models.SentMessage,
          body=models.NewMessage, status=201),
    Route("GET", MESSAGE, "api.get_message", "Get a message", models.MessageWithUsers, query=("include",),
          response_headers=("chat_seq", "etag")),
    Route("PUT", MESSAGE, "api.update_message", "Change a message; its author only", models.ChangedMessage,
          body=models.MessageChange, response_headers=("etag",)),
    Route("DELETE", MESSAGE, "api.delete_message", "Delete a message; its author or the chat's owner", status=204),
    Route("PUT", f"{CHAT}/read", "api.mark_read", "Mark a message, and all older ones, as read", models.ReadState,
          body=models.ReadMarker),
    Route("GET", "/api/sync", "api.sync", "Get the initial state of a client, or the events since a cursor",
          models.Sync, query=("after", "limit", "include"), primary_only=True, errors=(410,)),
    Route("POST", f"{CHAT}/images", "api.add_chat_image", "Upload an image for a message", models.ChatImage,
          image_kind=CHAT_IMAGE, status=201),
    Route("GET", f"{CHAT}/events", "api.list_chat_events", "List the events of a chat after a `seq`",
          models.ChatEvents, query=("after", "limit", "include"), required_query=("after",),
          response_headers=("chat_seq",), primary_only=True, errors=(410,)),
    Route("GET", "/api/events", "api.list_events", "List the events of all of the caller's chats", models.Events,
          query=("after", "limit", "include"), primary_only=True, errors=(410,)),
    Route("GET", "/api/search", "api.search", "Search all of the caller's chats", models.Hits,
          query=(*FILTERS, "include"), required_query=("search",), response_headers=("links",)),
    Route("GET", "/api/users", "api.list_users", "Find the user with an e-mail address", models.Users,
          query=("email",), required_query=("email",)),
    Route("POST", "/api/pusher/auth", "api.authorize_channel", "Authorize a subscription to a channel at Pusher",
          models.ChannelAuthorizations, pusher_fields=("socket_id", "channel_name", "channel_name[]"),
          primary_only=True, errors=(403,)),
    Route("POST", "/api/pusher/user-auth", "api.authorize_user", "Sign the caller in at Pusher", models.SignedIn,
          pusher_fields=("socket_id",), primary_only=True),
    Route("GET", "/api/profile", "api.get_profile", "Get the caller's profile", models.Profile,
          response_headers=("etag",)),
    Route("PUT", "/api/profile", "api.update_profile", "Change the caller's name or e-mail address",
          models.ChangedProfile, body=models.ProfileChange, response_headers=("etag",), errors=(409,)),
    Route("POST", "/api/profile/image", "api.set_image", "Change the caller's picture", models.ChangedImage,
          image_kind=PROFILE_IMAGE),
    Route("GET", "/api/settings", "api.get_settings", "Get the caller's settings", models.Settings,
          response_headers=("etag",)),
    Route("PUT", "/api/settings", "api.update_settings", "Change the caller's settings", models.Settings,
          body=models.SettingsChange, response_headers=("etag",)),
)  # fmt: skip
