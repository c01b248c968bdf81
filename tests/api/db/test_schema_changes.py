"""Migrations and repeatable migrations while the API serves requests: no request fails.

The first two tests stop a request in the middle of a function, so that the schema certainly changes during it. The last
test sends requests while the schema changes repeatedly.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest

from api.db.pool import Database
from api.dev.postgres import Postgres
from api.settings import Settings
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.images import draw_gradient, encode
from tests.servers import yoyo
from tests.sql.migration_files import add_migration, apply, copy_sources
from tests.tokens import new_user
from tests.waiting import wait_until

DATABASE = "parley_live"


@pytest.fixture(scope="module")
def live_api(new_database: Callable[[str], str], new_api: Callable[..., Api]) -> Iterator[Api]:
    """An API with a database of its own, whose schema the tests change."""
    with running(new_api(new_database(DATABASE))) as api:
        yield api


@pytest.fixture
def url(postgres: Postgres, tmp_path: Path) -> Iterator[str]:
    """The URL of that database for its owner; the original functions are restored at the end."""
    yield postgres.url(DATABASE)
    apply(postgres.url(DATABASE), copy_sources(tmp_path / "as_it_was"))


def change_functions(directory: Path) -> None:
    """Change the signatures of helpers, and the bodies of the functions that call them."""
    for file in (directory / "sql").glob("functions/*.sql"):
        text = file.read_text()
        text = text.replace("parley.iso8601(instant timestamptz)", "parley.iso8601(instant timestamptz, zone text)")
        text = re.sub(r"parley\.iso8601\((?!instant)([\w.]+)\)", r"parley.iso8601(\1, 'UTC')", text)
        if file.stem == "chat_access":
            text = text.replace("parley.lock_selected_chat()", "parley.lock_selected_chat(why text)", 1)
        text = text.replace("perform parley.lock_selected_chat()", "perform parley.lock_selected_chat('to write')")
        file.write_text(text)


def change_policies_and_triggers(directory: Path) -> None:
    """Change policies, with a helper that they call, and triggers; add a migration."""
    sql = directory / "sql"
    for file in (*sql.glob("functions/*.sql"), sql / "policies.sql"):
        text = file.read_text().replace(
            "session.is_chat_owner(chat uuid)", "session.is_chat_owner(chat uuid, why text)"
        )
        file.write_text(re.sub(r"session\.is_chat_owner\(([\w.]+)\)", r"session.is_chat_owner(\1, 'to manage')", text))
    triggers = sql / "triggers.sql"
    triggers.write_text(triggers.read_text().replace("before update of title on", "before update on"))
    tables = ("parley.chats", "parley.messages")
    add_migration(directory, "\n".join(f"alter table {table} add column zoo text;" for table in tables))
    (directory / "sql" / "migrations" / "0999_zoo.rollback.sql").write_text(
        "\n".join(f"alter table {table} drop column zoo;" for table in reversed(tables))
    )


@pytest.mark.parametrize("held", ["parley.chats", "next_auth.users"])
def test_request_in_flight_survives_the_replacement_of_its_functions(
    live_api: Api, url: str, tmp_path: Path, held: str
) -> None:
    sources = copy_sources(tmp_path / "changed")
    change_functions(sources)
    user = new_user()
    with (
        unlimited_client(live_api, user) as client,
        psycopg.connect(url, autocommit=True) as holder,
        psycopg.connect(url, autocommit=True) as watcher,
        ThreadPoolExecutor(1) as thread,
    ):
        chat = client.post("/api/chats", json={"title": "A chat"}).json()["id"]
        waiting = "select from pg_stat_activity where usename = 'app' and wait_event_type = 'Lock' and datname = %s"
        with holder.transaction():
            holder.execute(f"select from {held} for update")
            if held == "parley.chats":
                response = thread.submit(client.post, f"/api/chats/{chat}/messages", json={"content": "Hello"})
            else:
                response = thread.submit(
                    client.post, "/api/profile/image", files={"image": encode(draw_gradient(), "PNG")}
                )
            wait_until(lambda: watcher.execute(waiting, [DATABASE]).rowcount == 1)
            apply(url, sources)
        assert response.result(30).is_success, response.result().text
        messages = client.get(f"/api/chats/{chat}/messages").json()
        assert messages["total"] == (1 if held == "parley.chats" else 0)


@pytest.mark.parametrize("state", ["42883", "42703", "42P01", "42804"])
def test_statement_that_a_schema_change_interrupted_is_retried_once(
    live_api: Api, url: str, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    live_api.export_environment(monkeypatch)
    with psycopg.connect(url, autocommit=True) as dba:
        dba.execute("create sequence public.tries")
        dba.execute(
            "create function public.fail(times int) returns bigint language plpgsql security definer as $$ begin"
            f" if nextval('public.tries') <= times then raise sqlstate '{state}'; end if;"
            " return currval('public.tries'); end $$;"
            " grant execute on function public.fail to app"
        )

        async def fetch(times: int) -> Any:
            database = await Database.connect(Settings.load())
            try:
                return await database.fetch_value("select public.fail($1)", times)
            finally:
                await database.close()

        try:
            assert asyncio.run(fetch(1)) == 2
            with pytest.raises(asyncpg.PostgresError) as caught:
                asyncio.run(fetch(4))
            assert caught.value.sqlstate == state
            assert dba.execute("select last_value from public.tries").fetchone() == (4,)
        finally:
            dba.execute("drop function public.fail; drop sequence public.tries")


def forget_request_ids(directory: Path) -> None:
    """Remove the parameter for a request's id from session.authenticate."""
    file = directory / "sql" / "functions" / "authentication.sql"
    text, parameters = re.subn(r"\brequest_id text default null, ", "", file.read_text())
    text, statements = re.subn(r"    if request_id is not null then\n.*\n    end if;\n", "", text)
    assert (parameters, statements) == (1, 1)
    file.write_text(text)


