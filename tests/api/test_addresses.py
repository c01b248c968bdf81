"""Whose budget a request counts against."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ratelimit import client_address

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
        ("203.0.113.9:1234", 1, PEER),
        ("[2001:db8::1]", 1, PEER),
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
    ],
)
def test_the_nth_address_from_the_right_counts_or_else_the_peers(forwarded: str, proxies: int, counted: str) -> None:
    assert client_address(PEER, forwarded, proxies) == counted


@pytest.mark.parametrize(
    ("peer", "counted"),
    [("::ffff:192.0.2.1", PEER), ("2001:db8::7", "2001:db8::/64"), ("fe80::1%lo", "fe80::/64"), ("", "")],
)
def test_a_peer_is_counted_in_the_same_way(peer: str, counted: str) -> None:
    assert client_address(peer, "", 0) == client_address(peer, "forged", 1) == counted


@given(forwarded=st.text(st.characters(codec=None)) | st.ip_addresses().map(str), proxies=st.integers(0, 3))
def test_whatever_is_forwarded_an_address_comes_out(forwarded: str, proxies: int) -> None:
    address = client_address(PEER, forwarded, proxies)
    assert set(address) <= set("0123456789abcdef.:/")


@given(mine=st.lists(st.ip_addresses(v=4).map(str), max_size=3), proxies=st.integers(1, 3))
def test_what_a_client_sends_itself_does_not_move_its_address(mine: list[str], proxies: int) -> None:
    appended = [f"198.51.100.{n}" for n in range(proxies)]  # the first of them is what the outermost proxy saw
    assert client_address(PEER, ",".join([*mine, *appended]), proxies) == "198.51.100.0"
