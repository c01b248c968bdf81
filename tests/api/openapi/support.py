"""Helpers for the tests of the OpenAPI document: find its parts, and validate values against its schemas."""

import copy
from typing import Any

from jsonschema import Draft202012Validator

from api.http.request import route_template
from api.routes import ROUTES, Route

Json = dict[str, Any]

UNDOCUMENTED = {"connection", "content-length", "content-type", "keep-alive", "vary"}  # headers
OPTIONAL = {"idempotency-replayed", "server-timing"}  # headers that only replays have, or all responses but searches


def list_schema_errors(document: Json, schema: Json, value: Any) -> list[str]:
    """Return the errors of a value, in which properties that the schema does not describe are errors."""
    components = copy.deepcopy(document["components"])
    for component in components["schemas"].values():
        if "properties" in component:
            component["additionalProperties"] = False
    return [error.message for error in Draft202012Validator({**schema, "components": components}).iter_errors(value)]


def get_operation(document: Json, route: Route) -> Json:
    operation: Json = document["paths"][route_template(route.path)][route.method.lower()]
    return operation


def resolve(document: Json, value: Json) -> Json:
    """Return what a reference refers to, or the argument itself if it is not a reference."""
    if "$ref" in value:
        for name in value["$ref"].split("/")[1:]:
            document = document[name]
        return document
    return value


def find_route(method: str, path: str) -> Route:
    (route,) = (route for route in ROUTES if (route.method, route.path) == (method, path))
    return route


def get_media_type(route: Route) -> str:
    """Return the media type of a route's body."""
    if route.image_kind:
        return "multipart/form-data; boundary=b"
    return "application/x-www-form-urlencoded" if route.pusher_fields else "application/json"
