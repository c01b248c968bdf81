"""The OpenAPI document, held against what the API takes and answers, and what the database records for Pusher."""

import asyncio
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest
from jsonschema import Draft202012Validator

from api.db.pool import Database
from api.dev.postgres import Postgres
from api.http.errors import CODES
from api.http.protocol import template
from api.openapi.document import OpenApi
from api.openapi.models import EVENTS
from api.routes import ROUTES, Route
from api.settings import Settings
from tests import images
from tests.api.support import unlimited
from tests.api.test_routes import QUERIES, World, name_of, new_world
from tests.support import NO_SUCH_ID, Api, Connection, call, new_chat, new_user, token

Json = dict[str, Any]


# What HTTP has on any answer, and what is for browsers alone.
USUAL = {"connection", "content-length", "content-type", "keep-alive", "vary"}
AT_TIMES = {"idempotency-replayed", "server-timing"}  # of a repeat; of all but searches


@pytest.fixture(scope="module")
def document(nobody: httpx.Client) -> Json:
    response = nobody.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert "x-ratelimit-limit" not in response.headers
    told: Json = response.json()
    return told


@pytest.fixture
def world(api: Api) -> Iterator[World]:
    with new_world(api) as world:
        yield world


def problems(document: Json, schema: Json, value: Any) -> list[str]:
    """What is wrong with a value, which may have only what the schema tells of."""
    components = copy.deepcopy(document["components"])
    for described in components["schemas"].values():
        if "properties" in described:
            described["additionalProperties"] = False
    return [error.message for error in Draft202012Validator({**schema, "components": components}).iter_errors(value)]


def operation(document: Json, route: Route) -> Json:
    described: Json = document["paths"][template(route.path)][route.method.lower()]
    return described


def route_of(method: str, path: str) -> Route:
    (route,) = (route for route in ROUTES if (route.method, route.path) == (method, path))
    return route


def resolved(document: Json, described: Json) -> Json:
    """What a reference leads to."""
    if "$ref" in described:
        for name in described["$ref"].split("/")[1:]:
            document = document[name]
        return document
    return described


def test_every_route_is_told_of(document: Json) -> None:
    told = {(method.upper(), path) for path in document["paths"] for method in document["paths"][path]}
    outside = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/images/{name}")}
    assert told == {(route.method, template(route.path)) for route in ROUTES} | outside
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_it_tells_where_the_api_is_and_how_to_sign_in(document: Json, api: Api) -> None:
    assert document["servers"] == [{"url": api.url}]
    told = document["components"]["securitySchemes"]
    assert document["security"] == [{name: []} for name in told]
    names = ("next-auth.session-token", "authjs.session-token")
    assert told.keys() == {"token", *names, *(f"__Secure-{name}" for name in names)}
    with unlimited(api, "") as client:
        for scheme in told.values():
            by_cookie = scheme["type"] == "apiKey"
            sent = {"Cookie": f"{scheme['name']}={token()}"} if by_cookie else {"Authorization": f"Bearer {token()}"}
            assert client.get("/api/profile", headers=sent).status_code == 200
    assert (told["token"]["type"], told["token"]["scheme"]) == ("http", "bearer")


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_route_answers_as_it_is_told(document: Json, world: World, route: Route) -> None:
    response = world.request(world.owner, route)
    told = operation(document, route)["responses"][str(response.status_code)]
    assert {name.lower() for name in told["headers"]} - AT_TIMES == response.headers.keys() - USUAL - AT_TIMES
    if response.status_code == 204:
        assert "content" not in told
    else:
        (media_type,) = told["content"]
        assert response.headers["content-type"] == media_type
        assert problems(document, told["content"][media_type]["schema"], response.json()) == []
        assert problems(document, told["content"][media_type]["schema"], {}) != []


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_what_is_given_for_an_example_is_one(document: Json, api: Api, world: World, route: Route) -> None:
    told = operation(document, route)
    examples = {parameter["name"]: example_of(parameter) for parameter in told.get("parameters", [])}
    options: Json = {
        "params": {name: examples[name] for name in route.query if name not in {"page", "after"} - {*route.required}}
    }
    for content in told.get("requestBody", {}).get("content", {}).values():
        if not route.image:
            assert problems(document, content["schema"], content["example"]) == []
            options["json" if route.body else "data"] = here(content["example"], api, world)
    response = world.request(world.owner, route, **options)
    assert response.status_code == route.status, response.text
    for answer in told["responses"].values():
        for content in resolved(document, answer).get("content", {}).values():
            assert problems(document, content["schema"], content["example"]) == []


