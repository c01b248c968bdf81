"""The rate limit: a sliding window for each client address, with the keys and the arithmetic of @upstash/ratelimit.

A request is refused when floor((1 - elapsed share of the window) * previous window's count) + this window's count has
reached the limit; a refused request does not count. Counts are in Redis, so that all processes, and a Next.js app
beside them, share one budget. While Redis is away each process counts by itself.
"""

import asyncio
import logging
import math
import time
from contextvars import Context
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from api.ratelimit.redis_connection import NO_ANSWER, RedisPipe, command, packed
from api.settings import Settings

logger = logging.getLogger("parley.api")

REDIS_SECONDS = 0.5
LOCAL_SECONDS = 1.0  # how long Redis is left alone after it failed
LOCAL_ADDRESSES = 100_000  # that a process remembers by itself
POLICY = "default"  # the limit's name in the headers of draft-ietf-httpapi-ratelimit-headers-10

Counts = tuple[int, int, int]  # what SCRIPT answers

# KEYS: this window's and the previous window's count. ARGV: limit, window in ms, elapsed share of the window.
# Answers {allowed, this window's count, the previous window's}.
SCRIPT = """
local current = tonumber(redis.call('GET', KEYS[1]) or 0)
local previous = tonumber(redis.call('GET', KEYS[2]) or 0)
if math.floor((1 - ARGV[3]) * previous) + current >= tonumber(ARGV[1]) then
    return {0, current, previous}
end
current = redis.call('INCR', KEYS[1])
if current == 1 then
    redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2] + 1000)
end
return {1, current, previous}
"""
EVAL = command("EVAL", SCRIPT, "2", arguments=5)


class Decision(NamedTuple):
    """Whether a request may go on, and what the answer's headers say.

    `reset` is the end of the current window, Unix time in milliseconds. `wait` is in whole seconds, at least one: until
    a request is let in again or, while some are left, until the window ends. `policy` are the headers that are the same
    on every answer; `counted_by` is `redis` or `process`.
    """

    allowed: bool
    remaining: int
    reset: int
    wait: int
    policy: dict[str, str]
    counted_by: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every answer, and Retry-After for a refusal."""
        headers = {
            **self.policy,
            "RateLimit": f'"{POLICY}";r={self.remaining};t={self.wait}',
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
        }
        return headers if self.allowed else headers | {"Retry-After": str(self.wait)}


@dataclass
class LocalCounts:
    """The same counts in this process, for the current window and the one before."""

    window: int = 0
    current: dict[str, int] = field(default_factory=dict)
    previous: dict[str, int] = field(default_factory=dict)

    def take(self, address: str, window: int, elapsed: float, limit: int) -> Counts:
        """What SCRIPT does, and answers."""
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else {}
            self.current, self.window = {}, window
        current, previous = self.current.get(address, 0), self.previous.get(address, 0)
        if math.floor((1 - elapsed) * previous) + current >= limit:
            return 0, current, previous
        if address not in self.current and len(self.current) >= LOCAL_ADDRESSES:
            del self.current[next(iter(self.current))]
        self.current[address] = current + 1
        return 1, current + 1, previous


class RateLimiter:
    """Counts requests of addresses in Redis.

    Once Redis has failed, no request waits for it: now and then one is counted there too, to see whether it is back.
    """

    def __init__(self, redis: RedisPipe, requests: int, window_ms: int, prefix: str) -> None:
        self._redis, self._limit, self._window_ms, self._prefix = redis, requests, window_ms, prefix
        self._arguments = packed(str(requests), str(window_ms))
        # In whole seconds, as the draft wants it, and rounded up, so that nobody is told to ask for more than there is.
        policy = f'"{POLICY}";q={requests};w={math.ceil(window_ms / 1000)}'
        self._policy = {"RateLimit-Policy": policy, "X-RateLimit-Limit": str(requests)}
        self._local = LocalCounts()
        self.is_away = False  # Redis is
        self._look_again_at = 0.0
        self._look: asyncio.Task[None] | None = None

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """A limiter for these settings; Redis may be away."""
        redis = RedisPipe(settings.redis_url.get_secret_value(), REDIS_SECONDS)
        window_ms = round(settings.rate_limit_window * 1000)
        return cls(redis, settings.rate_limit_requests, window_ms, settings.rate_limit_prefix)

    async def take(self, address: str, now_ms: int | None = None) -> Decision:
        """Counts one request, unless it must be refused. `now_ms` is Unix time in milliseconds, if not the clock's."""
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        window, into_window = divmod(now_ms, self._window_ms)
        elapsed = into_window / self._window_ms
        keys = f"{self._prefix}:{address}:{window}", f"{self._prefix}:{address}:{window - 1}"
        call = EVAL + packed(*keys) + self._arguments + packed(repr(elapsed))
        counts, counted_by = None, "redis"
        if not self.is_away:
            try:
                counts = await self._redis.ask(call)
            except NO_ANSWER as error:
                self._note_away(error)
        elif time.monotonic() >= self._look_again_at:
            self._look_again_at = time.monotonic() + LOCAL_SECONDS
            self._look = asyncio.create_task(self._look_again(call), context=Context())
        if counts is None:
            counts, counted_by = self._local.take(address, window, elapsed, self._limit), "process"
        return self._decide(now_ms, window, elapsed, counts, counted_by)

    def _note_away(self, error: Exception) -> None:
        self._look_again_at = time.monotonic() + LOCAL_SECONDS
        if not self.is_away:
            # In a context of its own, since it is no more this request's than the others'.
            Context().run(logger.warning, "Redis is away, this process limits by itself: %s", type(error).__name__)
        self.is_away = True

    async def _look_again(self, call: bytes) -> None:
        try:
            await self._redis.ask(call)
        except NO_ANSWER as error:
            self._note_away(error)
        else:
            self.is_away = False
            logger.warning("Redis is back, the limit is shared again")

    def _decide(self, now_ms: int, window: int, elapsed: float, counts: Counts, counted_by: str) -> Decision:
        allowed, current, previous = counts
        used = current + math.floor((1 - elapsed) * previous)
        reset = (window + 1) * self._window_ms
        remaining = max(0, self._limit - used)
        return Decision(
            allowed=bool(allowed),
            remaining=remaining,
            reset=reset,
            wait=math.ceil((reset - now_ms) / 1000) if remaining else self._wait(now_ms, reset, current, previous),
            policy=self._policy,
            counted_by=counted_by,
        )

    def _wait(self, now_ms: int, reset: int, current: int, previous: int) -> int:
        # Room comes as the previous window fades; when this one is full, that is as this one fades in the next.
        if current < self._limit:
            free_at = reset - self._window_ms * (self._limit - current) / max(previous, 1)
        else:
            free_at = reset + self._window_ms * (1 - self._limit / current)
        return max(0, math.floor((free_at - now_ms) / 1000)) + 1

    async def close(self) -> None:
        """Closes the connection to Redis, after the look that is under way: it has a time limit."""
        if self._look:
            await asyncio.wait([self._look])
        await self._redis.close()
