"""The links to adjacent pages that a function sets."""

import json
from typing import Any

from tests.database import Connection


def response_links(connection: Connection) -> Any:
    """Return the links to adjacent pages that the last call set."""
    row = connection.execute("select current_setting('response.links')").fetchone()
    assert row is not None
    return json.loads(row[0])
