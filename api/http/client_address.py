"""The address of the client that sent a request, also behind trusted proxies."""

import logging

from api.ratelimit.client_key import rate_limit_key

logger = logging.getLogger("parley.api")

MAX_ENTRY_CHARACTERS = 100  # of an entry in X-Forwarded-For


class ClientAddressResolver:
    """Finds the client's address in X-Forwarded-For behind a number of trusted proxies.

    Each proxy appends the address that it received the request from. Behind n trusted proxies, the outermost has
    appended the nth entry from the right; the client may have forged the entries to the left of that.
    """

    def __init__(self, trusted_proxies: int) -> None:
        self._proxies = trusted_proxies
        self._has_logged = False

    def resolve(self, peer: str, forwarded: str) -> tuple[str, bool]:
        """Return the rate limit key of the client's address, and whether that is a fallback: the peer's.

        `peer` is the address at the other end of the connection, and `forwarded` the values of X-Forwarded-For, joined
        by commas. The fallback is used if X-Forwarded-For has no address in the entry of the outermost proxy.
        """
        if self._proxies:
            entries = forwarded.split(",")
            entry = entries[-self._proxies].strip(" \t") if self._proxies <= len(entries) else ""
            if key := rate_limit_key(entry) if len(entry) <= MAX_ENTRY_CHARACTERS else None:
                return key, False
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
