"""Fixtures for the tests of the OpenAPI document."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.openapi.support import Json
from tests.api.test_routes import World, new_world
from tests.support import Api


@pytest.fixture(scope="module")
def document(nobody: httpx.Client) -> Json:
    response = nobody.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert "x-ratelimit-limit" not in response.headers
    document: Json = response.json()
    return document


@pytest.fixture
def world(api: Api) -> Iterator[World]:
    with new_world(api) as world:
        yield world
