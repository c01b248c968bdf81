"""Upload slots: when all are taken, slow uploads and uploads of users with several are evicted."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from select import select

import httpx
import pytest

from api.dev.process import find_free_port
from api.images import upload_slots
from tests.api.images.support import FORM_HEADERS, IMAGE, PATH
from tests.api.support import (
    RawResponse,
    expect_error,
    new_address,
    patch_api,
    request_head,
    send_raw,
    unlimited_client,
)
from tests.api_process import Api, running, scrape
from tests.tokens import new_user, token
from tests.waiting import wait_until

FORM_START = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FORM_END = b"\r\n--x--\r\n"


class SlowUpload:
    """An upload from its own client address, of which the test sends the bytes step by step."""

    def __init__(self, api: Api, user: str, key: str | None = None) -> None:
        self.unsent = FORM_START + IMAGE + bytes(500_000) + FORM_END
        self.connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
        headers = {
            "Authorization": f"Bearer {token(user)}", "X-Forwarded-For": new_address(), **FORM_HEADERS,
            "Content-Length": str(len(self.unsent)), "Expect": "100-continue",
            **({"Idempotency-Key": key} if key else {}),
        }  # fmt: skip
        self.connection.sendall(request_head(f"POST {PATH} HTTP/1.1", headers))
        # Only an upload that has a slot gets 100 (Continue).
        self.has_slot = self.connection.recv(len(CONTINUE), socket.MSG_WAITALL | socket.MSG_PEEK) == CONTINUE
        if self.has_slot:
            self.connection.recv(len(CONTINUE), socket.MSG_WAITALL)

    def send(self, size: int) -> None:
        """Send the next bytes."""
        self.connection.sendall(self.unsent[:size])
        self.unsent = self.unsent[size:]

    @property
    def has_response(self) -> bool:
        return bool(select([self.connection], [], [], 0)[0])

    def read_response(self) -> RawResponse:
        """Read the response."""
        with HTTPResponse(self.connection, method="POST") as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return RawResponse(response.status, headers, response.read().decode())

    def __enter__(self) -> "SlowUpload":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


@contextmanager
def slow_uploads(api: Api, users: int, uploads_per_user: int, size: int = 1) -> Iterator[list[SlowUpload]]:
    """Start uploads of new users, and send `size` bytes of each."""
    with ExitStack() as stack:
        uploads = []
        for user in (new_user("slow") for _ in range(users)):
            for _ in range(uploads_per_user):
                uploads.append(stack.enter_context(SlowUpload(api, user)))
                assert uploads[-1].has_slot
                uploads[-1].send(size)
        yield uploads


def upload(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post(PATH, files={"image": IMAGE}, headers=headers)


@pytest.mark.slow
@pytest.mark.parametrize(("users", "uploads_per_user"), [(5, 4), (5, 20), (4, 25), (100, 1), (40, 2)])
def test_slow_uploads_do_not_keep_others_out(api: Api, users: int, uploads_per_user: int) -> None:
    """With the default limits, attackers hold up to all slots and start again when one of their uploads is evicted."""
    assert upload_slots.MAX_UPLOADS_PER_USER == 25
    assert upload_slots.MAX_UPLOADS == 100
    is_full = users * uploads_per_user == upload_slots.MAX_UPLOADS
    with slow_uploads(api, users, uploads_per_user) as uploads, ExitStack() as stack, unlimited_client(api) as client:

        def find_evicted() -> list[SlowUpload]:
            return [slow_upload for slow_upload in uploads if slow_upload.has_response]

        for number in range(30):
            for slow_upload in uploads[number + 1 :]:
                slow_upload.send(1)
            assert upload(client).status_code == 200
            if is_full:
                assert stack.enter_context(SlowUpload(api, new_user("slow"))).has_slot
        wait_until(lambda: len(find_evicted()) == 30 * is_full)
        for slow_upload in find_evicted():
            assert expect_error(slow_upload.read_response(), 503)["message"] == upload_slots.EVICTED_MESSAGE


@pytest.fixture
def three_slot_api(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    """An API with three upload slots."""
    api = new_api(shared_database, METRICS_PORT=str(find_free_port()))
    with running(patch_api(api, "upload_slots.MAX_UPLOADS = 3")) as api:
        yield api


def count_open_uploads(api: Api) -> float:
    return scrape(int(api.environment["METRICS_PORT"]), "parley_uploads_in_progress")


def count_temporary_files(api: Api) -> int:
    """Return how many deleted temporary files the process has open."""
    assert api.child
    files = []
    for path in Path(f"/proc/{api.child.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # It was closed in the meantime.
            files.append(path.readlink())
    return sum(str(file).endswith(" (deleted)") and file.is_relative_to(tempfile.gettempdir()) for file in files)


def test_open_uploads_of_a_user_are_limited(api: Api) -> None:
    user = new_user()
    with (
        slow_uploads(api, 1, 1),
        ExitStack() as stack,
        unlimited_client(api, user) as client,
        unlimited_client(api) as other,
    ):
        mine = [stack.enter_context(SlowUpload(api, user)) for _ in range(upload_slots.MAX_UPLOADS_PER_USER)]
        assert all(slow_upload.has_slot for slow_upload in mine)
        response = upload(client)
        message = "A user may have 25 uploads in progress; try again when one has ended."
        assert expect_error(response, 503)["message"] == message
        assert response.headers["retry-after"] == "1"
        assert upload(other).status_code == 200
        mine[0].connection.close()
        wait_until(lambda: upload(client).status_code == 200)


def test_steady_upload_keeps_its_slot_however_many_others_start(three_slot_api: Api) -> None:
    user = new_user("steady")
    with SlowUpload(three_slot_api, user) as steady, slow_uploads(three_slot_api, 2, 1) as slow, ExitStack() as stack:
        for _ in range(10):
            steady.send(50_000)
            slow.append(stack.enter_context(SlowUpload(three_slot_api, new_user("slow"))))
            assert slow[-1].has_slot
        steady.send(len(steady.unsent))
        assert steady.read_response().status_code == 200
        for slow_upload in slow[:10]:  # The oldest have the lowest average rate.
            assert expect_error(slow_upload.read_response(), 503)["message"] == upload_slots.EVICTED_MESSAGE
        assert not any(slow_upload.has_response for slow_upload in slow[10:])


def test_new_upload_is_rejected_while_no_upload_is_slow_and_no_slot_is_free(three_slot_api: Api) -> None:
    with slow_uploads(three_slot_api, 3, 1, size=100_000) as uploads, unlimited_client(three_slot_api) as client:
        response = upload(client)
        assert expect_error(response, 503)["message"] == upload_slots.FULL_MESSAGE
        assert response.headers["retry-after"] == "1"
        assert not any(slow_upload.has_response for slow_upload in uploads)
        uploads[0].send(len(uploads[0].unsent))
        assert uploads[0].read_response().status_code == 200
        assert upload(client).status_code == 200


def test_user_with_many_slots_loses_one_while_no_upload_is_slow(three_slot_api: Api) -> None:
    with slow_uploads(three_slot_api, 1, 3, size=100_000) as uploads, unlimited_client(three_slot_api) as client:
        assert upload(client).status_code == 200
        wait_until(lambda: sum(slow_upload.has_response for slow_upload in uploads) == 1)
        with slow_uploads(three_slot_api, 1, 1, size=100_000), SlowUpload(three_slot_api, new_user()) as third:
            assert not third.has_slot  # A user with two uploads loses none: browsers send as many.
            expect_error(third.read_response(), 503)


def test_evicted_upload_can_be_retried_with_its_idempotency_key(three_slot_api: Api) -> None:
    user, key = new_user(), new_user("key")
    with (
        SlowUpload(three_slot_api, user, key) as first,
        slow_uploads(three_slot_api, 3, 1),
        unlimited_client(three_slot_api, user) as client,
    ):
        expect_error(first.read_response(), 503)
        response = upload(client, **{"Idempotency-Key": key})
        assert response.status_code == 200
        assert "idempotency-replayed" not in response.headers


def test_evicted_uploads_leave_no_files_or_counts_behind(three_slot_api: Api) -> None:
    with slow_uploads(three_slot_api, 10, 1) as uploads:
        wait_until(lambda: count_open_uploads(three_slot_api) == 3)
        wait_until(lambda: count_temporary_files(three_slot_api) == 3)
        wait_until(lambda: [slow_upload.has_response for slow_upload in uploads] == [True] * 7 + [False] * 3)
        with unlimited_client(three_slot_api) as client:
            assert upload(client).status_code == 200
    wait_until(lambda: count_open_uploads(three_slot_api) == 0)
    wait_until(lambda: count_temporary_files(three_slot_api) == 0)
    assert '"level": "error"' not in three_slot_api.log.read_text()


def test_upload_whose_client_disconnects_frees_its_slot(three_slot_api: Api) -> None:
    with slow_uploads(three_slot_api, 3, 1, size=100_000) as uploads:
        uploads[1].connection.close()
        wait_until(lambda: count_open_uploads(three_slot_api) == 2)
        with SlowUpload(three_slot_api, new_user()) as newcomer:
            assert newcomer.has_slot
        assert not uploads[0].has_response
        assert not uploads[2].has_response


def is_closed(connection: socket.socket) -> bool:
    """Return whether the peer has closed the connection without sending anything."""
    with suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


@pytest.mark.parametrize("bound", ["upload_slots.MAX_UPLOADS = 1", "upload.TIMEOUT_SECONDS = 0.1"])
def test_unread_rest_of_a_body_is_not_parsed_as_a_request(
    new_api: Callable[..., Api], shared_database: str, bound: str
) -> None:
    with running(patch_api(new_api(shared_database), bound)) as api, SlowUpload(api, new_user()) as slow:
        with SlowUpload(api, new_user()):
            response = slow.read_response()
        assert response.status_code == (503 if "MAX_UPLOADS" in bound else 400)
        assert response.headers["connection"] == "close"
        slow.connection.sendall(request_head("GET /healthz HTTP/1.1", {}))
        assert is_closed(slow.connection)


def test_body_that_takes_too_long_is_rejected(new_api: Callable[..., Api], shared_database: str) -> None:
    with running(patch_api(new_api(shared_database), "upload.TIMEOUT_SECONDS = 0.1")) as api:
        headers = api.headers() | FORM_HEADERS | {"Content-Length": "100000"}
        error = expect_error(send_raw(api, request_head(f"POST {PATH} HTTP/1.1", headers), b"--x\r\n"), 400)
        assert error["message"] == "The body took longer than 0.1 seconds."
