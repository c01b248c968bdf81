"""A proxy in front of a Pusher server that can reject and delay requests, and records the events that passed."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web

from api.dev.process import find_free_port
from api.dev.pusher_process import Pusher


class RecordingProxy(Pusher):
    """A way to a Pusher server that refuses some requests, and keeps the contents in the batches that passed."""

    def __init__(self, behind: Pusher) -> None:
        self.app_id, self.key, self.secret = behind.app_id, behind.key, behind.secret
        self.port = find_free_port()
        self.refuse: dict[str, int] = {}  # words in a request: the status of its answer
        self.slow: dict[str, float] = {}  # words in a request: the seconds until its answer
        self.passed: list[list[str]] = []
        self.refused: list[str] = []
        self.asked = 0
        self._behind = f"http://127.0.0.1:{behind.port}"

    async def _handle(self, request: web.Request) -> web.Response:
        if request.path == "/elsewhere":
            return web.Response(text="a page that has nothing to do with it")
        body = await request.read()
        self.asked += 1
        for words, status in self.refuse.items():
            if words in body.decode():
                self.refused.append(words)
                return web.Response(status=status, text="not now\0", headers={"Location": "/elsewhere"})
        for words, seconds in self.slow.items():
            if words in body.decode():
                await asyncio.sleep(seconds)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self._behind + request.path_qs, data=body) as response,
        ):
            if response.status == 200 and body:
                batch = json.loads(body).get("batch", [])
                self.passed.append([re.sub(r'.*"content" : "([^"]*)".*', r"\1", event["data"]) for event in batch])
            return web.Response(status=response.status, body=await response.read())

    @contextmanager
    def open(self) -> Iterator["RecordingProxy"]:
        loop = asyncio.new_event_loop()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app)
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port).start())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(runner.cleanup())
            loop.close()
