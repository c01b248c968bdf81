"""The client address that a request counts against."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.process import find_free_port
from api.http.client_address import ClientAddressResolver
from tests.api.support import RawResponse, expect_error, new_address, patch_api, send_raw
from tests.api_process import Api, choose_long_window, read_log, running, scrape
from tests.tokens import new_user

PEER = "192.0.2.1"


@pytest.mark.parametrize(
    ("forwarded", "proxies", "counted"),
    [
        ("", 0, PEER),
        ("203.0.113.9", 0, PEER),
        ("203.0.113.9, 198.51.100.7", 0, PEER),
        ("203.0.113.9", 1, "203.0.113.9"),
        ("203.0.113.9, 198.51.100.7", 1, "198.51.100.7"),
        ("203.0.113.9,198.51.100.7", 2, "203.0.113.9"),
        ("forged, 203.0.113.9 ,\t198.51.100.7 ", 2, "203.0.113.9"),
        ("1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4", 3, "2.2.2.2"),
        ("", 1, PEER),
        (",", 1, PEER),
        ("203.0.113.9", 2, PEER),
        ("203.0.113.9,", 1, PEER),
        ("forged", 1, PEER),
        ("203.0.113.256", 1, PEER),
        ("0203.0.113.9", 1, PEER),
        ("203.0.113", 1, PEER),
        ("3405803785", 1, PEER),
        ("203.0.113.9/32", 1, PEER),
        ("\udcff", 1, PEER),
        ("2001:db8:1:2:3:4:5:6", 1, "2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002::", 1, "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", 1, "2001:db8:1:3::/64"),
        ("fe80::1%eth0", 1, "fe80::/64"),
        ("::ffff:203.0.113.9", 1, "203.0.113.9"),
        ("::FFFF:cb00:7109", 1, "203.0.113.9"),
        ("::1", 1, "::/64"),
        ("203.0.113.9:1", 1, "203.0.113.9"),
        ("203.0.113.9:65535, 198.51.100.7:443", 2, "203.0.113.9"),
        ("[2001:db8:1:2::7]", 1, "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::7]:443", 1, "2001:db8:1:2::/64"),
        ("[::ffff:203.0.113.9]:443", 1, "203.0.113.9"),
        ("2001:db8:1:2::443", 1, "2001:db8:1:2::/64"),
        ("unknown", 1, PEER),
        ("_hidden:80", 1, PEER),
        ("203.0.113.9:", 1, PEER),
        ("203.0.113.9:x", 1, PEER),
        ("203.0.113.9:123456", 1, PEER),
        ("203.0.113.9:1:2", 1, PEER),
        ("203.0.113.9:\u0661", 1, PEER),
        ("[2001:db8::7", 1, PEER),
        ("2001:db8::7]:443", 1, PEER),
        ("[]:443", 1, PEER),
        ("[[2001:db8::7]]", 1, PEER),
        (":443", 1, PEER),
    ],
)
def test_client_address_is_the_nth_forwarded_or_the_peers(forwarded: str, proxies: int, counted: str) -> None:
    address, is_fallback = ClientAddressResolver(proxies).resolve(PEER, forwarded)
    assert address == counted
    assert is_fallback == (proxies > 0 and counted == PEER)


@pytest.mark.parametrize(
    ("peer", "counted"),
    [("::ffff:192.0.2.1", PEER), ("2001:db8::7", "2001:db8::/64"), ("fe80::1%lo", "fe80::/64"), ("", "")],
)
def test_peer_addresses_are_normalized_in_the_same_way(peer: str, counted: str) -> None:
    assert ClientAddressResolver(0).resolve(peer, "") == (counted, False)
    assert ClientAddressResolver(1).resolve(peer, "forged") == (counted, True)


@given(forwarded=st.text(st.characters(codec=None)) | st.ip_addresses().map(str), proxies=st.integers(0, 3))
def test_any_forwarded_header_yields_an_address(forwarded: str, proxies: int) -> None:
    address, _ = ClientAddressResolver(proxies).resolve(PEER, forwarded)
    assert set(address) <= set("0123456789abcdef.:/")


@given(forged=st.lists(st.ip_addresses(v=4).map(str), max_size=3), proxies=st.integers(1, 3))
def test_forged_entries_do_not_change_the_address(forged: list[str], proxies: int) -> None:
    appended = [f"198.51.100.{n}" for n in range(proxies)]  # the outermost proxy appended the first one
    assert ClientAddressResolver(proxies).resolve(PEER, ",".join([*forged, *appended])) == ("198.51.100.0", False)


def test_clients_behind_a_balancer_that_appends_ports_have_own_budgets(api: Api) -> None:
    with api.client() as client:
        address = client.headers["X-Forwarded-For"]
        for port in range(10):
            assert client.get("/api/chats", headers={"X-Forwarded-For": f"{address}:{50_000 + port}"}).is_success
        expect_error(client.get("/api/chats", headers={"X-Forwarded-For": f"{address}:1"}), 429)
        assert client.get("/api/chats", headers={"X-Forwarded-For": f"[2001:db8:{new_user()[-4:]}::1]:1"}).is_success


def test_missing_address_is_logged_once_and_counted(new_api: Callable[..., Api], shared_database: str) -> None:
    port = find_free_port()
    api = new_api(shared_database, METRICS_PORT=str(port), RATE_LIMIT_REQUESTS="100")
    with running(api), api.client() as client:
        assert client.get("/api/chats").is_success
        assert scrape(port, "parley_client_address_fallbacks_total") == 0
        for entry in ("unknown", "unknown", ""):
            assert client.get("/api/chats", headers={"X-Forwarded-For": entry}).is_success
        assert scrape(port, "parley_client_address_fallbacks_total") == 3
        [event] = [line["event"] for line in read_log(api.log) if "X-Forwarded-For" in line["event"]]
        assert "unknown" not in event


INVALID_HEADS = {
    "a malformed length": (b"POST /api/chats HTTP/1.1\r\nHost: a\r\n%bContent-Length: +16\r\n\r\n", 400),
    "an unknown expectation": (b"POST /api/chats HTTP/1.1\r\nHost: a\r\n%bExpect: x\r\nContent-Length: 2\r\n\r\n", 400),
    "no Host": (b"GET /api/chats HTTP/1.1\r\n%b\r\n", 400),
    "a malformed field": (b"GET /api/chats HTTP/1.1\r\nHost: a\r\n%bX : x\r\n\r\n", 400),
    "a malformed request line": (b"GET /api/chats HTTP/9\r\nHost: a\r\n%b\r\n", 400),
    "too many fields": (b"GET /api/chats HTTP/1.1\r\nHost: a\r\n%b" + b"X: x\r\n" * 100 + b"\r\n", 413),
    "a target that is too long": (b"GET /api/" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n%b\r\n", 413),
    "no end": (b"GET /api/chats HTTP/1.1\r\nHost: a\r\n%b", 400),
}


MALFORMED_LENGTH = INVALID_HEADS["a malformed length"]


@pytest.fixture
def new_limited(new_api: Callable[..., Api], shared_database: str) -> Callable[[int], tuple[Api, int]]:
    """A function that creates an API behind a number of proxies, with empty counts, and returns its metrics port."""

    def make(proxies: int) -> tuple[Api, int]:
        port = find_free_port()
        limit = {"RATE_LIMIT_PREFIX": new_user(), "RATE_LIMIT_WINDOW": choose_long_window()}
        api = new_api(shared_database, TRUSTED_PROXIES=str(proxies), METRICS_PORT=str(port), **limit)
        return patch_api(api, "app.TIMEOUTS['REQUEST_TIMEOUT'] = 0.2"), port

    return make


def send_invalid(api: Api, head: bytes, status: int) -> RawResponse:
    """Send a head with an address of its own in X-Forwarded-For; return the response, which must be an error."""
    response = send_raw(api, head % f"X-Forwarded-For: {new_address()}\r\n".encode())
    expect_error(response, status)
    assert response.headers["connection"] == "close"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["cache-control"] == "private, no-cache"
    return response


def count_fallbacks(api: Api, port: int) -> tuple[float, int]:
    """Return how many requests counted against the address of a proxy, and how many log lines report that."""
    lines = [line for line in read_log(api.log) if "X-Forwarded-For" in line["event"]]
    return scrape(port, "parley_client_address_fallbacks_total"), len(lines)


def test_behind_a_proxy_an_invalid_head_counts_against_no_address(
    new_limited: Callable[[int], tuple[Api, int]],
) -> None:
    api, port = new_limited(1)
    with running(api), api.client() as client:
        for head, status in [*INVALID_HEADS.values(), *[MALFORMED_LENGTH] * 10]:
            assert "x-ratelimit-limit" not in send_invalid(api, head, status).headers
        assert count_fallbacks(api, port) == (0, 0)
        del client.headers["X-Forwarded-For"]
        assert client.get("/api/chats").headers["x-ratelimit-remaining"] == "9"
        assert count_fallbacks(api, port) == (1, 1)


def test_without_a_proxy_an_invalid_head_counts_against_its_peer(
    new_limited: Callable[[int], tuple[Api, int]],
) -> None:
    api, port = new_limited(0)
    with running(api), api.client() as client:
        left = 10
        for name, (head, status) in INVALID_HEADS.items():
            response = send_invalid(api, head, status)
            if name not in (
                "a malformed request line",
                "a target that is too long",
            ):  # their paths are unknown, so they may not be for /api
                left -= 1
                assert response.headers["x-ratelimit-remaining"] == str(left)
        for _ in range(left):
            send_invalid(api, *MALFORMED_LENGTH)
        send_invalid(api, MALFORMED_LENGTH[0], 429)
        expect_error(client.get("/api/chats"), 429)
        assert count_fallbacks(api, port) == (0, 0)
