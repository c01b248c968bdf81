"""Convert the e-mail addresses of existing users to lower case and make them unique, without blocking requests."""

from typing import Any

from yoyo import step

__depends__ = {"0020_lower_case_addresses"}
__transactional__ = False

BATCH = 1000  # users per transaction

# An address stays verified if only the case of ASCII letters changes. One that would become another user's is kept.
LOWER = """
    with batch as materialized (
        select u.id, u.email, rules.lower_email(u.email) as lower_email from next_auth.users u
        where u.id > %(last)s order by u.id limit %(batch)s
    ), lowered as (
        update next_auth.users u set email = b.lower_email,
            "emailVerified" = case when lower(b.email collate "C") = b.lower_email then u."emailVerified" end
        from batch b
        where u.id = b.id and u.email = b.email and b.email <> b.lower_email
          and not exists (select from next_auth.users o where o.email = b.lower_email)
    )
    select id from batch order by id desc limit 1
"""

UNIQUE = (
    "drop index concurrently if exists next_auth.users_email",
    "create unique index concurrently users_email on next_auth.users (email)",
    "comment on index next_auth.users_email is 'An e-mail address, in lower case, belongs to one user.'",
    "drop index concurrently if exists next_auth.users_email_unique",
)

OLD_UNIQUE = (
    "drop index concurrently if exists next_auth.users_email_unique",
    "create unique index concurrently users_email_unique on next_auth.users (lower(email))",
    "comment on index next_auth.users_email_unique is 'An e-mail address belongs to one user, without regard to case.'",
    "drop index concurrently if exists next_auth.users_email",
)


def lower(connection: Any) -> None:
    """Convert the addresses in batches, each a transaction, then replace the unique index. Repeatable at any point."""
    with connection.cursor() as cursor:
        last: tuple[str] | None = ("",)
        while last:
            cursor.execute(LOWER, {"last": last[0], "batch": BATCH})
            last = cursor.fetchone()
        for statement in UNIQUE:
            cursor.execute(statement)


def restore(connection: Any) -> None:
    """Restore the unique index on lower(email), without blocking requests."""
    with connection.cursor() as cursor:
        for statement in OLD_UNIQUE:
            cursor.execute(statement)


step(lower, restore)
