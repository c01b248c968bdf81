"""Room for uploads: slow ones leave room for those of others, by user and by progress, and their connections end."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from select import select

import httpx
import pytest

from api.admission import upload_slots
from api.dev.process import free_port
from tests import images
from tests.api.support import Wire, altered, exchange, head, new_address, refusal, unlimited
from tests.support import Api, new_user, running, scraped, token, wait_until

PATH = "/api/profile/image"
IMAGE = images.png(9, 9)
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
BEGIN = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
END = b"\r\n--x--\r\n"


class SlowUpload:
    """An upload of a user, from an address of its own, whose bytes are sent when the test decides."""

    def __init__(self, api: Api, user: str, key: str | None = None) -> None:
        self.unsent = BEGIN + IMAGE + bytes(500_000) + END
        self.connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
        sent = {
            "Authorization": f"Bearer {token(user)}", "X-Forwarded-For": new_address(), **FORM,
            "Content-Length": str(len(self.unsent)), "Expect": "100-continue",
            **({"Idempotency-Key": key} if key else {}),
        }  # fmt: skip
        self.connection.sendall(head(f"POST {PATH} HTTP/1.1", sent))
        # An upload that has a place is read; one that is refused is not asked for.
        self.has_begun = self.connection.recv(len(CONTINUE), socket.MSG_WAITALL | socket.MSG_PEEK) == CONTINUE
        if self.has_begun:
            self.connection.recv(len(CONTINUE), socket.MSG_WAITALL)

    def send(self, size: int) -> None:
        """The next bytes."""
        self.connection.sendall(self.unsent[:size])
        self.unsent = self.unsent[size:]

    @property
    def has_response(self) -> bool:
        return bool(select([self.connection], [], [], 0)[0])

    def response(self) -> Wire:
        """The response, after which the connection ends."""
        with HTTPResponse(self.connection, method="POST") as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Wire(response.status, headers, response.read().decode())

    def __enter__(self) -> "SlowUpload":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


@contextmanager
def slow_uploads(api: Api, users: int, each: int, size: int = 1) -> Iterator[list[SlowUpload]]:
    """Uploads of so many users, each of which has sent so many bytes of each."""
    with ExitStack() as stack:
        uploads = []
        for user in (new_user("slow") for _ in range(users)):
            for _ in range(each):
                uploads.append(stack.enter_context(SlowUpload(api, user)))
                assert uploads[-1].has_begun
                uploads[-1].send(size)
        yield uploads


def upload(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post(PATH, files={"image": IMAGE}, headers=headers)


@pytest.mark.parametrize(("users", "each"), [(5, 4), (5, 20), (4, 25), (100, 1), (40, 2)])
def test_however_many_send_slowly_others_upload(api: Api, users: int, each: int) -> None:
    """With the bounds as they are: attackers hold all places, and come again when one had to leave."""
    assert upload_slots.OPEN_FOR_ONE == 25
    assert upload_slots.PLACES == 100
    is_full = users * each == upload_slots.PLACES
    with slow_uploads(api, users, each) as uploads, ExitStack() as stack, unlimited(api) as client:

        def yielded() -> list[SlowUpload]:
            return [one for one in uploads if one.has_response]

        for number in range(30):
            for one in uploads[number + 1 :]:
                one.send(1)
            assert upload(client).status_code == 200
            if is_full:
                assert stack.enter_context(SlowUpload(api, new_user("slow"))).has_begun
        wait_until(lambda: len(yielded()) == 30 * is_full)
        for one in yielded():
            assert refusal(one.response(), 503)["message"] == upload_slots.YIELDED


@pytest.fixture
def small(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    """An API with few places."""
    api = new_api(shared_database, METRICS_PORT=str(free_port()))
    with running(altered(api, "upload_slots.PLACES = 3")) as api:
        yield api


def open_uploads(api: Api) -> float:
    return scraped(int(api.environment["METRICS_PORT"]), "parley_uploads_open")


def temporary_files(api: Api) -> int:
    """How many files without a name the process has open."""
    assert api.child
    files = []
    for path in Path(f"/proc/{api.child.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            files.append(path.readlink())
    return sum(str(file).endswith(" (deleted)") and file.is_relative_to(tempfile.gettempdir()) for file in files)


def test_a_user_has_so_many_uploads_open(api: Api) -> None:
    user = new_user()
    with slow_uploads(api, 1, 1), ExitStack() as stack, unlimited(api, user) as client, unlimited(api) as other:
        mine = [stack.enter_context(SlowUpload(api, user)) for _ in range(upload_slots.OPEN_FOR_ONE)]
        assert all(one.has_begun for one in mine)
        response = upload(client)
        message = "A user may have 25 uploads under way; try again when one has ended."
        assert refusal(response, 503)["message"] == message
        assert response.headers["retry-after"] == "1"
        assert upload(other).status_code == 200
        mine[0].connection.close()
        wait_until(lambda: upload(client).status_code == 200)


def test_an_upload_that_goes_on_is_not_cut_however_many_come(small: Api) -> None:
    user = new_user("steady")
    with SlowUpload(small, user) as steady, slow_uploads(small, 2, 1) as slow, ExitStack() as stack:
        for _ in range(10):
            steady.send(50_000)
            slow.append(stack.enter_context(SlowUpload(small, new_user("slow"))))
            assert slow[-1].has_begun
        steady.send(len(steady.unsent))
        assert steady.response().status_code == 200
        for one in slow[:10]:  # the oldest have sent the least in their time
            assert refusal(one.response(), 503)["message"] == upload_slots.YIELDED
        assert not any(one.has_response for one in slow[10:])


def test_without_a_slow_upload_a_newcomer_is_refused_until_a_place_is_free(small: Api) -> None:
    with slow_uploads(small, 3, 1, size=100_000) as uploads, unlimited(small) as client:
        response = upload(client)
        assert refusal(response, 503)["message"] == upload_slots.FULL
        assert response.headers["retry-after"] == "1"
        assert not any(one.has_response for one in uploads)
        uploads[0].send(len(uploads[0].unsent))
        assert uploads[0].response().status_code == 200
        assert upload(client).status_code == 200


def test_without_a_slow_upload_who_has_many_places_yields_one(small: Api) -> None:
    with slow_uploads(small, 1, 3, size=100_000) as uploads, unlimited(small) as client:
        assert upload(client).status_code == 200
        wait_until(lambda: sum(one.has_response for one in uploads) == 1)
        with slow_uploads(small, 1, 1, size=100_000), SlowUpload(small, new_user()) as third:
            assert not third.has_begun  # two are as many as a browser sends
            refusal(third.response(), 503)


def test_an_upload_that_yielded_can_be_repeated_with_its_key(small: Api) -> None:
    user, key = new_user(), new_user("key")
    with SlowUpload(small, user, key) as first, slow_uploads(small, 3, 1), unlimited(small, user) as client:
        refusal(first.response(), 503)
        response = upload(client, **{"Idempotency-Key": key})
        assert response.status_code == 200
        assert "idempotency-replayed" not in response.headers


def test_uploads_that_yielded_leave_nothing_behind(small: Api) -> None:
    with slow_uploads(small, 10, 1) as uploads:
        wait_until(lambda: open_uploads(small) == 3)
        wait_until(lambda: temporary_files(small) == 3)
        wait_until(lambda: [one.has_response for one in uploads] == [True] * 7 + [False] * 3)
        with unlimited(small) as client:
            assert upload(client).status_code == 200
    wait_until(lambda: open_uploads(small) == 0)
    wait_until(lambda: temporary_files(small) == 0)
    assert '"level": "error"' not in small.log.read_text()


def test_an_upload_whose_client_left_frees_its_place(small: Api) -> None:
    with slow_uploads(small, 3, 1, size=100_000) as uploads:
        uploads[1].connection.close()
        wait_until(lambda: open_uploads(small) == 2)
        with SlowUpload(small, new_user()) as newcomer:
            assert newcomer.has_begun
        assert not uploads[0].has_response
        assert not uploads[2].has_response


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it and sent nothing more."""
    with suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


@pytest.mark.parametrize("bound", ["upload_slots.PLACES = 1", "upload.SECONDS = 0.1"])
def test_the_rest_of_a_body_that_is_not_read_is_no_request(
    new_api: Callable[..., Api], shared_database: str, bound: str
) -> None:
    with running(altered(new_api(shared_database), bound)) as api, SlowUpload(api, new_user()) as slow:
        with SlowUpload(api, new_user()):
            response = slow.response()
        assert response.status_code == (503 if "PLACES" in bound else 400)
        assert response.headers["connection"] == "close"
        slow.connection.sendall(head("GET /healthz HTTP/1.1", {}))
        assert is_closed(slow.connection)


def test_a_body_that_takes_too_long_is_refused(new_api: Callable[..., Api], shared_database: str) -> None:
    with running(altered(new_api(shared_database), "upload.SECONDS = 0.1")) as api:
        headers = api.headers() | FORM | {"Content-Length": "100000"}
        error = refusal(exchange(api, head(f"POST {PATH} HTTP/1.1", headers), b"--x\r\n"), 400)
        assert error["message"] == "The body took longer than 0.1 seconds."
