"""The table of routes: method, path, the SQL function that answers, and where its arguments come from."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """One route. The function's parameters are the path's, then the query's, in snake_case, then `body`.

    A route with `image` takes a form with an image instead, and its function the URL of that. One with `form` takes
    those fields of a form, as Pusher's clients send them, and signs for Pusher what its function answers. The function
    of one that is `paged` says in the setting `parley.links` which pages are next to the answered one.
    """

    method: str
    path: str
    function: str
    query: tuple[str, ...] = ()
    body: bool = False
    image: bool = False
    form: tuple[str, ...] = ()
    status: int = 200

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The names in angle brackets."""
        return tuple(re.findall(r"<(\w+)>", self.path))

    @property
    def paged(self) -> bool:
        """Whether it answers page by page."""
        return "page" in self.query

    @property
    def changes_nothing(self) -> bool:
        """Whether it may be asked on behalf of a user who does not know of it."""
        return self.method == "GET" or bool(self.form)

    @property
    def statement(self) -> str:
        """The one statement: $1 is the caller's identity, the rest are the function's arguments in order."""
        names = [*self.path_parameters, *map(snake_case, self.query), *self.form, *["image_url"] * self.image]
        arguments = [f'"{name}" => ${number}' for number, name in enumerate(names, start=2)]
        if self.body:
            arguments.append(f"body => api.parse_json(${len(names) + 2})")
        links = ", current_setting('parley.links')" if self.paged else ""  # a select list is evaluated in its order
        return f"select {self.function}({', '.join(arguments)}){links} from session.begin($1)"  # noqa: S608 (names from the table below)


def snake_case(name: str) -> str:
    """`startDate` as SQL writes it: `start_date`."""
    return re.sub(r"(?=[A-Z])", "_", name).lower()


CHAT = "/api/chats/<chat_id>"
MEMBERS = f"{CHAT}/members"
MESSAGES = f"{CHAT}/messages"
MESSAGE = f"{MESSAGES}/<message_id>"
CURSORS = ("before", "after")
FILTERS = ("page", "limit", "type", "search", "startDate", "endDate", "sort", *CURSORS)

ROUTES = (
    Route("GET", "/api/chats", "api.list_chats", query=("page", "limit", *CURSORS)),
    Route("POST", "/api/chats", "api.create_chat", body=True, status=201),
    Route("GET", CHAT, "api.get_chat"),
    Route("PUT", CHAT, "api.update_chat", body=True),
    Route("DELETE", CHAT, "api.delete_chat", status=204),
    Route("GET", MEMBERS, "api.list_members"),
    Route("POST", MEMBERS, "api.add_member", body=True, status=201),
    Route("DELETE", f"{MEMBERS}/<user_id>", "api.remove_member", status=204),
    Route("GET", MESSAGES, "api.list_messages", query=FILTERS),
    Route("POST", MESSAGES, "api.send_message", body=True, status=201),
    Route("GET", MESSAGE, "api.get_message"),
    Route("PUT", MESSAGE, "api.update_message", body=True),
    Route("DELETE", MESSAGE, "api.delete_message", status=204),
    Route("GET", "/api/search", "api.search", query=FILTERS),
    Route("POST", "/api/pusher/auth", "api.authorize_channel", form=("socket_id", "channel_name")),
    Route("POST", "/api/pusher/user-auth", "api.authorize_user", form=("socket_id",)),
    Route("GET", "/api/profile", "api.get_profile"),
    Route("PUT", "/api/profile", "api.update_profile", body=True),
    Route("POST", "/api/profile/image", "api.set_image", image=True),
    Route("GET", "/api/settings", "api.get_settings"),
    Route("PUT", "/api/settings", "api.update_settings", body=True),
)
