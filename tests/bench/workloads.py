"""The workloads of tests.bench.throughput: three kinds of HTTP requests, and the same statements for pgbench.

Each request comes from a random user, who has their own address and token; Parley has verified the token before. A page
is the newest one of one of the user's chats: the large chat in one of ten requests, otherwise a chat of a hundred
messages. Searches use the same chats, and a word of tests.bench.dataset. Messages of a typical length are sent to
random chats of a hundred messages, so that they do not contend for the row of one chat.
"""

import json
import random
import time
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from api.routes import MESSAGES, ROUTES, Route
from tests.bench.dataset import CHAT_ID, GROUPS, LARGE_CHAT, USERS, Dataset, user_id
from tests.bench.load_generator import build_request
from tests.tokens import token

LARGE_CHAT_SHARE = 0.1
REQUESTS = 20_000  # distinct requests of a workload
TOKEN_SECONDS = 86_400
REQUEST_ID = "lpad(:request, 36, '0')"


@dataclass(frozen=True)
class Workload:
    """A kind of request; `large` is the share of requests for the large chat."""

    name: str
    title: str  # in the results
    method: str
    status: int
    large: float

    @property
    def route(self) -> Route:
        """The route of the API."""
        return next(route for route in ROUTES if (route.method, route.path) == (self.method, MESSAGES))


WORKLOADS = (
    Workload("page", "GET a page of 50", "GET", 200, LARGE_CHAT_SHARE),
    Workload("send", "POST a message", "POST", 201, 0),
    Workload("search", "GET with search", "GET", 200, LARGE_CHAT_SHARE),
)


def build_requests(data: Dataset, workload: Workload, seed: int, number: int = REQUESTS) -> list[bytes]:
    """Return the bytes of requests, which are the same for all servers; the seed determines them and their order."""
    rng = random.Random(seed)  # noqa: S311
    return [_build_request(data, workload, rng) for _ in range(number)]


@cache
def tokens() -> list[str]:
    """Return a token for each user, the same each time, because servers cache verified tokens."""
    return [token(user_id(user), exp=int(time.time()) + TOKEN_SECONDS) for user in range(USERS)]


def _build_request(data: Dataset, workload: Workload, rng: random.Random) -> bytes:
    user = rng.randrange(USERS)
    path = MESSAGES.replace("<chat_id>", data.choose_chat(rng, user, workload.large))
    path += f"?search={quote(rng.choice(data.words))}" * (workload.name == "search")
    body = {"content": rng.choice(data.texts)} if workload.method == "POST" else None
    return build_request(
        workload.method, path, tokens()[user], body, X_Forwarded_For=f"10.0.{user // 250}.{user % 250}"
    )


def build_scripts(data: Dataset, workload: Workload) -> dict[str, int]:
    """Return the scripts of a workload for pgbench, with their weights."""
    shares = {False: round(100 * (1 - workload.large)), True: round(100 * workload.large)}
    return {_build_script(data, workload, is_large): share for is_large, share in shares.items() if share}


def _build_script(data: Dataset, workload: Workload, is_large: bool) -> str:
    """Return the API's own statement, with random values in place of its parameters, and null for absent ones."""
    route = workload.route
    values = {
        "identity": """('{"sub": "user ' || :user || '"}')::jsonb""",
        "request_id": REQUEST_ID,
        "chat_id": f"{CHAT_ID.format(number=LARGE_CHAT if is_large else ':chat')}::text",
        "search": choose_one("word", [quote_literal(word) for word in data.words])
        if workload.name == "search"
        else "null",
        "body": choose_one("text", [quote_json({"content": text}) for text in data.texts]),
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


def choose_one(variable: str, values: list[str]) -> str:
    """Return an SQL expression for the value at the index that a variable of pgbench has."""
    return f"(array[{', '.join(values)}])[:{variable}]"


def quote_literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_json(body: dict[str, str]) -> str:
    """Return JSON as an SQL literal of type bytea, which is what the API passes."""
    return f"'\\x{json.dumps(body, ensure_ascii=False).encode().hex()}'::bytea"
