"""An owner of the database who is no superuser and lacks CREATEROLE, in a cluster that has all roles of Parley."""

from collections.abc import Iterator

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.sql.version_clients import use_api, use_listener
from tests.sql.versions import THIS, create_database


@pytest.fixture
def owner_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database, for its owner."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute("create role limited_owner login password 'limited' nosuperuser nocreaterole nocreatedb")
        create_database(postgres, "parley_limited")
        dba.execute("alter database parley_limited owner to limited_owner")
        yield postgres.url("parley_limited", "limited_owner", "limited")
        dba.execute("drop database parley_limited with (force)")
        dba.execute("drop role limited_owner")


def test_owner_applies_all_migrations_rolls_them_back_and_applies_them_again(
    postgres: Postgres, owner_url: str
) -> None:
    for is_last in (False, True):
        THIS.yoyo(owner_url, "apply")
        THIS.assert_no_drift(owner_url)
        with psycopg.connect(postgres.url("parley_limited", "app", "app"), autocommit=True) as app:
            use_api(app)
        with psycopg.connect(postgres.url("parley_limited", "events", "events"), autocommit=True) as events:
            use_listener(events)
        if not is_last:
            THIS.yoyo(owner_url, "rollback", "--all")
    with psycopg.connect(owner_url) as owner:
        privileges = "select rolsuper, rolcreaterole from pg_roles where rolname = current_user"
        assert owner.execute(privileges).fetchone() == (False, False)
        assert owner.execute(
            "select from pg_class where relname = 'chats' and relowner = current_user::regrole"
        ).rowcount
