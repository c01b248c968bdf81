"""The links to neighboring pages that a function sets."""

import json
from typing import Any

from tests.database import Connection


def links(connection: Connection) -> Any:
    """What the last call said of the pages next to the answered one."""
    row = connection.execute("select current_setting('response.links')").fetchone()
    assert row is not None
    return json.loads(row[0])
