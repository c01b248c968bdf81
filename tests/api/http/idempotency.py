"""Helpers of the tests of Idempotency-Key: keys, chats, and whether a response is a replay."""

import httpx

from tests.tokens import new_user

CHATS, IMAGE = "/api/chats", "/api/profile/image"
REPLAYED = "idempotency-replayed"


def idempotency_header(key: str = "") -> dict[str, str]:
    """Return the header with this key, or with a new one."""
    return {"Idempotency-Key": key or new_user("key")}


def new_chat(client: httpx.Client) -> str:
    """Create a chat; return the path of its messages."""
    return f"{CHATS}/{client.post(CHATS, json={'title': 'Plans'}).json()['id']}/messages"


def contents(client: httpx.Client, messages: str) -> list[str]:
    """Return the contents of all messages in a chat, newest first."""
    response = client.get(messages, params={"limit": "100"}).json()
    assert response["total"] == len(response["messages"])
    return [message["content"] for message in response["messages"]]


def is_replay(response: httpx.Response, first: httpx.Response) -> bool:
    """Return whether a response is marked as a replay; check that a replay is identical to the first response."""
    if REPLAYED not in response.headers:
        return False
    assert response.headers[REPLAYED] == "true"
    assert (response.status_code, response.content) == (first.status_code, first.content)
    assert response.headers["content-type"] == first.headers["content-type"]
    return True


def upload(client: httpx.Client, content: bytes, header: dict[str, str]) -> httpx.Response:
    """Upload an image with another multipart boundary and file name each time, as clients do."""
    return client.post(IMAGE, files={"image": (new_user(), content)}, headers=header)
