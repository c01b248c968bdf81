"""Run the server; pusher_process.py starts it, and sends its configuration as JSON on standard input."""

import asyncio
import json
import signal
import sys

from aiohttp import web

from api.dev.pusher_server.channels import Channels
from api.dev.pusher_server.http_api import HttpApi
from api.dev.pusher_server.limits import CLOSE_TIMEOUT_SECONDS, MAX_BODY
from api.dev.pusher_server.signatures import Credentials
from api.dev.pusher_server.websocket import WebSocketProtocol


async def serve(port: int, app_id: str, key: str, secret: str, timeouts: tuple[float, float]) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    credentials, channels = Credentials(app_id, key, secret), Channels()
    application = web.Application(client_max_size=MAX_BODY)
    application.add_routes(HttpApi(credentials, channels).list_routes())
    application.add_routes([web.route("*", "/{path:.*}", WebSocketProtocol(credentials, channels, timeouts).handle)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_TIMEOUT_SECONDS)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await site.stop()
    await channels.close_all()  # before the cleanup, which no longer reads the clients' closing handshakes
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(**json.load(sys.stdin)))
