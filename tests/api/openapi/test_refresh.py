"""The OpenAPI document is rebuilt when limits in the database change, and fetched once for concurrent requests."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest

from api.db.pool import Database
from api.dev.postgres import Postgres
from api.openapi.document import OpenApiDocument
from api.settings import Settings
from tests.api_process import Api


def test_changed_limit_appears_in_the_document(
    new_api: Callable[..., Api], new_database: Callable[[str], str], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = new_database("parley_rules")

    async def collect_limits() -> list[int]:
        monkeypatch.setenv("DATABASE_URL", postgres.url(database, "app", "app"))
        settings = Settings.load()
        connection_pool = await Database.connect(settings)
        openapi = OpenApiDocument(settings, connection_pool)
        limits = [await get_title_limit(openapi)]
        with psycopg.connect(postgres.url(database), autocommit=True) as dba:
            dba.execute(
                "create or replace function rules.length_limits(field text) returns int4range"
                " language sql immutable parallel safe return int4range(1, 7, '[]')"
            )
        limits.append(await get_title_limit(openapi))
        monkeypatch.setattr("api.openapi.document.MAX_AGE_SECONDS", 0)
        limits.append(await get_title_limit(openapi))
        await connection_pool.close()
        return limits

    async def get_title_limit(openapi: OpenApiDocument) -> int:
        document = json.loads(await openapi.fetch())
        return int(document["components"]["schemas"]["NewChat"]["properties"]["title"]["maxLength"])

    environment = new_api(database).environment
    for name in ("REDIS_URL", "NEXTAUTH_SECRET"):
        monkeypatch.setenv(name, environment[name])
    assert asyncio.run(collect_limits()) == [200, 200, 7]


def test_concurrent_requests_share_one_fetch(
    new_api: Callable[..., Api], shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    has_started = asyncio.Event()

    class RecordingDatabase(Database):
        async def fetch_value(self, statement: str, *arguments: Any) -> Any:
            statements.append(statement)
            has_started.set()
            return await super().fetch_value(statement, *arguments)

    async def fetch_concurrently() -> None:
        connection_pool = await RecordingDatabase.connect(Settings.load())
        openapi = OpenApiDocument(Settings.load(), connection_pool)
        first = asyncio.create_task(openapi.fetch())
        others = [asyncio.create_task(openapi.fetch()) for _ in range(20)]
        await has_started.wait()
        first.cancel()  # Its client disconnects.
        assert len(set(await asyncio.gather(*others))) == 1
        assert len(statements) == 1
        await connection_pool.close()
        monkeypatch.setattr("api.openapi.document.MAX_AGE_SECONDS", 0)
        for _ in range(2):
            assert await openapi.fetch() == await others[0]  # The last document is kept.
            with pytest.raises(asyncpg.InterfaceError):
                await OpenApiDocument(Settings.load(), connection_pool).fetch()

    new_api(shared_database).export_environment(monkeypatch)
    asyncio.run(fetch_concurrently())
