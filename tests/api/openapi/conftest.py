"""Fixtures for the tests of the OpenAPI document."""

import httpx
import pytest

from tests.api.openapi.support import Json


@pytest.fixture(scope="module")
def document(anonymous_client: httpx.Client) -> Json:
    response = anonymous_client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert "x-ratelimit-limit" not in response.headers
    document: Json = response.json()
    return document