def test_what_is_null_or_only_there_at_times_is_told_of(document: Json, world: World) -> None:
    here = world.ids["chat_id"]
    no_messages = world.but(chat_id=world.owner.post("/api/chats", json={"title": "Plans"}).json()["id"])
    cursor = {"params": {"before": NO_SUCH_ID}}
    presence = {"data": {"socket_id": "1.2", "channel_name": f"presence-chat-{here}"}}
    for route, options, named in (
        (route_of("GET", "/api/chats/<chat_id>"), {}, "lastMessage"),
        (route_of("GET", "/api/chats"), cursor, "page"),
        (route_of("GET", "/api/chats/<chat_id>/messages"), cursor, "page"),
        (route_of("POST", "/api/pusher/auth"), presence, "channel_data"),
    ):
        response = no_messages.request(world.owner, route, **options)
        answer = response.json()
        assert answer[named] is None or route.form
        schema = operation(document, route)["responses"]["200"]["content"]["application/json"]["schema"]
        assert problems(document, schema, answer) == []


def test_a_conflict_is_told_of(document: Json, world: World) -> None:
    email = {"email": f"{new_user()}@example.org"}
    world.stranger.put("/api/profile", json=email)
    owner = world.but(user_id=world.ids["owner"])
    provoked = {
        route_of("PUT", "/api/profile"): {"json": email},
        route_of("POST", "/api/chats/<chat_id>/members"): {"json": {"userId": world.ids["member"]}},
        route_of("DELETE", "/api/chats/<chat_id>/members/<user_id>"): {},
    }
    for route in ROUTES:
        told = operation(document, route)["responses"]
        assert ("409" in told) == (route in provoked or route.can_be_repeated)
        if route in provoked:
            response = owner.request(world.owner, route, **provoked[route])
            assert response.status_code == 409, response.text
            answer = resolved(document, told["409"])
            assert problems(document, answer["content"]["application/json"]["schema"], response.json()) == []
            optional = {"retry-after"} - response.headers.keys()
            assert {name.lower() for name in answer["headers"]} - optional == response.headers.keys() - USUAL
            assert not answer["headers"]["Retry-After"]["required"]


def test_an_optional_parameter_that_is_empty_is_one_left_out(document: Json, world: World) -> None:
    for route in (route for route in ROUTES if route.query):
        told = [parameter for parameter in operation(document, route)["parameters"] if parameter["in"] != "header"]
        optional = {parameter["name"] for parameter in told if parameter.get("allowEmptyValue")}
        assert (
            optional
            == {parameter["name"] for parameter in told if not parameter["required"]}
            == {*route.query} - {*route.required}
        )
        required = QUERIES.get(route.path, {})
        without = world.request(world.owner, route, params=required).json()
        empty = world.request(world.owner, route, params=required | dict.fromkeys(optional, "")).json()
        assert {**empty, "next": 0} == {**without, "next": 0}  # a cursor may be another at any moment


def test_a_header_that_may_be_missing_is_told_to_be_optional(document: Json, world: World) -> None:
    response = world.request(world.owner, route_of("GET", "/api/search"), params={"search": "é" * 1000})
    assert response.status_code == 200
    assert "link" not in response.headers
    told = document["components"]["headers"]
    assert [name for name in told if not told[name]["required"]] == [
        "Server-Timing", "Link", "Idempotency-Replayed",
    ]  # fmt: skip


def example_of(parameter: Json) -> Any:
    """Of one that is required, itself; of any other, among those of its schema."""
    return parameter["example"] if parameter["required"] else parameter["schema"]["examples"][0]


