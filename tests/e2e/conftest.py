"""Packages from npm that tests of several files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.npm import installed

PACKAGES = {"pusher-js": "8.6.0", "@soketi/soketi": "1.6.1"}
# soketi asks for a version that npm does not have.
OVERRIDES = {"uWebSockets.js": "npm:@trufflesuite/uws-js-unofficial@20.30.0-unofficial.0"}


@pytest.fixture(scope="session")
def modules() -> Iterator[Path]:
    """A directory `node_modules` with pusher-js and soketi."""
    with installed(PACKAGES, OVERRIDES) as directory:
        yield directory