def test_api_without_request_ids_survives_the_replacement_of_its_function(
    live_api: Api, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = copy_sources(tmp_path / "before"), copy_sources(tmp_path / "after")
    forget_request_ids(before)
    apply(url, before)
    live_api.export_environment(monkeypatch)
    identity = json.dumps({"sub": new_user()})

    async def run_statements(over: Event) -> int:
        """Run statements without a request id until the end; return their number."""
        database = await Database.connect(Settings.load())
        count = 0
        while not over.is_set():
            assert await database.fetch_value("select api.list_chats() from session.authenticate($1)", identity)
            count += 1
        await database.close()
        return count

    over = Event()
    with ThreadPoolExecutor(1) as thread:
        count = thread.submit(asyncio.run, run_statements(over))
        try:
            for sources in (after, before, after):
                apply(url, sources)
        finally:
            over.set()
        assert count.result(30) > 50


def test_schema_changes_under_load_fail_no_request(live_api: Api, url: str, tmp_path: Path) -> None:
    before, after = copy_sources(tmp_path / "before"), copy_sources(tmp_path / "after")
    change_functions(after)
    change_policies_and_triggers(after)
    over = Event()

    def traffic(client: httpx.Client) -> tuple[int, list[str]]:
        """Write, read and search until the end; return the number of requests, and those that failed."""
        chat = client.post("/api/chats", json={"title": "A chat"}).json()["id"]
        messages, done, failures = f"/api/chats/{chat}/messages", 0, []
        while not over.is_set():
            sent = client.post(messages, json={"content": "a word"})
            responses = [
                sent,
                client.put(f"{messages}/{sent.json().get('id')}", json={"content": "another word"}),
                client.get(messages),
                client.get(messages, params={"search": "word"}),
                client.get("/api/search", params={"search": "word"}),
                client.get("/api/chats"),
                client.put(f"/api/chats/{chat}", json={"title": f"Title {done}"}),
                client.get(f"/api/chats/{chat}/members"),
                client.put("/api/settings", json={"settings": {"theme": "dark"}}),
                client.delete(f"{messages}/{sent.json().get('id')}"),
            ]
            done += len(responses)
            failures += [f"{r.request.method} {r.url.path}: {r.text}" for r in responses if not r.is_success]
        return done, failures

    with ThreadPoolExecutor(4) as threads:
        clients = [unlimited_client(live_api) for _ in range(4)]
        results = [threads.submit(traffic, client) for client in clients]
        try:
            for _ in range(4):
                apply(url, after)
                yoyo(url, "rollback", "--batch", "--revision", "0999_zoo", "--config", str(after / "yoyo.ini"))
                apply(url, before)
        finally:
            over.set()
        done = [result.result(30) for result in results]
        for client in clients:
            client.close()
    assert [failure for _, failures in done for failure in failures] == []
    assert min(requests for requests, _ in done) >= 50
