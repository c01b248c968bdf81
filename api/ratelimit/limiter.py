"""The rate limiter: a sliding window for each client, with the keys and arithmetic of @upstash/ratelimit.

A request is rejected if floor((1 - elapsed share of the window) * previous window's count) + current window's count has
reached the limit; rejected requests are not counted. A client is counted by a key that client_key.py derives from its
address. The counts are in Redis, so that all processes share one budget, and so can a Next.js app. Windows are those of
the clock of Redis, which hosts with different clocks share too. While Redis is unavailable, each process counts on its
own, by the last known time of Redis.
"""

import asyncio
import logging
import math
import time
from contextvars import Context
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import hiredis
from redis.exceptions import AuthenticationError

from api.observability.clocks import REDIS_CLOCK
from api.ratelimit.redis_connection import (
    REDIS_ERRORS,
    REDIS_TIMEOUT_SECONDS,
    RedisConnection,
    encode_arguments,
    encode_command,
)
from api.ratelimit.retry_schedule import RetrySchedule
from api.settings import Settings

logger = logging.getLogger("parley.api")

REDIS_RETRY_SECONDS = 1.0  # between attempts to use Redis again after a failure
MAX_LOCAL_KEYS = 100_000  # counted by a process in one window while Redis is unavailable
POLICY_NAME = "default"  # the limit's name in the headers of draft-ietf-httpapi-ratelimit-headers-10

Counts = tuple[int, int, int]  # whether the request is allowed (1 or 0), the current and the previous window's count

# KEYS: the counts of the current and the previous window. ARGV: limit, window in ms, elapsed share of the window.
# Returns Counts, and the time of Redis in Unix time in ms, unless the login may not run TIME. The keys expire after two
# windows and a second, as Upstash's do. TIME comes last, since Redis before version 5 rejects writes after it.
SCRIPT = """
local current = tonumber(redis.call('GET', KEYS[1]) or 0)
local previous = tonumber(redis.call('GET', KEYS[2]) or 0)
local allowed = math.floor((1 - ARGV[3]) * previous) + current < tonumber(ARGV[1])
if allowed then
    current = redis.call('INCR', KEYS[1])
    if current == 1 then
        redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2] + 1000)
    end
end
local time = redis.pcall('TIME')
return {allowed and 1 or 0, current, previous, time[1] and time[1] * 1000 + math.floor(time[2] / 1000)}
"""
EVAL = encode_command("EVAL", SCRIPT, "2", argument_count=5)  # 2 keys and 3 arguments follow


class Moment(NamedTuple):
    """Unix time in milliseconds, the number of its window, and the share of the window that has elapsed."""

    now_ms: int
    window: int
    elapsed: float


