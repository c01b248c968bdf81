"""The message of `parley dev` when the stack is ready: URLs, and commands to paste into a terminal."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from api.dev import demo
from api.dev.data_directory import IMAGE_FILE, PSQL_FILE, WEB_FILE
from api.dev.database import API_USER, DATABASE
from api.dev.postgres import Postgres
from api.dev.session_token import sign_session_token

TOKEN_DAYS = 30

# The URLs contain no passwords: psql reads them from PSQL_FILE.
_GREETING = """
Parley is ready at {base_url}

{web_app}  docs    {base_url}/docs
  users   alice and bob, in one chat
  psql    'postgresql://{api_user}@{database}' (as the API)
          'postgresql://postgres@{database}' (as superuser)
  web app {web_file} has variables for its .env.local: the secret, the
          database of @auth/pg-adapter, the API and Pusher. Pages on {web_origins}
          may call the API; with session cookies, use the page's host name: http://localhost:{port}
  events  a Pusher-protocol server on 127.0.0.1:{pusher_port}, without TLS, key {pusher_key}
  metrics http://127.0.0.1:{metrics_port}/metrics of the API, http://127.0.0.1:{listener_metrics_port}/metrics
          of the listener; PostgreSQL's log is {directory}/postgres/log
  data    {directory} (kept; --fresh empties it)

To follow the chat's events as bob, in another terminal:

{listen}

To send requests as alice, for {days} days, paste into another terminal:

export TOKEN={token}

curl -s -w '\\n' {auth} {base_url}/api/chats

curl -s -w '\\n' {auth} {json} \\
  -d '{{"title": "Ideas"}}' {base_url}/api/chats

curl -s -w '\\n' {auth} {json} \\
  -d '{{"content": "Hello from curl", "type": "text"}}' \\
  {messages}

curl -s -w '\\n' {auth} '{base_url}/api/search?search=hello'

curl -s -w '\\n' {auth} {messages}

curl -s -w '\\n' {auth} -F {image} {base_url}/api/profile/image

curl -s -w '\\n' {auth} {base_url}/api/profile

curl -s -w '\\n' {auth} {json} \\
  -X PUT -d '{{"settings": {{"theme": "light"}}}}' {base_url}/api/settings

Ctrl-C stops it.
"""
_WEB_APP = """\
  example {url} is a web app, where alice and bob can sign in
          without a password; its log is {directory}/web/log
"""


def format_greeting(
    directory: Path, environment: Mapping[str, str], postgres: Postgres, chat_id: str, web_port: int | None
) -> str:
    """Return the message.

    `environment` holds the settings of the API and the listener, and `web_port` is the port of the example web app.
    """
    base_url = environment["PUBLIC_URL"]
    password_file = quote(str(directory / PSQL_FILE))
    return _GREETING.format(
        base_url=base_url,
        web_app=_WEB_APP.format(url=f"http://localhost:{web_port}", directory=directory) if web_port else "",
        directory=directory,
        database=f"127.0.0.1:{postgres.port}/{DATABASE}?passfile={password_file}",
        api_user=API_USER,
        web_file=directory / WEB_FILE,
        port=base_url.rpartition(":")[2],
        web_origins=os.environ["ALLOWED_ORIGINS"].replace(",", ", "),
        pusher_port=environment["PUSHER_PORT"],
        pusher_key=environment["PUSHER_KEY"],
        metrics_port=environment["METRICS_PORT"],
        listener_metrics_port=environment["LISTENER_METRICS_PORT"],
        listen=f"{shlex.quote(sys.argv[0])} listen {chat_id} --user bob --data {shlex.quote(str(directory))}",
        token=sign_session_token(environment["NEXTAUTH_SECRET"], TOKEN_DAYS * 86_400, **demo.ALICE),
        days=TOKEN_DAYS,
        auth='-H "Authorization: Bearer $TOKEN"',
        json="-H 'Content-Type: application/json'",
        messages=f"{base_url}/api/chats/{chat_id}/messages",
        image=shlex.quote(f"image=@{directory / IMAGE_FILE}"),
    )