def here(example: Json, api: Api, world: World) -> Json:
    """An example with what there is in this world."""
    known = new_user()
    with unlimited(api, known) as client:
        client.get("/api/chats")
    mine = {"userId": known, "email": f"{known}@example.org", "channel_name": f"private-chat-{world.ids['chat_id']}"}
    return {name: mine.get(name, value) for name, value in example.items()}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_route_tells_of_its_refusals(document: Json, world: World, route: Route) -> None:
    by_cookie = {"Authorization": "", "Cookie": f"next-auth.session-token={token()}"}
    too_much = {"content": b"x" * 6_000_000, "headers": {"Content-Type": media_type(route)}}
    provoked = {
        401: world.request(world.owner, route, headers={"Authorization": "Bearer x"}),
        403: world.request(world.owner, route, headers=by_cookie),
        404: world.request(world.stranger, route),
        412: world.request(world.owner, route, headers={"If-Match": '"x"'}),
        413: world.request(world.owner, route, **too_much),
        415: world.request(world.owner, route, content=b"x", headers={"Content-Type": "text/plain"}),
    }
    told = {int(status): answer for status, answer in operation(document, route)["responses"].items()}
    for status, response in provoked.items():
        # A subscription that is not allowed is refused, too.
        assert (response.status_code == status) == (status in told) or (status == 403 and route.form), response.text
        assert response.status_code in told
        if response.status_code == status:
            answer = resolved(document, told[status])
            assert {name.lower() for name in answer["headers"]} - AT_TIMES == response.headers.keys() - USUAL - AT_TIMES
            assert problems(document, answer["content"]["application/json"]["schema"], response.json()) == []


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method == "GET"], ids=name_of)
def test_a_route_tells_of_what_the_caller_has(document: Json, world: World, route: Route) -> None:
    response = world.request(world.owner, route, headers={"If-None-Match": "*"})
    told = operation(document, route)["responses"]
    assert (response.status_code == 304) == ("304" in told)
    if response.status_code == 304:
        assert {name.lower() for name in told["304"]["headers"]} == response.headers.keys() - USUAL
        assert "content" not in told["304"]


def test_every_route_tells_that_there_is_a_limit(document: Json, api: Api, world: World) -> None:
    with api.client() as client:
        for route in ROUTES:
            while (response := world.request(client, route)).status_code != 429:
                pass
            answer = resolved(document, operation(document, route)["responses"]["429"])
            assert {name.lower() for name in answer["headers"]} - AT_TIMES == response.headers.keys() - USUAL - AT_TIMES
            assert problems(document, answer["content"]["application/json"]["schema"], response.json()) == []


@pytest.mark.parametrize(
    ("given", "status"),
    [({}, 400), ({"isPremium": True, "updatedAt": "x"}, 400), ({"isPremium": True, "theme": "dark"}, 200)],
)
def test_settings_that_are_no_users_to_choose_are_told_of(
    document: Json, world: World, given: Json, status: int
) -> None:
    schema = {"$ref": "#/components/schemas/SettingsChange"}
    assert (problems(document, schema, {"settings": given}) == []) == (status == 200)
    assert world.owner.put("/api/settings", json={"settings": given}).status_code == status


def test_what_is_outside_tells_of_its_answers(document: Json) -> None:
    told = {
        path: set(document["paths"][path]["get"]["responses"]) for path in ("/healthz", "/readyz", "/images/{name}")
    }
    assert told == {"/healthz": {"200"}, "/readyz": {"200", "503"}, "/images/{name}": {"200", "304", "404"}}


def test_a_picture_is_told_of(document: Json, world: World, nobody: httpx.Client) -> None:
    url = world.owner.post("/api/profile/image", files={"image": images.build_png(9, 9)}).json()["imageUrl"]
    told = document["paths"]["/images/{name}"]["get"]["responses"]
    known = nobody.get(url).headers["etag"]
    for status, response in {
        "200": nobody.get(url),
        "304": nobody.get(url, headers={"If-None-Match": known}),
        "404": nobody.get("/images/x.png"),
    }.items():
        safe = {"content-security-policy", "cross-origin-resource-policy", "x-content-type-options"}
        assert str(response.status_code) == status
        assert {name.lower() for name in told[status]["headers"]} == response.headers.keys() - USUAL - safe
        assert response.headers.get("content-type") in {*told[status].get("content", {}), None}


