"""The OpenAPI document describes all operations, headers, errors and security schemes, and no others."""

import pytest

from api.http.errors import CODES
from api.http.request import route_template
from api.routes import ROUTES
from tests.api.openapi.support import Json, find_route, get_operation, list_schema_errors
from tests.api.route_examples import QUERIES, RouteExamples
from tests.api.support import unlimited_client
from tests.api_process import Api
from tests.tokens import token


def test_document_describes_every_route(document: Json) -> None:
    operations = {(method.upper(), path) for path in document["paths"] for method in document["paths"][path]}
    outside = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/images/{name}")}
    assert operations == {(route.method, route_template(route.path)) for route in ROUTES} | outside
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_document_has_the_servers_and_security_schemes(document: Json, api: Api) -> None:
    assert document["servers"] == [{"url": api.url}]
    schemes = document["components"]["securitySchemes"]
    assert document["security"] == [{name: []} for name in schemes]
    names = ("next-auth.session-token", "authjs.session-token")
    assert schemes.keys() == {"token", *names, *(f"__Secure-{name}" for name in names)}
    with unlimited_client(api, "") as client:
        for scheme in schemes.values():
            is_cookie = scheme["type"] == "apiKey"
            headers = {"Cookie": f"{scheme['name']}={token()}"} if is_cookie else {"Authorization": f"Bearer {token()}"}
            assert client.get("/api/profile", headers=headers).status_code == 200
    assert (schemes["token"]["type"], schemes["token"]["scheme"]) == ("http", "bearer")


def test_empty_optional_parameter_equals_an_omitted_one(document: Json, route_examples: RouteExamples) -> None:
    for route in (route for route in ROUTES if route.query):
        operation = get_operation(document, route)
        parameters = [parameter for parameter in operation["parameters"] if parameter["in"] != "header"]
        optional = {parameter["name"] for parameter in parameters if parameter.get("allowEmptyValue")}
        assert (
            optional
            == {parameter["name"] for parameter in parameters if not parameter["required"]}
            == {*route.query} - {*route.required_query}
        )
        required = QUERIES.get(route.path, {})
        without = route_examples.request(route_examples.owner, route, params=required).json()
        empty = route_examples.request(
            route_examples.owner, route, params=required | dict.fromkeys(optional, "")
        ).json()
        cursors = {"next": 0, "cursor": 0}  # They may change at any time.
        assert empty | cursors == without | cursors


def test_header_that_may_be_missing_is_optional(document: Json, route_examples: RouteExamples) -> None:
    response = route_examples.request(
        route_examples.owner, find_route("GET", "/api/search"), params={"search": "é" * 1000}
    )
    assert response.status_code == 200
    assert "link" not in response.headers
    headers = document["components"]["headers"]
    assert [name for name in headers if not headers[name]["required"]] == [
        "Server-Timing", "Link", "Idempotency-Replayed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "status"),
    [({}, 400), ({"isPremium": True, "updatedAt": "x"}, 400), ({"isPremium": True, "theme": "dark"}, 200)],
)
def test_settings_need_a_field_that_is_not_read_only(
    document: Json, route_examples: RouteExamples, settings: Json, status: int
) -> None:
    schema = {"$ref": "#/components/schemas/SettingsChange"}
    assert (list_schema_errors(document, schema, {"settings": settings}) == []) == (status == 200)
    assert route_examples.owner.put("/api/settings", json={"settings": settings}).status_code == status


def test_operations_outside_api_have_their_statuses(document: Json) -> None:
    statuses = {
        path: set(document["paths"][path]["get"]["responses"]) for path in ("/healthz", "/readyz", "/images/{name}")
    }
    assert statuses == {"/healthz": {"200"}, "/readyz": {"200", "503"}, "/images/{name}": {"200", "304", "404"}}


def test_document_has_every_error_code(document: Json) -> None:
    responses = document["components"]["responses"]
    contents = {name: response["content"]["application/json"] for name, response in responses.items()}
    assert contents.keys() == set(CODES.values()) - {"method_not_allowed"}  # No operation returns this one.
    assert all(content["example"]["error"]["code"] == name for name, content in contents.items())
