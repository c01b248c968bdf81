"""A proxy in front of a Pusher server that can reject and delay requests, and records what Pusher accepted."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web

from api.dev.process import find_free_port
from api.dev.pusher_process import PusherProcess
from tests.loop_thread import LoopThread


class PusherProxy(PusherProcess):
    """The proxy, with the credentials of the server behind it. Requests are selected by words in paths and bodies."""

    def __init__(self, server: PusherProcess) -> None:
        self.app_id, self.key, self.secret = server.app_id, server.key, server.secret
        self.port = find_free_port()
        self.reject: dict[str, int] = {}  # words: the status of the response
        self.delay: dict[str, float] = {}  # words: the seconds until the response
        self.accepted: list[list[str]] = []  # the contents of the events of each accepted batch
        self.rejected: list[str] = []  # the words for which requests were rejected
        self.requests = 0
        self.waiting: dict[str, int] = {}  # words of `delay`: how many requests wait
        self.terminated: list[str] = []  # the users for whose connections a termination was accepted
        self._server_url = f"http://127.0.0.1:{server.port}"

    async def _handle(self, request: web.Request) -> web.Response:
        if request.path == "/elsewhere":
            return web.Response(text="an unrelated page")
        body = await request.read()
        self.requests += 1
        text = f"{request.path} {body.decode()}"
        for words, status in self.reject.items():
            if words in text:
                self.rejected.append(words)
                return web.Response(status=status, text="not now\0", headers={"Location": "/elsewhere"})
        for words, seconds in self.delay.items():
            if words in text:
                self.waiting[words] = self.waiting.get(words, 0) + 1
                await asyncio.sleep(seconds)
                self.waiting[words] -= 1
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self._server_url + request.path_qs, data=body) as response,
        ):
            if user := re.search("users/(.*)/terminate_connections", request.path):
                self.terminated += [user[1]] * (response.status == 200)
            elif response.status == 200 and body:
                batch = json.loads(body).get("batch", [])
                self.accepted.append([re.sub(r'.*"content" : "([^"]*)".*', r"\1", event["data"]) for event in batch])
            return web.Response(status=response.status, body=await response.read())

    @contextmanager
    def open(self) -> Iterator["PusherProxy"]:
        """Serve for a block."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app)
        with LoopThread() as thread:
            thread.run(runner.setup())
            thread.run(web.TCPSite(runner, "127.0.0.1", self.port).start())
            try:
                yield self
            finally:
                thread.run(runner.cleanup())
