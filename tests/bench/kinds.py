"""What is asked in tests.bench.throughput: three kinds of requests, for HTTP and, as the same statements, for pgbench.

Users are random ones of all, each with an address and a token of their own, that Parley has verified before. A page is
the newest of a chat of the user's: of the large one in one request of ten, of one of a hundred messages else. Searches
are in the same chats, for one of the words of tests.bench.dataset. Messages of a usual length are sent to random chats
of a hundred, so that not all wait for the row of one chat.
"""

import json
import random
import time
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from api.routes import MESSAGES, ROUTES, Route
from tests.bench.clients import request
from tests.bench.dataset import CHAT_ID, GROUPS, LARGE, USERS, Data, user_id
from tests.support import token

OF_THE_LARGE_CHAT = 0.1
REQUESTS = 20_000  # different ones
TOKEN_SECONDS = 86_400
REQUEST_ID = "lpad(:request, 36, '0')"


@dataclass(frozen=True)
class Kind:
    """One kind of request, and what a page of results calls it."""

    name: str
    title: str
    method: str
    status: int
    large: float  # the share of the large chat

    @property
    def route(self) -> Route:
        """The API's."""
        return next(route for route in ROUTES if (route.method, route.path) == (self.method, MESSAGES))


KINDS = (
    Kind("page", "GET a page of 50", "GET", 200, OF_THE_LARGE_CHAT),
    Kind("send", "POST a message", "POST", 201, 0),
    Kind("search", "GET with search", "GET", 200, OF_THE_LARGE_CHAT),
)


def requests(data: Data, kind: Kind, seed: int, number: int = REQUESTS) -> list[bytes]:
    """Requests as they go to any of the servers, in an order that the seed makes."""
    chance = random.Random(seed)  # noqa: S311
    return [_request(data, kind, chance) for _ in range(number)]


@cache
def tokens() -> list[str]:
    """One for each user, the same each time: servers store_response those that they have verified."""
    return [token(user_id(user), exp=int(time.time()) + TOKEN_SECONDS) for user in range(USERS)]


def _request(data: Data, kind: Kind, chance: random.Random) -> bytes:
    user = chance.randrange(USERS)
    path = MESSAGES.replace("<chat_id>", data.random_chat(chance, user, kind.large))
    path += f"?search={quote(chance.choice(data.words))}" * (kind.name == "search")
    body = {"content": chance.choice(data.texts)} if kind.method == "POST" else None
    return request(kind.method, path, tokens()[user], body, X_Forwarded_For=f"10.0.{user // 250}.{user % 250}")


def scripts(data: Data, kind: Kind) -> dict[str, int]:
    """The same for pgbench: scripts, each with how often it is taken."""
    shares = {False: round(100 * (1 - kind.large)), True: round(100 * kind.large)}
    return {_script(data, kind, is_large): share for is_large, share in shares.items() if share}


def _script(data: Data, kind: Kind, is_large: bool) -> str:
    """The API's own statement, with random values in place of its parameters, and null where nothing is asked."""
    route = kind.route
    values = {
        "identity": """('{"sub": "user ' || :user || '"}')::jsonb""",
        "request_id": REQUEST_ID,
        "chat_id": f"{CHAT_ID.format(number=LARGE if is_large else ':chat')}::text",
        "search": one_of("word", [quoted(word) for word in data.words]) if kind.name == "search" else "null",
        "body": one_of("text", [as_bytes({"content": text}) for text in data.texts]),
    }
    names = ["identity", "request_id", *["no condition"] * 2, *route.path_parameters, *route.query]
    names += ["body"] * bool(route.body)
    statement = route.statement
    for number, name in reversed(list(enumerate(names, start=1))):
        statement = statement.replace(f"${number}", values.get(name, "null"))
    return (
        f"\\set user random(0, {USERS - 1})\n"
        f"\\set group case when mod(:user, {GROUPS}) = 0 then {GROUPS} else mod(:user, {GROUPS}) end\n"
        f"\\set chat :group + {GROUPS} * random(0, {data.chats // GROUPS - 1})\n"
        f"\\set word random(1, {len(data.words)})\n"
        f"\\set text random(1, {len(data.texts)})\n"
        "\\set request random(1, 1000000000)\n"
        f"{statement};\n"
    )


def one_of(variable: str, values: list[str]) -> str:
    """An expression of one of these constants."""
    return f"(array[{', '.join(values)}])[:{variable}]"


def quoted(text: str) -> str:
    """A constant."""
    return "'" + text.replace("'", "''") + "'"


def as_bytes(body: dict[str, str]) -> str:
    """JSON as the API passes it on."""
    return f"'\\x{json.dumps(body, ensure_ascii=False).encode().hex()}'::bytea"
