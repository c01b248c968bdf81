"""The key by which the rate limiter counts a client: its IPv4 address, or the /64 network of its IPv6 address.

An IPv6 client usually has a whole /64 network, and could send each request from another address of it.
"""

import ipaddress
import re
from functools import lru_cache

# An address as some load balancers write it: IPv6 in brackets, and a port after either kind.
WITH_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^:]*))(?::[0-9]{1,5})?")


@lru_cache(maxsize=10_000)
def rate_limit_key(address: str) -> str | None:
    """Return the key for an address, which may have a port; None if the text is not an address."""
    found = WITH_PORT.fullmatch(address)
    try:
        parsed = ipaddress.ip_address((found[1] or found[2]) if found else address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
