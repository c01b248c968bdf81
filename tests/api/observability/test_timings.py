"""The Server-Timing header has the duration of each step of a request."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from tests.api.support import locked_chats, post_chat, unlimited_client
from tests.api_process import Api, running, scrape
from tests.images import draw_gradient, encode
from tests.tokens import new_user
from tests.waiting import wait_until

STATEMENT_SPANS = ["limit", "pool", "db", "total"]


def parse_spans(response: httpx.Response) -> list[tuple[str, float]]:
    """Return the entries of the header, in order."""
    entries = response.headers["server-timing"].split(", ")
    matches = [re.fullmatch(r"(\w+);dur=(\d+\.\d)", entry) for entry in entries]
    return [(match[1], float(match[2])) for match in matches if match]


def parse_names(response: httpx.Response) -> list[str]:
    return [name for name, _ in parse_spans(response)]


def test_every_response_has_its_steps(api: Api) -> None:
    with unlimited_client(api) as client:
        for _ in range(2):  # The second request on the connection has none of the first one's spans.
            assert parse_names(client.get("/api/chats")) == STATEMENT_SPANS
        assert parse_names(client.post("/api/chats", json={"title": "x"})) == STATEMENT_SPANS
        assert parse_names(client.get("/api/chats?limit=0")) == STATEMENT_SPANS
        assert parse_names(client.get("/api/chats", headers={"Authorization": "Bearer x"})) == STATEMENT_SPANS
        assert parse_names(client.get("/api/chats", headers={"Authorization": "x"})) == ["limit", "total"]
        assert parse_names(client.get("/api/nope")) == ["limit", "total"]
        assert parse_names(client.patch("/api/chats")) == ["limit", "total"]
        image = client.post("/api/profile/image", files={"image": encode(draw_gradient(), "PNG")})
        assert image.status_code == 200
        assert parse_names(image) == ["limit", *["pool", "db"] * 3, "total"]
        for path in ("/healthz", "/readyz", "/nope", image.json()["imageUrl"].removeprefix(api.url)):
            assert "server-timing" not in client.get(path).headers, path
        chat = client.post("/api/chats", json={"title": "x"}).json()["id"]
        for path in (f"/api/chats/{chat}/messages", "/api/search"):
            for search in ("word", "x" * 1001):
                response = client.get(path, params={"search": search})
                assert "server-timing" not in response.headers, (path, search, response.status_code)
        assert parse_names(client.get(f"/api/chats/{chat}/messages?limit=1")) == STATEMENT_SPANS
    with api.client() as client:
        responses = (client.get("/api/chats") for _ in range(20))
        rejected = next(response for response in responses if response.status_code == 429)
        assert parse_names(rejected) == ["limit", "total"]


def test_waits_are_attributed_to_their_steps(
    postgres: Postgres, new_api: Callable[..., Api], new_database: Callable[[str], str]
) -> None:
    database = new_database(f"parley_{new_user().replace('-', '_')}")
    port = find_free_port()
    api = new_api(database, DATABASE_POOL_SIZE="1", METRICS_PORT=str(port))
    with running(api), unlimited_client(api) as client, unlimited_client(api) as other, ThreadPoolExecutor() as threads:
        assert client.get("/api/chats").status_code == 200
        with locked_chats(postgres.url(database)) as count_waiting, psycopg.connect(postgres.url(database)) as clock:
            held = threads.submit(post_chat, client)
            wait_until(lambda: count_waiting() == 1)
            queued = threads.submit(other.get, "/api/profile")
            wait_until(lambda: scrape(port, "parley_database_connections", server="primary", state="waiting") == 1)
            clock.execute("select pg_sleep(0.3)")
        held_spans, queued_spans = dict(parse_spans(held.result())), dict(parse_spans(queued.result()))
        assert held_spans["db"] >= 300
        assert held_spans["pool"] < 100
        assert queued_spans["pool"] >= 300
        assert queued_spans["db"] < 100
        for spans in (held_spans, queued_spans):
            assert spans["total"] >= spans["limit"] + spans["pool"] + spans["db"] - 0.3  # Each is rounded down.
