"""The client address that a request counts against, also behind trusted proxies."""

import ipaddress
import logging
import re
from functools import lru_cache

logger = logging.getLogger("parley.api")

MAX_ENTRY_CHARACTERS = 100  # of an entry in X-Forwarded-For
# An address as some load balancers write it: IPv6 in brackets, and a port after either kind.
WITH_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^:]*))(?::[0-9]{1,5})?")


class ClientAddresses:
    """Finds the client's address in X-Forwarded-For behind a number of trusted proxies.

    Each proxy appends the address that it received the request from. Behind n trusted proxies, the outermost has
    appended the nth entry from the right; the client may have forged the entries to the left of that.
    """

    def __init__(self, trusted_proxies: int) -> None:
        self._proxies = trusted_proxies
        self._has_logged = False

    def find(self, peer: str, forwarded: str) -> tuple[str, bool]:
        """Return the address, and whether it is the peer's because X-Forwarded-For has no address in that entry.

        `peer` is the address at the other end of the connection, `forwarded` the values of X-Forwarded-For, joined by
        commas. The returned address is an IPv4 address, or the /64 network of an IPv6 address.
        """
        if self._proxies:
            entries = forwarded.split(",")
            entry = entries[-self._proxies].strip(" \t") if self._proxies <= len(entries) else ""
            if address := rate_limit_key(entry) if len(entry) <= MAX_ENTRY_CHARACTERS else None:
                return address, False
            self._log_fallback()
        return rate_limit_key(peer) or peer, self._proxies > 0

    def _log_fallback(self) -> None:
        if not self._has_logged:
            self._has_logged = True
            logger.warning(
                "X-Forwarded-For has no address in entry %d from the right, where TRUSTED_PROXIES expects one: such "
                "requests share the rate limit of the proxy that sent them. This is logged once; see "
                "parley_client_address_fallbacks_total",
                self._proxies,
            )


@lru_cache(maxsize=10_000)
def rate_limit_key(entry: str) -> str | None:
    """Return the address that requests are counted by, without a port, or None if the entry is not an address."""
    found = WITH_PORT.fullmatch(entry)
    try:
        parsed = ipaddress.ip_address((found[1] or found[2]) if found else entry)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
