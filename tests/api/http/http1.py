"""A client that sends HTTP/1.1 messages as bytes, and detects whether the API executes what follows them.

A second request, which creates a chat, follows each message or is its body. When the message must be rejected, that
chat must not exist. When the message is well-formed, the chat must exist; otherwise the test could not fail.
"""

import httpx

from tests.api.support import RawResponse, expect_error, request_head, send_segments
from tests.api_process import Api

JSON = {"Content-Type": "application/json"}
CHUNKED = b"Transfer-Encoding: chunked"
KELVIN = "\N{KELVIN SIGN}".encode()  # whose lower case is "k"
FULL_WIDTH_5 = "\N{FULLWIDTH DIGIT FIVE}".encode()
SUPERSCRIPT_2 = "\N{SUPERSCRIPT TWO}".encode()
ARABIC_5 = "\N{ARABIC-INDIC DIGIT FIVE}".encode()


class Attack:
    """A user without chats, and a second request, which creates the user's first chat."""

    def __init__(self, api: Api, client: httpx.Client, user: str) -> None:
        self.api, self._client = api, client
        self.headers = api.headers(user) | JSON
        body = b'{"title": "smuggled"}'
        close = {"Content-Length": str(len(body)), "Connection": "close"}
        self.second_request = request_head("POST /api/chats HTTP/1.1", self.headers | close) + body

    def request(self, line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
        """Return a request of the user with further fields."""
        head = request_head(line.decode("latin-1"), self.headers).removesuffix(b"\r\n")
        return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body

    def send(self, *segments: bytes) -> list[RawResponse]:
        return send_segments(self.api, *segments)

    def list_titles(self) -> set[str]:
        """Return the titles of the user's chats."""
        return {chat["title"] for chat in self._client.get("/api/chats").json()["chats"]}

    def check_rejected(self, *segments: bytes, status: int = 400) -> None:
        [response] = self.send(*segments)
        expect_error(response, status)
        assert response.headers["connection"] == "close"
        assert not self.list_titles()

    def check_accepted(self, sent: bytes, status: int) -> RawResponse:
        """Check that the second request after this one is executed; return the response to the first."""
        first, second = self.send(sent + self.second_request)
        assert (first.status_code, second.status_code) == (status, 201), first.text
        assert "smuggled" in self.list_titles()
        return first
