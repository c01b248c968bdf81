"""The connection to Redis: replies reach their commands, and a failure affects all pending commands, and only those."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import hiredis
import pytest

from api.dev.valkey import Valkey
from api.ratelimit.redis_connection import REDIS_ERRORS, RedisConnection, encode_command

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def incr(key: str) -> bytes:
    return encode_command("INCR", key)


@asynccontextmanager
async def open_connection(url: str, seconds: float = 5) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(url, seconds)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def run_server(behave: Behaviour) -> AsyncIterator[str]:
    """Run a server that accepts connections like Redis, and then behaves as given; yield its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behave(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2&lib_name=&lib_version="


def test_replies_reach_their_commands(valkey: Valkey) -> None:
    async def run_commands() -> list[Any]:
        key = uuid4().hex
        async with open_connection(valkey.url()) as connection:
            return await asyncio.gather(*(connection.execute(incr(key)) for _ in range(500)))

    assert asyncio.run(run_commands()) == list(range(1, 501))


def test_error_reply_reaches_its_command_and_ends_the_connection(valkey: Valkey) -> None:
    async def run_commands() -> list[Any]:
        text, number = uuid4().hex, uuid4().hex
        async with open_connection(valkey.url()) as connection:
            commands = [
                connection.execute(encode_command("SET", text, "x")),
                connection.execute(incr(text)),
            ]
            replies = await asyncio.gather(*commands, return_exceptions=True)
            return [*replies, await connection.execute(incr(number))]

    stored, error, counted = asyncio.run(run_commands())
    assert (stored, counted) == (b"OK", 1)
    assert isinstance(error, hiredis.ReplyError)
    assert isinstance(error, REDIS_ERRORS)


def test_cancelled_command_does_not_shift_replies(valkey: Valkey) -> None:
    async def run_commands() -> list[Any]:
        key = uuid4().hex
        async with open_connection(valkey.url()) as connection:
            await connection.execute(incr(key))
            tasks = [asyncio.create_task(connection.execute(incr(key))) for _ in range(10)]
            await asyncio.wait(tasks, timeout=0)
            for task in tasks[::2]:
                task.cancel()
            return await asyncio.gather(*tasks[1::2])

    assert asyncio.run(run_commands()) == [3, 5, 7, 9, 11]


def test_closed_connection_is_reopened(valkey: Valkey) -> None:
    async def run_commands() -> list[Any]:
        key = uuid4().hex
        async with open_connection(valkey.url()) as connection, open_connection(valkey.url()) as other:
            first = await connection.execute(incr(key))
            await other.execute(encode_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"))
            with suppress(*REDIS_ERRORS):  # the connection may not be known to be closed yet
                await connection.execute(incr(uuid4().hex))
            return [first, await connection.execute(incr(key))]

    assert asyncio.run(run_commands()) == [1, 2]


async def never_reply(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def reply_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await shake_hands(reader, writer)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def reply_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await shake_hands(reader, writer)
    writer.write(b":1\r\n:2\r\n")


async def push_notifications(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Push a notification before each reply, as servers that use RESP3 may."""
    await shake_hands(reader, writer)
    writer.write(b">2\r\n+MIGRATING\r\n:1\r\n:1\r\n" + b">2\r\n+MIGRATED\r\n:1\r\n:2\r\n")


async def close_at_once(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Close the connection before anything is read."""


async def close_after_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await shake_hands(reader, writer)


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reply OK to everything that redis-py sends before the first command of a test."""
    while (sent := await reader.read(65536)) and b"INCR" not in sent:
        writer.write(b"+OK\r\n" * sent.count(b"*"))


@pytest.mark.parametrize("behave", [never_reply, reply_garbage, close_at_once, close_after_handshake])
def test_all_pending_commands_fail_with_the_connection(behave: Behaviour) -> None:
    async def run_commands() -> list[Any]:
        async with run_server(behave) as url, open_connection(url, seconds=0.2) as connection:
            return await asyncio.gather(*(connection.execute(incr("key")) for _ in range(3)), return_exceptions=True)

    assert all(isinstance(error, REDIS_ERRORS) for error in asyncio.run(run_commands()))


def test_undocumented_errors_of_connecting_are_redis_errors() -> None:
    """redis-py raises AttributeError if the reply to HELLO is not a map."""

    async def run_commands() -> None:
        async with run_server(close_after_handshake) as url:
            resp3 = url.replace("redis://", "redis://:password@").replace("protocol=2", "protocol=3")
            async with open_connection(resp3) as connection:
                with pytest.raises(REDIS_ERRORS):
                    await connection.execute(incr("key"))

    asyncio.run(run_commands())


def test_push_notifications_are_ignored() -> None:
    async def run_commands() -> list[Any]:
        async with run_server(push_notifications) as url, open_connection(url) as connection:
            return await asyncio.gather(*(connection.execute(incr("key")) for _ in range(2)))

    assert asyncio.run(run_commands()) == [1, 2]


def test_reply_without_a_command_closes_the_connection() -> None:
    async def run_commands() -> list[Any]:
        async with run_server(reply_twice) as url, open_connection(url) as connection:
            return [
                await connection.execute(incr("key")),
                *await asyncio.gather(connection.execute(incr("key")), return_exceptions=True),
            ]

    first, *_ = asyncio.run(run_commands())
    assert first == 1


def test_redis_that_stops_replying_times_out(valkey: Valkey) -> None:
    async def run_commands() -> tuple[list[Any], int]:
        key = uuid4().hex
        async with open_connection(valkey.url(), seconds=1) as connection, open_connection(valkey.url()) as other:
            await connection.execute(incr(key))
            await other.execute(encode_command("CLIENT", "PAUSE", "20000", "WRITE"))
            waited = await asyncio.gather(*(connection.execute(incr(key)) for _ in range(5)), return_exceptions=True)
            await other.execute(encode_command("CLIENT", "UNPAUSE"))
            return waited, await connection.execute(incr(key))

    waited, counted = asyncio.run(run_commands())
    assert all(isinstance(error, REDIS_ERRORS) for error in waited)
    assert counted > 1
