"""The workloads of tests.bench.throughput: three kinds of HTTP requests, and the same statements for pgbench.

Each request comes from a random user with an address and a token of their own, which Parley has verified before. A page
is the newest of one of the user's chats: of the large chat in one request of ten, otherwise of one with a hundred
messages. Searches use the same chats, and a word of tests.bench.dataset. Messages of a usual length go to random chats
with a hundred messages, so that they do not all wait for the row of one chat.
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
from tests.tokens import token

OF_THE_LARGE_CHAT = 0.1
REQUESTS = 20_000  # different ones
TOKEN_SECONDS = 86_400
REQUEST_ID = "lpad(:request, 36, '0')"


@dataclass(frozen=True)
class Workload:
    """A kind of request, and its title in the results."""

    name: str
    title: str
    method: str
    status: int
    large: float  # the share of the large chat

    @property
    def route(self) -> Route:
        """The API's."""
        return next(route for route in ROUTES if (route.method, route.path) == (self.method, MESSAGES))


WORKLOADS = (
    Workload("page", "GET a page of 50", "GET", 200, OF_THE_LARGE_CHAT),
    Workload("send", "POST a message", "POST", 201, 0),
    Workload("search", "GET with search", "GET", 200, OF_THE_LARGE_CHAT),
)


def requests(data: Data, workload: Workload, seed: int, number: int = REQUESTS) -> list[bytes]:
    """Requests as they go to any of the servers, in an order that the seed makes."""
    chance = random.Random(seed)  # noqa: S311
    return [_request(data, workload, chance) for _ in range(number)]


@cache
def tokens() -> list[str]:
    """Return a token for each user, the same each time, because servers cache verified tokens."""
    return [token(user_id(user), exp=int(time.time()) + TOKEN_SECONDS) for user in range(USERS)]


def _request(data: Data, workload: Workload, chance: random.Random) -> bytes:
    user = chance.randrange(USERS)
    path = MESSAGES.replace("<chat_id>", data.random_chat(chance, user, workload.large))
    path += f"?search={quote(chance.choice(data.words))}" * (workload.name == "search")
    body = {"content": chance.choice(data.texts)} if workload.method == "POST" else None
    return request(workload.method, path, tokens()[user], body, X_Forwarded_For=f"10.0.{user // 250}.{user % 250}")


def scripts(data: Data, workload: Workload) -> dict[str, int]:
    """The same for pgbench: scripts, each with how often it is taken."""
    shares = {False: round(100 * (1 - workload.large)), True: round(100 * workload.large)}
    return {_script(data, workload, is_large): share for is_large, share in shares.items() if share}


def _script(data: Data, workload: Workload, is_large: bool) -> str:
    """The API's own statement, with random values in place of its parameters, and null where nothing is asked."""
    route = workload.route
    values = {
        "identity": """('{"sub": "user ' || :user || '"}')::jsonb""",
        "request_id": REQUEST_ID,
        "chat_id": f"{CHAT_ID.format(number=LARGE if is_large else ':chat')}::text",
        "search": one_of("word", [quoted(word) for word in data.words]) if workload.name == "search" else "null",
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
