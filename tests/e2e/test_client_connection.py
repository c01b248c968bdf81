"""The live connection of the TypeScript client, to the local Pusher server and to soketi."""

import fcntl
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.pusher_js import LineProcess, Servers, User, frozen

PROGRAM = Path(__file__).with_name("client_connection.mjs")


@pytest.fixture(scope="module")
def program(web_client: Path) -> Path:
    """The program with the sources of the client in one file, beside its packages."""
    bundle = web_client / f"bundled-{PROGRAM.name}"
    with web_client.joinpath("bundle.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        source = shutil.copy(PROGRAM, web_client)
        options = ["--bundle", "--platform=node", "--format=esm", "--packages=external", f"--outfile={bundle}"]
        subprocess.run(["node_modules/.bin/esbuild", source, *options], cwd=web_client, check=True)
    return bundle


def open_connection(program: Path, servers: Servers, user: User) -> LineProcess:
    """Run a connection of a user, which is not connected."""
    client = servers.stack.enter_context(LineProcess(program, {}))
    pusher = servers.pusher
    options = {"key": pusher.key, "host": "127.0.0.1", "port": pusher.port, "useTLS": False, "userId": user.id}
    client.do("create", servers.api.url, user.token, options)
    return client


def test_removed_member_reconnects_to_the_remaining_channels(servers: Servers, program: Path) -> None:
    owner, member = servers.new_user("Olga"), servers.new_user("Mia")
    chats = [servers.new_chat(owner, member) for _ in range(2)]
    lost, kept = [f"private-chat-{chat}" for chat in chats]
    client = open_connection(program, servers, member)
    for channel in (member.channel, lost, kept):
        client.do("subscribe", channel)
    client.do("connect")
    for channel in (member.channel, lost, kept):
        client.wait_for("subscribed", channel)
    _, _, sent = owner.send(chats[0], "Hello")
    assert client.wait_for("message:sent", lost) == sent
    sign_in = f"#server-to-user-{member.pusher_id}"
    assert [set(channels) for channels in client.find("request")] == [{sign_in, member.channel, lost, kept}]

    owner.request("DELETE", f"chats/{chats[0]}/members/{quote(member.id)}")
    assert client.wait_for("rejected", lost) == "forbidden"
    client.wait_for("subscribed", member.channel, times=2)
    client.wait_for("subscribed", kept, times=2)
    owner.send(chats[0], "Without Mia")
    _, _, sent = owner.send(chats[1], "With Mia")
    assert client.wait_for("message:sent", kept) == sent
    assert len(client.find("message:sent", lost)) == 1

    with frozen(client.pid):  # an attempt that does not find the server takes 10 seconds
        servers.pusher.kill()
        servers.pusher.start()
    client.wait_for("subscribed", kept, times=3)
    _, _, sent = owner.send(chats[1], "With Mia again")
    assert client.wait_for("message:sent", kept, times=2) == sent
    assert [len(channels) for channels in client.find("request")] == [4, 4, 3]


def test_typing_reaches_other_members(servers: Servers, program: Path) -> None:
    owner, member = servers.new_user("Olga"), servers.new_user("Mia")
    channel = f"presence-chat-{servers.new_chat(owner, member)}"
    clients = [open_connection(program, servers, user) for user in (owner, member)]
    for client in clients:
        client.do("subscribe", channel)
        client.do("connect")
        client.wait_for("subscribed", channel)
    assert clients[0].wait_for("pusher_internal:member_added", channel)["user_id"] == member.id
    assert set(clients[1].find("subscribed", channel)[0]) == {owner.id, member.id}
    clients[1].do("trigger", channel, "client-typing")
    assert clients[0].wait_for("client-typing", channel) == member.id
    clients[1].do("disconnect")
    assert clients[0].wait_for("pusher_internal:member_removed", channel) == {"user_id": member.id}


def test_expired_session_is_refused_once(servers: Servers, program: Path) -> None:
    user = servers.new_user("Olga")
    user.token = "forged"
    client = open_connection(program, servers, user)
    client.do("subscribe", user.channel)
    client.do("connect")
    assert client.wait_for("rejected", user.channel) == "unauthorized"
    assert client.find("subscribed", user.channel) == []
