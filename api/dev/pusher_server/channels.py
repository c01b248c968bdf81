"""All connections, and their subscriptions to channels."""

import asyncio
import json
from typing import Any, NamedTuple

from api.dev.pusher_server.connection import Connection, encode_frame
from api.dev.pusher_server.limits import CLOSE_TIMEOUT_SECONDS, MAX_TOTAL_UNSENT, MAX_UNSENT
from api.dev.pusher_server.messages import Event


class Member(NamedTuple):
    """A user in a presence channel."""

    user_id: str
    info: Any


class Channels:
    """The channels that have subscribers."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.subscribers: dict[str, dict[Connection, Member | None]] = {}  # by name of the channel
        self._total_unsent = 0  # bytes, as of the latest flush of each connection

    def publish(self, event: Event) -> None:
        """Send an event to the subscribers of its channel."""
        if subscribers := self.subscribers.get(event.channel):
            frame = encode_frame({"event": event.name, "channel": event.channel, "data": event.data})
            for connection in subscribers:
                if connection.socket_id != event.excluded_socket_id:
                    connection.send_frame(frame)

    def subscribe(self, connection: Connection, name: str, member: Member | None) -> None:
        """Add a subscription; announce a new member of a presence channel to the others."""
        if member and member.user_id not in self.get_members(name):
            self._announce("member_added", name, {"user_id": member.user_id, "user_info": member.info})
        connection.subscriptions.add(name)
        self.subscribers.setdefault(name, {})[connection] = member

    def unsubscribe(self, connection: Connection, name: str) -> None:
        """Remove a subscription, if it exists; announce that a member has left a presence channel."""
        if name not in connection.subscriptions:
            return
        connection.subscriptions.remove(name)
        member = self.subscribers[name].pop(connection)
        if not self.subscribers[name]:
            del self.subscribers[name]
        elif member and member.user_id not in self.get_members(name):
            self._announce("member_removed", name, {"user_id": member.user_id})

    def remove(self, connection: Connection) -> None:
        """Remove a connection with all of its subscriptions."""
        for name in list(connection.subscriptions):
            self.unsubscribe(connection, name)
        self.connections.discard(connection)
        self._update_unsent(connection)

    def limit_unsent(self, connection: Connection) -> None:
        """Disconnect a client that has left too much unread or, if all together have, those that have left the most."""
        self._update_unsent(connection)
        if connection.unsent_bytes > MAX_UNSENT:
            connection.abort()
        if self._total_unsent <= MAX_TOTAL_UNSENT:
            return
        for each in self.connections:
            self._update_unsent(each)
        for each in sorted(self.connections, key=lambda each: each.unsent_bytes, reverse=True):
            if self._total_unsent <= MAX_TOTAL_UNSENT // 2:
                return
            each.abort()
            self._update_unsent(each)

    def _update_unsent(self, connection: Connection) -> None:
        unsent = connection.measure_unsent() if connection in self.connections else 0
        self._total_unsent += unsent - connection.unsent_bytes
        connection.unsent_bytes = unsent

    def close(self, connection: Connection, code: int, reason: str) -> None:
        """Remove a connection, and close it with this code."""
        self.remove(connection)
        connection.request_close(code, reason)

    async def close_all(self) -> None:
        """Close all connections with a code that makes clients reconnect immediately."""
        closed = [connection.closed for connection in self.connections]
        for connection in list(self.connections):
            self.close(connection, 4200, "The server is going away")
        if closed:
            await asyncio.wait(closed, timeout=2 * CLOSE_TIMEOUT_SECONDS)

    def get_members(self, name: str) -> dict[str, Any]:
        """Return the users of a presence channel and their info; a user with several connections counts once."""
        return {member.user_id: member.info for member in self.subscribers.get(name, {}).values() if member}

    def _announce(self, event: str, name: str, data: dict[str, Any]) -> None:
        frame = encode_frame({"event": f"pusher_internal:{event}", "channel": name, "data": json.dumps(data)})
        for connection in self.subscribers.get(name, ()):
            connection.send_frame(frame)
