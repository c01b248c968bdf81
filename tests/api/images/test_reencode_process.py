"""Uploads are decoded in a separate, limited process: its isolation, its crashes, and its slots."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from api.dev.process import find_free_port
from api.http.errors import ApiError
from api.images import reencode_process
from api.images.kinds import PROFILE_IMAGE
from tests import ROOT, images
from tests.api.images.support import (
    FORM_HEADERS,
    IMAGE,
    IMAGE_PART,
    PATH,
    encode_form,
    list_stored_names,
    suspended_decoder,
    upload,
)
from tests.api.support import expect_error, patch_api, request_head, unlimited_client
from tests.api_process import Api, running, scrape
from tests.tokens import new_user
from tests.waiting import wait_until

ONE_SLOT = "reencode_capacity.MAX_SLOTS = 1"


def test_other_requests_are_served_while_an_image_is_decoded(isolated_api: tuple[Api, str]) -> None:
    api, _ = isolated_api
    with (
        unlimited_client(api) as client,
        unlimited_client(api) as other,
        suspended_decoder(api, client) as (decoder, pending),
    ):
        assert client.get("/api/chats").status_code == 200
        assert upload(other, IMAGE).status_code == 200
        assert not pending.done()
        decoder.resume()
        assert pending.result().status_code == 200


@pytest.fixture
def single_slot_api(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    """An API that re-encodes one image at a time."""
    api = new_api(shared_database, METRICS_PORT=str(find_free_port()))
    with running(patch_api(api, ONE_SLOT, "image_store.SLOT_TIMEOUT_SECONDS = 15")) as api:
        yield api


def wait_for_open_uploads(api: Api, count: int) -> None:
    wait_until(lambda: scrape(int(api.environment["METRICS_PORT"]), "parley_uploads_in_progress") == count)


def test_user_of_costly_images_waits_behind_later_users(single_slot_api: Api) -> None:
    with (
        unlimited_client(single_slot_api) as holder,
        unlimited_client(single_slot_api) as heavy,
        unlimited_client(single_slot_api) as ordinary,
        ThreadPoolExecutor() as threads,
    ):
        assert upload(heavy, images.build_costly_apng(2)).status_code == 200
        with suspended_decoder(single_slot_api, holder) as (decoder, _):
            first = threads.submit(upload, heavy, IMAGE)
            wait_for_open_uploads(single_slot_api, 2)
            second = threads.submit(upload, ordinary, IMAGE)
            wait_for_open_uploads(single_slot_api, 3)
            decoder.resume()
            assert first.result().status_code == second.result().status_code == 200
        assert second.result().json()["updatedAt"] < first.result().json()["updatedAt"]


def test_client_that_disconnects_while_waiting_for_a_slot_leaves_the_queue(single_slot_api: Api) -> None:
    user, body = new_user(), encode_form(IMAGE_PART)
    with (
        unlimited_client(single_slot_api) as holder,
        unlimited_client(single_slot_api, user) as waiting,
        unlimited_client(single_slot_api) as other,
        ThreadPoolExecutor() as threads,
        suspended_decoder(single_slot_api, holder) as (decoder, _),
    ):
        headers = dict(waiting.headers) | FORM_HEADERS
        with socket.create_connection(("127.0.0.1", single_slot_api.port), timeout=10) as connection:
            request = request_head(f"POST {PATH} HTTP/1.1", headers | {"Content-Length": str(len(body))}) + body
            connection.sendall(request)
            wait_for_open_uploads(single_slot_api, 2)
            pending = threads.submit(upload, other, IMAGE)
            wait_for_open_uploads(single_slot_api, 3)
        wait_for_open_uploads(single_slot_api, 2)
        decoder.resume()
        assert pending.result().status_code == 200
        assert waiting.get("/api/profile").json()["user"]["imageUrl"] is None
        assert '"level": "error"' not in single_slot_api.log.read_text()


def test_upload_that_waits_too_long_for_a_slot_gets_503(new_api: Callable[..., Api], shared_database: str) -> None:
    with (
        running(patch_api(new_api(shared_database), ONE_SLOT, "image_store.SLOT_TIMEOUT_SECONDS = 0.2")) as api,
        unlimited_client(api) as holder,
        unlimited_client(api) as other,
        suspended_decoder(api, holder),
    ):
        expect_error(upload(other, IMAGE), 503)


@pytest.mark.parametrize("signal_number", [signal.SIGSEGV, signal.SIGXCPU])
def test_decoder_crash_fails_only_its_own_upload(isolated_api: tuple[Api, str], signal_number: signal.Signals) -> None:
    api, _ = isolated_api
    with unlimited_client(api) as client, suspended_decoder(api, client) as (decoder, pending):
        os.kill(decoder.pid, signal_number)
        decoder.resume()
        error = expect_error(pending.result(), 400)
        assert error["details"]["fields"] == {"image": "can't be decoded"}
        assert upload(client, IMAGE).status_code == 200
    assert f"crashed its decoder, exit status {-signal_number}" in api.log.read_text()


def test_decoder_that_is_killed_for_its_memory_fails_its_upload_with_503(isolated_api: tuple[Api, str]) -> None:
    api, _ = isolated_api
    with unlimited_client(api) as client:
        with suspended_decoder(api, client) as (decoder, pending):
            decoder.kill()
            assert "out of memory" in expect_error(pending.result(), 503)["message"]
            assert pending.result().headers["retry-after"]
        assert upload(client, IMAGE).status_code == 200
    assert "A decoder of images was killed: memory has run out" in api.log.read_text()


def test_decoder_has_no_secrets_and_limited_resources(isolated_api: tuple[Api, str]) -> None:
    api, _ = isolated_api
    with unlimited_client(api) as client, suspended_decoder(api, client) as (decoder, _):
        environment = decoder.environ()
        assert not [name for name in api.environment if name in environment]
        limits = [decoder.rlimit(limit) for limit in (psutil.RLIMIT_AS, psutil.RLIMIT_CPU, psutil.RLIMIT_FSIZE)]
        assert limits == [(512 * 1024 * 1024,) * 2, (6, 7), (16 * 1024 * 1024,) * 2]
        assert Path(f"/proc/{decoder.pid}/oom_score_adj").read_text() == "1000\n"


def test_user_occupies_at_most_one_slot(isolated_api: tuple[Api, str]) -> None:
    api, _ = isolated_api
    with (
        unlimited_client(api) as client,
        unlimited_client(api) as other,
        ThreadPoolExecutor() as threads,
        suspended_decoder(api, client) as (decoder, first),
    ):
        second = threads.submit(upload, client, IMAGE)
        assert upload(other, IMAGE).status_code == 200
        assert not second.done()
        decoder.resume()
        assert first.result().status_code == second.result().status_code == 200


def test_decoder_that_exceeds_its_timeout_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "hangs.py"
    program.write_text("import signal\nsignal.pause()")
    monkeypatch.setattr(reencode_process, "PROGRAM", program)
    monkeypatch.setattr(reencode_process, "TIMEOUT_SECONDS", 0.01)
    with (tmp_path / "upload").open("w+b") as upload, pytest.raises(ApiError) as caught:
        reencode_process.run_reencoder(upload, PROFILE_IMAGE)
    assert caught.value.status == 503
    assert not [p for p in psutil.Process().children() if str(program) in p.cmdline()]


@pytest.mark.parametrize(
    ("work", "status"),
    [("while True: pass", -signal.SIGXCPU), ("bytearray(2**28)", 1), ("print('x' * 2000)", 1), ("print('x')", 0)],
)
def test_decoder_process_enforces_its_limits(tmp_path: Path, work: str, status: int) -> None:
    program = tmp_path / "limited.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from api.images.reencode import limits\n"
        "limits.CPU_SECONDS, limits.MEMORY_BYTES, limits.MAX_OUTPUT_BYTES = 1, 2**28, 1000\n"
        f"limits.limit_process()\n{work}"
    )
    with (tmp_path / "output").open("wb") as output:
        done = subprocess.run([sys.executable, program], stdout=output, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == status


def test_shutdown_waits_for_uploads_in_progress(isolated_api: tuple[Api, str]) -> None:
    api, _ = isolated_api
    with unlimited_client(api) as client, suspended_decoder(api, client) as (decoder, pending):
        assert api.child
        os.kill(api.child.pid, signal.SIGTERM)
        decoder.resume()
        assert pending.result().status_code == 200


def test_killed_api_has_stored_nothing_of_an_unfinished_upload(isolated_api: tuple[Api, str]) -> None:
    api, _ = isolated_api
    user = new_user()
    with unlimited_client(api, user) as client:
        url = upload(client, IMAGE).json()["imageUrl"]
        with suspended_decoder(api, client) as (_, pending):
            api.kill()
            assert isinstance(pending.exception(), httpx.TransportError)
        api.start()
        assert client.get("/api/profile").json()["user"]["imageUrl"] == url
        assert list_stored_names(api) == {url.rpartition("/")[2]}


def test_several_workers_accept_uploads(new_api: Callable[..., Api], shared_database: str) -> None:
    with running(new_api(shared_database, WORKERS="2")) as api:
        for _ in range(6):
            with unlimited_client(api) as client:
                assert upload(client, IMAGE).status_code == 200