class Decision(NamedTuple):
    """Whether a request is allowed, and the values of the response's headers.

    `window_end` is in Unix time in milliseconds. `wait_seconds` is at least 1: until the next request is allowed or, if
    requests remain, until the window ends. `retry_after` is the same for the first client that is rejected, and longer
    for those that are rejected while it waits; 0 if the request is allowed. `policy_headers` are the same for every
    response; `counted_by` is `redis` or `process`.
    """

    allowed: bool
    remaining: int
    window_end: int
    wait_seconds: int
    policy_headers: dict[str, str]
    counted_by: str
    retry_after: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response, with Retry-After for a rejected request."""
        headers = {
            **self.policy_headers,
            "RateLimit": f'"{POLICY_NAME}";r={self.remaining};t={self.wait_seconds}',
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.window_end),
        }
        return headers if self.allowed else headers | {"Retry-After": str(self.retry_after)}


@dataclass
class LocalCounts:
    """The counts of this process alone, for the current and the previous window."""

    window: int = 0
    current: dict[str, int] = field(default_factory=dict)
    previous: dict[str, int] = field(default_factory=dict)

    def consume(self, key: str, window: int, elapsed: float, limit: int) -> Counts:
        """Count a request unless it exceeds the limit, as SCRIPT does."""
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else {}
            self.current, self.window = {}, window
        current, previous = self.current.get(key, 0), self.previous.get(key, 0)
        if math.floor((1 - elapsed) * previous) + current >= limit:
            return 0, current, previous
        if key not in self.current and len(self.current) >= MAX_LOCAL_KEYS:
            del self.current[next(iter(self.current))]
        self.current[key] = current + 1
        return 1, current + 1, previous


class RateLimiter:
    """Counts the requests of each client in Redis.

    After a failure of Redis, requests are counted locally and do not wait for Redis. Once in REDIS_RETRY_SECONDS, a
    request is also counted in Redis in the background, to detect that it is available again.
    """

    def __init__(self, redis: RedisConnection, limit: int, window_ms: int, prefix: str) -> None:
        self._redis, self._limit, self._window_ms, self._prefix = redis, limit, window_ms, prefix
        self._arguments = encode_arguments(str(limit), str(window_ms))
        # The draft requires whole seconds. Round up, so that no client receives a higher rate than the limit allows.
        policy = f'"{POLICY_NAME}";q={limit};w={math.ceil(window_ms / 1000)}'
        self._policy_headers = {"RateLimit-Policy": policy, "X-RateLimit-Limit": str(limit)}
        self._local = LocalCounts()
        self._local_offset = 0.0  # of the time by which it counts from the monotonic clock, in seconds
        self._retry_schedule = RetrySchedule(limit, window_ms)
        self.is_redis_unavailable = False
        self._logged_failure = ""
        self._retry_at = 0.0
        self._probe: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, settings: Settings) -> Self:
        """Create a limiter with these settings, and connect to Redis, which may be unavailable."""
        redis = RedisConnection(settings.redis_url.get_secret_value(), REDIS_TIMEOUT_SECONDS, REDIS_CLOCK)
        window_ms = round(settings.rate_limit_window * 1000)
        limiter = cls(redis, settings.rate_limit_requests, window_ms, settings.rate_limit_prefix)
        try:
            await redis.open()
        except REDIS_ERRORS as error:
            limiter._record_failure(error)
        redis.clock.warn_about_skew("Redis")
        return limiter

    async def consume(self, key: str, now_ms: int | None = None) -> Decision:
        """Count one request of a client, unless it exceeds the limit.

        `key` is the client's rate_limit_key(). `now_ms` is Unix time in milliseconds, by default that of Redis.
        """
        counts = None
        if not self.is_redis_unavailable:
            try:
                moment, counts = await self._count_in_redis(key, now_ms)
            except REDIS_ERRORS as error:
                self._record_failure(error)
        elif time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + REDIS_RETRY_SECONDS
            self._probe = asyncio.create_task(self._probe_redis(key, now_ms), context=Context())
        counted_by = "redis"
        if counts is None:
            moment, counted_by = self._get_moment(now_ms, time.monotonic() + self._local_offset), "process"
            counts = self._local.consume(key, moment.window, moment.elapsed, self._limit)
        decision = self._decide(moment, counts, counted_by)
        if decision.allowed:
            return decision
        _, current, previous = counts
        retry_after = self._retry_schedule.assign(key, moment.now_ms, decision.wait_seconds, current, previous)
        return decision._replace(retry_after=retry_after)

    def _get_moment(self, now_ms: int | None, unix_time: float) -> Moment:
        now_ms = math.floor(unix_time * 1000) if now_ms is None else now_ms
        window, into_window = divmod(now_ms, self._window_ms)
        return Moment(now_ms, window, into_window / self._window_ms)

    async def _count_in_redis(self, key: str, now_ms: int | None) -> tuple[Moment, Counts]:
        if not self._redis.is_open:
            await self._redis.open()  # which sets the clock that the keys depend on
        moment = self._get_moment(now_ms, self._redis.clock.time())
        redis_keys = f"{self._prefix}:{key}:{moment.window}", f"{self._prefix}:{key}:{moment.window - 1}"
        command = EVAL + encode_arguments(*redis_keys) + self._arguments + encode_arguments(repr(moment.elapsed))
        sent_at = time.monotonic()
        allowed, current, previous, *time_ms = await self._redis.execute(command)
        if time_ms:
            self._redis.clock.observe(time_ms[0] / 1000, sent_at, time.monotonic())
        return moment, (allowed, current, previous)

    def _record_failure(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + REDIS_RETRY_SECONDS
        failure = summarize(error)
        # Log the first failure, and each new error reply: an unreachable server may return and reject the password.
        is_reply = isinstance(error, hiredis.ReplyError | AuthenticationError)
        if not self.is_redis_unavailable or (is_reply and failure != self._logged_failure):
            self._logged_failure = failure
            # Use an empty context, so that the line is not logged under one request's id.
            message = "Redis is unavailable; this process enforces the rate limit by its own counts: %s"
            Context().run(logger.warning, message, failure)
        if not self.is_redis_unavailable:
            # Probes may set the clock to that of another server, or of one that was restarted: an address would get a
            # new budget each time.
            self._local_offset = self._redis.clock.time() - time.monotonic()
        self.is_redis_unavailable = True

    async def _probe_redis(self, key: str, now_ms: int | None) -> None:
        try:
            await self._count_in_redis(key, now_ms)
        except REDIS_ERRORS as error:
            self._record_failure(error)
        else:
            self.is_redis_unavailable = False
            logger.warning("Redis is available again; all processes share the rate limit")
            self._redis.clock.warn_about_skew("Redis")

    def _decide(self, moment: Moment, counts: Counts, counted_by: str) -> Decision:
        now_ms, window, elapsed = moment
        allowed, current, previous = counts
        used = current + math.floor((1 - elapsed) * previous)
        window_end = (window + 1) * self._window_ms
        remaining = max(0, self._limit - used)
        if remaining:
            wait_seconds = math.ceil((window_end - now_ms) / 1000)
        else:
            wait_seconds = self._compute_wait(now_ms, window_end, current, previous)
        return Decision(
            allowed=bool(allowed),
            remaining=remaining,
            window_end=window_end,
            wait_seconds=wait_seconds,
            policy_headers=self._policy_headers,
            counted_by=counted_by,
        )

    def _compute_wait(self, now_ms: int, window_end: int, current: int, previous: int) -> int:
        """Return after how many whole seconds the next request is allowed."""
        # The weight of the previous window declines until this window ends. If this window's count alone reaches the
        # limit, requests are allowed again when its weight has declined in the next window.
        if current < self._limit:
            allowed_at = window_end - self._window_ms * (self._limit - current) / max(previous, 1)
        else:
            allowed_at = window_end + self._window_ms * (1 - self._limit / current)
        return max(0, math.floor((allowed_at - now_ms) / 1000)) + 1

    async def close(self) -> None:
        """Close the connection to Redis, after a probe in progress, which has a timeout."""
        if self._probe:
            await asyncio.wait([self._probe])
        await self._redis.close()


def summarize(error: Exception) -> str:
    """Return the type of an error and, for a reply of Redis, its code, such as READONLY."""
    code = str(error).partition(" ")[0] if isinstance(error, hiredis.ReplyError) else ""
    return f"{type(error).__name__} {code}".rstrip()
