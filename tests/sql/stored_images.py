"""URLs and names of images in storage, and the clean-up of unused ones as the API does it."""

import hashlib

from tests.database import Connection


def image_url(content: str, base: str = "https://chat.example") -> str:
    """Return the URL of an image in storage."""
    return f"{base}/images/{image_name(content)}"


def image_name(content: str) -> str:
    """Return the name of an image in storage."""
    return hashlib.sha256(content.encode()).hexdigest() + ".png"


def claim(connection: Connection) -> str | None:
    """Claim an unused image; return its name, or None."""
    row = connection.execute("select api.claim_unused_image()").fetchone()
    assert row
    name: str | None = row[0]
    return name


def remove_unused_images(connection: Connection) -> list[str]:
    """Claim all unused images and confirm their removal; return their names."""
    names = []
    while name := claim(connection):
        connection.execute("select api.confirm_image_removal(%s)", [name])
        names.append(name)
    return names


def make_due(connection: Connection) -> None:
    """Make uploads due for cleanup, as if a day had passed."""
    connection.execute("update parley.image_cleanup set due = due - interval '24 hours'")


def has_waiter(connection: Connection, event: str) -> bool:
    """Return whether a session waits for this event: the lock of an image (advisory), or its removal (PgSleep)."""
    waiting = "select from pg_stat_activity where wait_event = %s and datname = current_database()"
    return connection.execute(waiting, [event]).rowcount > 0
