"""Transactions of the API and the listener are READ COMMITTED, regardless of the defaults of database and role."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.shared.postgres import connect
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.database import new_chat
from tests.tokens import new_user

SENDERS = 32
MESSAGES = 200
SET_LEVEL = "set default_transaction_isolation = 'serializable'"


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str], postgres: Postgres) -> str:
    """A database in which transactions are SERIALIZABLE by default, also for the roles of the API and the listener."""
    name = new_database("parley_serializable")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        for owner in (f"database {name}", f"role app in database {name}", f"role events in database {name}"):
            dba.execute(f"alter {owner} {SET_LEVEL}")
    for login in ("app", "events"):
        with psycopg.connect(postgres.url(name, login, login)) as connection:
            assert connection.execute("show transaction_isolation").fetchone() == ("serializable",)
    return name


def test_concurrent_messages_to_a_chat_are_all_sent(
    new_api: Callable[..., Api], postgres: Postgres, database: str
) -> None:
    user = new_user()
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        path = f"/api/chats/{new_chat(dba, user)}/messages"
    with (
        running(new_api(database, WORKERS="4")) as api,
        unlimited_client(api, user) as client,
        ThreadPoolExecutor(SENDERS) as pool,
    ):
        bodies = [{"content": str(number)} for number in range(MESSAGES)]
        statuses = [response.status_code for response in pool.map(lambda body: client.post(path, json=body), bodies)]
        assert set(statuses) == {201}
        assert client.get(path).json()["total"] == MESSAGES


@pytest.mark.parametrize("login", ["app", "events"])
def test_connections_of_both_processes_set_the_level(postgres: Postgres, database: str, login: str) -> None:
    async def fetch_level() -> str:
        connection = await connect(postgres.url(database, login, login))
        try:
            return str(await connection.fetchval("show transaction_isolation"))
        finally:
            connection.terminate()

    assert asyncio.run(fetch_level()) == "read committed"
