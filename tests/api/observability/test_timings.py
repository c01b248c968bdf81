"""Each answer of the API says in its header Server-Timing where the time went."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from api.dev.postgres import Postgres
from api.dev.process import free_port
from tests.api.support import unlimited
from tests.api.test_process import held_up, post_chat
from tests.images import draw_gradient, encode
from tests.support import Api, new_user, running, scraped, wait_until

SQL = ["limit", "pool", "db", "total"]


def spans(response: httpx.Response) -> list[tuple[str, float]]:
    """The entries of the header, in order."""
    entries = response.headers["server-timing"].split(", ")
    found = [re.fullmatch(r"(\w+);dur=(\d+\.\d)", entry) for entry in entries]
    return [(match[1], float(match[2])) for match in found if match]


def names(response: httpx.Response) -> list[str]:
    return [name for name, _ in spans(response)]


def test_every_answer_says_what_it_was_busy_with(api: Api) -> None:
    with unlimited(api) as client:
        for _ in range(2):  # on one connection, and nothing is left of the first
            assert names(client.get("/api/chats")) == SQL
        assert names(client.post("/api/chats", json={"title": "x"})) == SQL
        assert names(client.get("/api/chats?limit=0")) == SQL
        assert names(client.get("/api/chats", headers={"Authorization": "Bearer x"})) == SQL
        assert names(client.get("/api/chats", headers={"Authorization": "x"})) == ["limit", "total"]
        assert names(client.get("/api/nope")) == ["limit", "total"]
        assert names(client.patch("/api/chats")) == ["limit", "total"]
        image = client.post("/api/profile/image", files={"image": encode(draw_gradient(), "PNG")})
        assert image.status_code == 200
        assert names(image) == ["limit", *["pool", "db"] * 3, "total"]
        for path in ("/healthz", "/readyz", "/nope", image.json()["imageUrl"].removeprefix(api.url)):
            assert "server-timing" not in client.get(path).headers, path
        chat = client.post("/api/chats", json={"title": "x"}).json()["id"]
        for path in (f"/api/chats/{chat}/messages", "/api/search"):
            for search in ("word", "x" * 1001):
                answer = client.get(path, params={"search": search})
                assert "server-timing" not in answer.headers, (path, search, answer.status_code)
        assert names(client.get(f"/api/chats/{chat}/messages?limit=1")) == SQL
    with api.client() as client:
        refused = next(answer for answer in (client.get("/api/chats") for _ in range(20)) if answer.status_code == 429)
        assert names(refused) == ["limit", "total"]


def test_the_time_is_where_it_was_spent(
    postgres: Postgres, new_api: Callable[..., Api], new_database: Callable[[str], str]
) -> None:
    database = new_database(f"parley_{new_user().replace('-', '_')}")
    port = free_port()
    api = new_api(database, DATABASE_POOL_SIZE="1", METRICS_PORT=str(port))
    with running(api), unlimited(api) as client, unlimited(api) as other, ThreadPoolExecutor() as threads:
        assert client.get("/api/chats").status_code == 200
        with held_up(postgres.url(database)) as waiting, psycopg.connect(postgres.url(database)) as clock:
            held = threads.submit(post_chat, client)
            wait_until(lambda: waiting() == 1)
            queued = threads.submit(other.get, "/api/profile")
            wait_until(lambda: scraped(port, "parley_database_connections", server="primary", state="waiting") == 1)
            clock.execute("select pg_sleep(0.3)")
        held_spans, queued_spans = dict(spans(held.result())), dict(spans(queued.result()))
        assert held_spans["db"] >= 300
        assert held_spans["pool"] < 100
        assert queued_spans["pool"] >= 300
        assert queued_spans["db"] < 100
        for each in (held_spans, queued_spans):
            assert each["total"] >= each["limit"] + each["pool"] + each["db"] - 0.3  # each rounded down
