"""Packages from npm that tests of several files share."""

from pathlib import Path

import pytest

from tests.e2e.npm import Npm

PACKAGES = {"pusher-js": "8.6.0", "@soketi/soketi": "1.6.1"}
# soketi asks for a version that npm does not have.
OVERRIDES = {"uWebSockets.js": "npm:@trufflesuite/uws-js-unofficial@20.30.0-unofficial.0"}


@pytest.fixture(scope="session")
def npm(shared_directory: Path) -> Npm:
    """npm; skips the test where it is not installed, or where a package cannot be had."""
    return Npm(shared_directory)


@pytest.fixture(scope="session")
def modules(npm: Npm) -> Path:
    """A directory `node_modules` with pusher-js and soketi."""
    return npm.install(PACKAGES, OVERRIDES)
