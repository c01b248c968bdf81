"""`parley db login`: create a login with a password and the privileges of one of Parley's roles.

The command is idempotent: an existing login gets the password and the role, and keeps its other properties.
"""

import argparse
import contextlib
import os
import sys
from typing import Any

import psycopg2
from psycopg2.extensions import encrypt_password
from psycopg2.sql import SQL, Identifier, Literal

from api.admin.migrations import ConnectError, connect

ROLES = ("parley_api", "parley_listener", "parley_web", "parley_analyst")


def main(arguments: argparse.Namespace) -> int:
    """Create the login in the database at DATABASE_URL, with the password in PASSWORD; return the exit status."""
    if not (password := os.environ.get("PASSWORD")):
        print("parley db login: PASSWORD is not set: set it to the password of the login", file=sys.stderr)
        return 1
    try:
        connection = connect("DATABASE_URL")
        connection.autocommit = False
        with contextlib.closing(connection), connection:
            ensure_login(connection, arguments.name, arguments.role, password)
    except (ConnectError, psycopg2.Error) as error:
        print(f"parley db login: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    except UnicodeEncodeError:
        print("parley db login: NAME and PASSWORD must be UTF-8", file=sys.stderr)
        return 1
    return 0


def ensure_login(connection: Any, name: str, role: str, password: str) -> None:
    """Create the login unless it exists, and set its password and role.

    Only a verifier of the password is sent to PostgreSQL, and so to its log.
    """
    login = Identifier(name)
    verifier = Literal(encrypt_password(password, name, connection, "scram-sha-256"))
    with connection.cursor() as cursor:
        cursor.execute("select from pg_catalog.pg_roles where rolname = %s", [name])
        if not cursor.rowcount:
            cursor.execute(SQL("create role {}").format(login))
        cursor.execute(SQL("alter role {} login password {}").format(login, verifier))
        cursor.execute(SQL("grant {} to {}").format(Identifier(role), login))
