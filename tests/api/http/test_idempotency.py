"""Idempotency-Key: a POST that is repeated is done once, and answered again as it was, whatever happened meanwhile."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from api.routes import ROUTES, Route
from tests import images
from tests.api.support import exchange, head, refusal, unlimited
from tests.api.test_routes import World, name_of, new_world
from tests.sql.test_idempotency import BAD_KEY
from tests.support import NO_SUCH_ID, Api, add_session, new_user, running, token, wait_until

CHATS, IMAGE = "/api/chats", "/api/profile/image"
POSTS = [route for route in ROUTES if route.method == "POST"]
REPEATED = "idempotency-replayed"


def keyed(key: str = "") -> dict[str, str]:
    """The header with a key, unless it is given a new one."""
    return {"Idempotency-Key": key or new_user("key")}


@pytest.fixture
def world(api: Api) -> Iterator[World]:
    with new_world(api) as world:
        yield world


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    """Of a new user."""
    with unlimited(api) as client:
        yield client


def new_chat(client: httpx.Client) -> str:
    """The messages of a new chat."""
    return f"{CHATS}/{client.post(CHATS, json={'title': 'Plans'}).json()['id']}/messages"


def contents(client: httpx.Client, messages: str) -> list[str]:
    """What is said in a chat, newest first."""
    answer = client.get(messages, params={"limit": "100"}).json()
    assert answer["total"] == len(answer["messages"])
    return [message["content"] for message in answer["messages"]]


def is_repetition(answer: httpx.Response, first: httpx.Response) -> bool:
    """Whether an answer says that it is the first one again, which it then has to be."""
    if REPEATED not in answer.headers:
        return False
    assert answer.headers[REPEATED] == "true"
    assert (answer.status_code, answer.content) == (first.status_code, first.content)
    assert answer.headers["content-type"] == first.headers["content-type"]
    return True


@pytest.mark.parametrize("route", POSTS, ids=name_of)
def test_every_post_can_be_repeated(world: World, route: Route) -> None:
    key = keyed()
    first = world.request(world.owner, route, headers=key)
    assert first.status_code == route.status, first.text
    assert REPEATED not in first.headers
    for _ in range(2):
        assert is_repetition(world.request(world.owner, route, headers=key), first)
    other = next(other for other in POSTS if other is not route)
    error = refusal(world.request(world.owner, other, headers=key), 422)
    assert error["message"] == "Another request was sent with this Idempotency-Key."
    assert world.request(world.owner, other, headers=keyed()).status_code == other.status


def test_what_is_no_post_has_no_key(client: httpx.Client) -> None:
    chat = new_chat(client).removesuffix("/messages")
    for key in (keyed("a key"), keyed("same"), keyed("same")):
        for answer in (client.get(chat, headers=key), client.put(chat, json={"title": new_user()}, headers=key)):
            assert answer.status_code == 200
            assert REPEATED not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        [b""],
        [b'"'],
        [b"a b"],
        [b"a" * 256],
        [b"a", b"a"],
        [b'"a"', b'"a"'],
        [b"a", b""],
        ["clé".encode()],
        ["clé".encode("latin-1")],
        [b"\xff"],
        [b"\xc2\xa0"],
    ],
)
def test_what_is_no_key_is_refused(client: httpx.Client, headers: list[bytes]) -> None:
    given = [*client.headers.raw, *((b"Idempotency-Key", value) for value in headers)]
    answer = client.post(CHATS, json={"title": "x"}, headers=given)
    assert refusal(answer, 400)["details"] == {"fields": {"Idempotency-Key": BAD_KEY}}
    assert client.get(CHATS).json()["total"] == 0


def test_what_is_around_a_key_is_not_of_it(api: Api, client: httpx.Client) -> None:
    key, body = new_user("key"), b'{"title": "x"}'
    sent = dict(client.headers) | {"Content-Type": "application/json", "Content-Length": str(len(body))}
    answers = [
        exchange(api, head("POST /api/chats HTTP/1.1", sent | {"Idempotency-Key": given}), body)
        for given in (key, f" \t{key} \t")
    ]
    assert [(answer.status_code, answer.text) for answer in answers] == [(201, answers[0].text)] * 2
    assert [answer.headers.get(REPEATED) for answer in answers] == [None, "true"]


@pytest.mark.parametrize("key", ["a", "a" * 255, "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"])
def test_a_key_may_be_in_quotes(client: httpx.Client, key: str) -> None:
    first = client.post(CHATS, json={"title": "x"}, headers=keyed(key))
    assert is_repetition(client.post(CHATS, json={"title": "x"}, headers=keyed(f'"{key}"')), first)


def test_a_repeat_has_the_same_body_to_the_byte(client: httpx.Client) -> None:
    messages, key = new_chat(client), keyed()

    def send(body: str, content_type: str = "application/json", path: str = messages) -> httpx.Response:
        return client.post(path, content=body, headers=key | {"Content-Type": content_type})

    first = send('{"content": "x"}')
    assert is_repetition(send('{"content": "x"}', "application/json; charset=utf-8"), first)
    for body in ('{"content":"x"}', '{"content": "x", "type": "text"}', "{", ""):
        refusal(send(body), 422)
    refusal(send('{"content": "x"}', path=new_chat(client)), 422)
    refusal(send('{"content": "x"}', "text/plain"), 415)
    assert contents(client, messages) == ["x"]


def test_a_user_has_a_key_in_every_session(nobody: httpx.Client, postgres: Postgres, shared_database: str) -> None:
    user, key = new_user(), keyed()
    with psycopg.connect(postgres.url(shared_database), autocommit=True) as dba:
        tokens = [add_session(dba, user), add_session(dba, user), token(user), token(new_user())]
    first, *others = [
        nobody.post(CHATS, json={"title": "x"}, headers=key | {"Authorization": f"Bearer {session_token}"})
        for session_token in tokens
    ]
    assert {answer.status_code for answer in (first, *others)} == {201}
    assert [is_repetition(other, first) for other in others] == [True, True, False]


REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    ("chats", {"title": "Plans"}, 201),
    ("chats", {"title": ""}, 400),
    ("messages", {"content": "one"}, 201),
    ("messages", {"content": "two"}, 201),
    ("messages", {"content": "one", "type": "code"}, 201),
    ("messages", {"content": " "}, 400),
    ("elsewhere", {"content": "one"}, 404),
]
STEP = st.tuples(st.sampled_from((0, 1)), st.sampled_from(("", "a", "b")), st.sampled_from(REQUESTS))


@settings(max_examples=30)
@given(steps=st.lists(STEP, max_size=15))
def test_whatever_is_asked_in_turn_what_has_a_key_is_done_once(
    api: Api, steps: list[tuple[int, str, tuple[str, dict[str, Any], int]]]
) -> None:
    users = [new_user(), new_user()]
    with unlimited(api, users[0]) as one, unlimited(api, users[1]) as other:
        other.get(CHATS)
        messages = new_chat(one)
        assert one.post(messages.replace("messages", "members"), json={"userId": users[1]}).status_code == 201
        paths = {"chats": CHATS, "messages": messages, "elsewhere": f"{CHATS}/{NO_SUCH_ID}/messages"}
        first: dict[tuple[int, str], tuple[str, dict[str, Any], httpx.Response]] = {}
        said: list[str] = []
        for user, key, (where, body, status) in steps:
            headers = keyed(key) if key else {}
            answer = (one, other)[user].post(paths[where], json=body, headers=headers)
            if (user, key) in first:
                was_asked, was_sent, was_answered = first[user, key]
                if (was_asked, was_sent) == (where, body):
                    assert is_repetition(answer, was_answered)
                else:
                    refusal(answer, 422)
                continue
            assert answer.status_code == status
            assert REPEATED not in answer.headers
            if status == 201:
                said += [body["content"]] if where == "messages" else []
                if key:
                    first[user, key] = where, body, answer
        assert contents(one, messages) == said[::-1]


def test_who_may_not_hear_a_channel_any_more_is_not_let_in_by_a_repeat(world: World) -> None:
    key, form = keyed(), {"socket_id": "1.2", "channel_name": world.fill("private-chat-<chat_id>")}

    def authorize() -> httpx.Response:
        return world.member.post("/api/pusher/auth", data=form, headers=key)

    first = authorize()
    assert is_repetition(authorize(), first)
    assert world.owner.delete(world.fill("/api/chats/<chat_id>/members/<user_id>")).status_code == 204
    refusal(authorize(), 403)
    world.owner.post(world.fill("/api/chats/<chat_id>/members"), json={"userId": world.ids["member"]})
    assert is_repetition(authorize(), first)


# An image


def upload(client: httpx.Client, content: bytes, key: dict[str, str]) -> httpx.Response:
    """Framed anew each time, as clients do."""
    return client.post(IMAGE, files={"image": (new_user(), content)}, headers=key)


def test_an_image_is_stored_once(api: Api, client: httpx.Client) -> None:
    key, content = keyed(), images.encode(images.draw_noise(9, 9, 300), "PNG")
    first = upload(client, content, key)
    assert first.status_code == 200
    stored = api.images / first.json()["imageUrl"].rpartition("/")[2]
    stored.unlink()
    assert is_repetition(upload(client, content, key), first)
    assert not stored.exists()
    refusal(upload(client, images.build_png(8, 8), key), 422)
    refusal(upload(client, b"no image", key), 400)
    assert client.get("/api/profile").json()["user"]["imageUrl"] == first.json()["imageUrl"]
    assert not is_repetition(upload(client, content, keyed()), first)
    assert stored.exists()


def test_an_image_that_was_refused_may_be_another(client: httpx.Client) -> None:
    key = keyed()
    refusal(upload(client, b"no image", key), 400)
    assert upload(client, images.build_png(5, 5), key).status_code == 200


# Several at once


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database("parley_once")


@pytest.fixture(scope="module")
def pair(directory: Path, new_api: Callable[..., Api], database: str) -> Iterator[tuple[Api, Api]]:
    """Two processes of one service."""
    options = {"STORAGE_URL": f"file://{directory}/images-once", "PUBLIC_URL": "https://chat.example.org"}
    with running(new_api(database, **options)) as one, running(new_api(database, **options)) as other:
        yield one, other


@contextmanager
def held(url: str) -> Iterator[Callable[[], int]]:
    """Locks that new chats, new messages and changed users wait for; what it gives tells how many do."""
    with psycopg.connect(url) as locker, psycopg.connect(url, autocommit=True) as watcher:
        locker.execute("select from parley.chats for update")
        locker.execute("select from next_auth.users for update")
        waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        yield lambda: watcher.execute(waiting).rowcount
        locker.rollback()


@pytest.mark.parametrize("what", ["message", "image"])
def test_while_it_is_done_a_repeat_is_told_when_to_come_again(
    pair: tuple[Api, Api], postgres: Postgres, database: str, what: str
) -> None:
    user, key = new_user(), keyed()
    with unlimited(pair[0], user) as one, unlimited(pair[1], user) as other, ThreadPoolExecutor() as threads:
        messages = new_chat(one)

        def ask(client: httpx.Client) -> httpx.Response:
            if what == "image":
                return upload(client, images.build_png(7, 7), key)
            return client.post(messages, json={"content": "x"}, headers=key)

        with held(postgres.url(database)) as waiting:
            asked = threads.submit(ask, one)
            wait_until(lambda: waiting() == 1)
            early = ask(other)
            error = refusal(early, 409)
            assert error["message"] == "The first request with this Idempotency-Key is still under way."
            assert error.keys() == {"message", "code"}
            assert early.headers["retry-after"] == "1"
            assert other.get(messages, headers=key).status_code == 200
            assert not asked.done()
        first = asked.result()
        assert first.is_success
        assert REPEATED not in first.headers
        assert [is_repetition(ask(client), first) for client in (one, other)] == [True, True]
        assert contents(one, messages) == ["x"] * (what == "message")


def test_of_a_hundred_at_once_one_is_done(pair: tuple[Api, Api]) -> None:
    user, key = new_user(), keyed()
    with unlimited(pair[0], user) as one, unlimited(pair[1], user) as other, ThreadPoolExecutor(20) as threads:
        messages = new_chat(one)

        def send(number: int) -> httpx.Response:
            return (one, other)[number % 2].post(messages, json={"content": "x"}, headers=key)

        answers = list(threads.map(send, range(100)))
        [first] = [answer for answer in answers if answer.status_code == 201 and REPEATED not in answer.headers]
        for answer in answers:
            if answer is not first and not is_repetition(answer, first):
                refusal(answer, 409)
        assert [is_repetition(send(number), first) for number in range(2)] == [True, True]
        assert contents(one, messages) == ["x"]


def test_what_a_killed_process_has_not_answered_is_done_once(
    pair: tuple[Api, Api], postgres: Postgres, database: str
) -> None:
    user, key = new_user(), keyed()
    doomed, survivor = pair
    with unlimited(doomed, user) as client, unlimited(survivor, user) as other, ThreadPoolExecutor() as threads:
        messages = new_chat(client)

        def send(client: httpx.Client) -> httpx.Response:
            return client.post(messages, json={"content": "x"}, headers=key)

        with held(postgres.url(database)) as waiting:
            asked = threads.submit(send, client)
            wait_until(lambda: waiting() == 1)
            doomed.kill()
            assert isinstance(asked.exception(), httpx.TransportError)
            doomed.start()
            refusal(send(client), 409)  # PostgreSQL does not know that nobody waits for its answer
        wait_until(lambda: send(client).status_code == 201)
        answers = [send(client), send(other)]
        assert [is_repetition(answer, answers[0]) for answer in answers] == [True, True]
        assert contents(client, messages) == ["x"]