def media_type(route: Route) -> str:
    """What a route's body is sent as."""
    if route.image:
        return "multipart/form-data; boundary=b"
    return "application/x-www-form-urlencoded" if route.form else "application/json"


def test_the_errors_are_those_there_are(document: Json) -> None:
    told = {name: answer["content"]["application/json"] for name, answer in document["components"]["responses"].items()}
    assert told.keys() == set(CODES.values()) - {"method_not_allowed"}  # that is no operation's
    assert all(content["example"]["error"]["code"] == name for name, content in told.items())


def test_a_rule_that_changes_is_told_of(
    new_api: Callable[..., Api], new_database: Callable[[str], str], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = new_database("parley_rules")

    async def titles() -> list[int]:
        monkeypatch.setenv("DATABASE_URL", postgres.url(database, "app", "app"))
        settings = Settings.load()
        connected = await Database.connect(settings)
        openapi = OpenApi(settings, connected)
        lengths = [await longest_title(openapi)]
        with psycopg.connect(postgres.url(database), autocommit=True) as dba:
            dba.execute(
                "create or replace function rules.length_limits(field text) returns int4range"
                " language sql immutable parallel safe return int4range(1, 7, '[]')"
            )
        lengths.append(await longest_title(openapi))
        monkeypatch.setattr("api.openapi.document.FRESH_SECONDS", 0)
        lengths.append(await longest_title(openapi))
        await connected.close()
        return lengths

    async def longest_title(openapi: OpenApi) -> int:
        told = json.loads(await openapi.text())
        return int(told["components"]["schemas"]["NewChat"]["properties"]["title"]["maxLength"])

    environment = new_api(database).environment
    for name in ("REDIS_URL", "NEXTAUTH_SECRET"):
        monkeypatch.setenv(name, environment[name])
    assert asyncio.run(titles()) == [200, 200, 7]


def test_of_many_who_ask_at_once_one_asks_the_database(
    new_api: Callable[..., Api], shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    is_asking = asyncio.Event()

    class Watched(Database):
        async def call(self, statement: str, *arguments: Any) -> Any:
            asked.append(statement)
            is_asking.set()
            return await super().call(statement, *arguments)

    async def ask() -> None:
        connected = await Watched.connect(Settings.load())
        openapi = OpenApi(Settings.load(), connected)
        first = asyncio.create_task(openapi.text())
        others = [asyncio.create_task(openapi.text()) for _ in range(20)]
        await is_asking.wait()
        first.cancel()  # as when that client goes away
        assert len(set(await asyncio.gather(*others))) == 1
        assert len(asked) == 1
        await connected.close()
        monkeypatch.setattr("api.openapi.document.FRESH_SECONDS", 0)
        for _ in range(2):
            assert await openapi.text() == await others[0]  # what it was while the database was there
            with pytest.raises(asyncpg.InterfaceError):
                await OpenApi(Settings.load(), connected).text()

    new_api(shared_database).lend_environment(monkeypatch)
    asyncio.run(ask())


# Events


def test_what_is_recorded_is_what_the_events_tell(document: Json, dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    for content in ("Hello", "x" * 20_000):
        message = call(dba, user, "send_message", chat, {"content": content})["id"]
        call(dba, user, "update_message", chat, message, {"content": content + "!", "type": "code"})
    call(dba, user, "delete_message", chat, message)
    call(dba, user, "update_chat", chat, {"title": "Plans"})
    for event in call(dba, user, "list_chat_events", chat, after="0")["events"]:
        assert problems(document, {"$ref": "#/components/schemas/LoggedEvent"}, event) == []
    call(dba, user, "delete_chat", chat)
    recorded = dba.execute("select event, payload from parley.outbox where chat_id = %s", [chat]).fetchall()
    told = {event.name: event.payload.__name__ for event in EVENTS}
    published = [(event, payload) for event, payload in recorded if event != "member:added"]
    assert {event for event, _ in published} == told.keys()
    for event, payload in published:
        schema = {"$ref": f"#/components/schemas/{told[event]}"}
        assert problems(document, schema, payload) == []
        assert problems(document, schema, None) != []
