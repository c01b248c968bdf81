"""The connection to Redis: answers find who asked, and what fails fails for all who wait, and only for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import hiredis
import pytest

from api.dev.valkey import Valkey
from api.ratelimit.redis_connection import NO_ANSWER, RedisPipe, command

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def incr(key: str) -> bytes:
    return command("INCR", key, arguments=0)


@asynccontextmanager
async def piped(url: str, seconds: float = 5) -> AsyncIterator[RedisPipe]:
    pipe = RedisPipe(url, seconds)
    try:
        yield pipe
    finally:
        await pipe.close()


@asynccontextmanager
async def server_that(answer: Answer) -> AsyncIterator[str]:
    """The URL of something that greets like Redis, then does what it likes; it ends with its last client."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2&lib_name=&lib_version="


def test_answers_come_to_who_asked(valkey: Valkey) -> None:
    async def ask() -> list[Any]:
        key = uuid4().hex
        async with piped(valkey.url()) as pipe:
            return await asyncio.gather(*(pipe.ask(incr(key)) for _ in range(500)))

    assert asyncio.run(ask()) == list(range(1, 501))


def test_an_error_is_its_askers_alone(valkey: Valkey) -> None:
    async def ask() -> list[Any]:
        text, number = uuid4().hex, uuid4().hex
        async with piped(valkey.url()) as pipe:
            asked = [pipe.ask(command("SET", text, "x", arguments=0)), pipe.ask(incr(text)), pipe.ask(incr(number))]
            return await asyncio.gather(*asked, return_exceptions=True)

    stored, error, counted = asyncio.run(ask())
    assert (stored, counted) == (b"OK", 1)
    assert isinstance(error, hiredis.ReplyError)
    assert isinstance(error, NO_ANSWER)


def test_who_does_not_wait_any_more_does_not_get_anothers_answer(valkey: Valkey) -> None:
    async def ask() -> list[Any]:
        key = uuid4().hex
        async with piped(valkey.url()) as pipe:
            await pipe.ask(incr(key))
            tasks = [asyncio.create_task(pipe.ask(incr(key))) for _ in range(10)]
            await asyncio.wait(tasks, timeout=0)
            for task in tasks[::2]:
                task.cancel()
            return await asyncio.gather(*tasks[1::2])

    assert asyncio.run(ask()) == [3, 5, 7, 9, 11]


def test_a_connection_that_redis_closed_is_opened_anew(valkey: Valkey) -> None:
    async def ask() -> list[Any]:
        key = uuid4().hex
        async with piped(valkey.url()) as pipe, piped(valkey.url()) as other:
            first = await pipe.ask(incr(key))
            await other.ask(command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES", arguments=0))
            with suppress(*NO_ANSWER):  # it may not have noticed yet
                await pipe.ask(incr(uuid4().hex))
            return [first, await pipe.ask(incr(key))]

    assert asyncio.run(ask()) == [1, 2]


async def nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Reads, and never answers."""
    await reader.read()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greeted(reader, writer)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greeted(reader, writer)
    writer.write(b":1\r\n:2\r\n")


async def news(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says something that nobody asked for, as servers may that speak RESP3, before each answer."""
    await greeted(reader, writer)
    writer.write(b">2\r\n+MIGRATING\r\n:1\r\n:1\r\n" + b">2\r\n+MIGRATED\r\n:1\r\n:2\r\n")


async def gone(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Is gone before it has read anything."""


async def the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greeted(reader, writer)


async def greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says OK to whatever a client sends before its first command of ours."""
    while (sent := await reader.read(65536)) and b"INCR" not in sent:
        writer.write(b"+OK\r\n" * sent.count(b"*"))


@pytest.mark.parametrize("server", [nothing, garbage, gone, the_end])
def test_all_who_wait_for_what_is_no_redis_are_told(server: Answer) -> None:
    async def ask() -> list[Any]:
        async with server_that(server) as url, piped(url, seconds=0.2) as pipe:
            return await asyncio.gather(*(pipe.ask(incr("key")) for _ in range(3)), return_exceptions=True)

    assert all(isinstance(error, NO_ANSWER) for error in asyncio.run(ask()))


def test_whatever_fails_while_it_is_opened_is_no_answer() -> None:
    """An answer to HELLO that is no map is an AttributeError of redis-py's."""

    async def ask() -> None:
        async with server_that(the_end) as url:
            resp3 = url.replace("redis://", "redis://:password@").replace("protocol=2", "protocol=3")
            async with piped(resp3) as pipe:
                with pytest.raises(NO_ANSWER):
                    await pipe.ask(incr("key"))

    asyncio.run(ask())


def test_news_is_no_answer() -> None:
    async def ask() -> list[Any]:
        async with server_that(news) as url, piped(url) as pipe:
            return await asyncio.gather(*(pipe.ask(incr("key")) for _ in range(2)))

    assert asyncio.run(ask()) == [1, 2]


def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    async def ask() -> list[Any]:
        async with server_that(too_much) as url, piped(url) as pipe:
            return [await pipe.ask(incr("key")), *await asyncio.gather(pipe.ask(incr("key")), return_exceptions=True)]

    first, *_ = asyncio.run(ask())
    assert first == 1


def test_a_redis_that_stops_to_answer_is_given_up_in_time(valkey: Valkey) -> None:
    async def ask() -> tuple[list[Any], int]:
        key = uuid4().hex
        async with piped(valkey.url(), seconds=1) as pipe, piped(valkey.url()) as other:
            await pipe.ask(incr(key))
            await other.ask(command("CLIENT", "PAUSE", "20000", "WRITE", arguments=0))
            waited = await asyncio.gather(*(pipe.ask(incr(key)) for _ in range(5)), return_exceptions=True)
            await other.ask(command("CLIENT", "UNPAUSE", arguments=0))
            return waited, await pipe.ask(incr(key))

    waited, counted = asyncio.run(ask())
    assert all(isinstance(error, NO_ANSWER) for error in waited)
    assert counted > 1
